//! What the adapters of [`Announcements`](crate::ports::Announcements) share: a hub within the
//! process, and the listeners at it.

use std::future;
use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::JoinHandle;

/// What a listener hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Something of this topic changed.
    Topic(Arc<str>),
    /// Some announcements may have been lost: anything may have changed.
    Missed,
}

/// Hears what is announced, from the moment it was made.
pub struct Listener {
    receiver: broadcast::Receiver<Heard>,
    // Keeps what feeds the hub going, even if the store's handle is gone.
    _hub: Arc<Hub>,
}

impl Listener {
    /// Waits for the next announcement. Giving up waiting loses none.
    pub async fn next(&mut self) -> Heard {
        match self.receiver.recv().await {
            Ok(heard) => heard,
            Err(RecvError::Lagged(_)) => Heard::Missed,
            // Cannot be while the hub is held.
            Err(RecvError::Closed) => future::pending().await,
        }
    }
}

/// Passes announcements on to the listeners of this process.
pub(crate) struct Hub {
    sender: broadcast::Sender<Heard>,
    feeder: Option<JoinHandle<()>>,
}

/// Announcements a listener may be behind before it hears [`Heard::Missed`] instead.
const CAPACITY: usize = 1024;

impl Hub {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { sender: broadcast::channel(CAPACITY).0, feeder: None })
    }

    /// A hub with a task that feeds it, ended with the hub.
    pub(crate) fn fed_by<F>(feeder: impl FnOnce(broadcast::Sender<Heard>) -> F) -> Arc<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let sender = broadcast::channel(CAPACITY).0;
        let feeder = tokio::spawn(feeder(sender.clone()));
        Arc::new(Self { sender, feeder: Some(feeder) })
    }

    pub(crate) fn tell(&self, heard: Heard) {
        // Nobody listens: that is no failure.
        self.sender.send(heard).ok();
    }

    pub(crate) fn listen(self: &Arc<Self>) -> Listener {
        Listener { receiver: self.sender.subscribe(), _hub: Arc::clone(self) }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(feeder) = &self.feeder {
            feeder.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_that_is_too_slow_hears_that_it_missed_some() {
        let hub = Hub::new();
        let mut listener = hub.listen();
        for number in 0..=CAPACITY {
            hub.tell(Heard::Topic(number.to_string().into()));
        }
        assert_eq!(listener.next().await, Heard::Missed);
        assert_eq!(listener.next().await, Heard::Topic("1".into()));
    }

    #[tokio::test]
    async fn the_feeder_lives_as_long_as_the_last_listener() {
        let gone = Arc::new(());
        let held = Arc::clone(&gone);
        let hub = Hub::fed_by(|_| async move {
            let _held = held;
            future::pending().await
        });
        let listener = hub.listen();
        drop(hub);
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&gone), 2);
        drop(listener);
        while Arc::strong_count(&gone) == 2 {
            tokio::task::yield_now().await;
        }
    }
}
