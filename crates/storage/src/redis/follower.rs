//! Hears announcements for as long as anybody listens, whatever happens to the server.

use std::io;
use std::time::Duration;

use deadpool_redis::redis::aio::{PubSubSink, PubSubStream};
use deadpool_redis::redis::{Client, Msg, Value};
use futures_util::StreamExt as _;
use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};

use super::WAITS;
use crate::announcements::Heard;
use crate::error::Cause;

/// The one connection that listens.
pub(super) struct Follower {
    pub(super) url: String,
    pub(super) channel: String,
    pub(super) client: Client,
    pub(super) sender: broadcast::Sender<Heard>,
}

/// After so long a silence the server is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(2);
/// Between two tries to connect: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

impl Follower {
    /// Connects, passes on what is announced, and begins anew when the connection is lost.
    pub(super) async fn follow(self) {
        let url = &self.url;
        let mut pause = PAUSE.0;
        let mut is_lost = false;
        loop {
            let cause = match self.subscribe().await {
                Ok((sink, stream)) => {
                    if is_lost {
                        tracing::info!(store = %url, "announcements of `{url}` are heard again");
                    }
                    (is_lost, pause) = (false, PAUSE.0);
                    // What was announced before is lost.
                    self.tell(Heard::Missed);
                    self.pass_on(sink, stream).await
                }
                Err(cause) => cause,
            };
            if !is_lost {
                tracing::warn!(
                    store = %url,
                    error = %cause,
                    "announcements of `{url}` are not heard: changes are found by polling until \
                     they are"
                );
            }
            is_lost = true;
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    async fn subscribe(&self) -> Result<(PubSubSink, PubSubStream), Cause> {
        let connection = timeout(WAITS.connect, self.client.get_async_pubsub()).await??;
        let (mut sink, stream) = connection.split();
        timeout(WAITS.answer, sink.subscribe(&self.channel)).await??;
        Ok((sink, stream))
    }

    /// Passes on until the connection is lost, and tells why.
    async fn pass_on(&self, mut sink: PubSubSink, mut stream: PubSubStream) -> Cause {
        loop {
            match timeout(SILENCE, stream.next()).await {
                Ok(Some(message)) => self.tell(heard(&message)),
                Ok(None) => return io::Error::from(io::ErrorKind::ConnectionReset).into(),
                Err(_silence) => match timeout(WAITS.answer, sink.ping::<Value>()).await {
                    Ok(Ok(_pong)) => {}
                    Ok(Err(cause)) => return cause.into(),
                    Err(cause) => return cause.into(),
                },
            }
        }
    }

    fn tell(&self, heard: Heard) {
        // Nobody listens just now: that is no failure.
        self.sender.send(heard).ok();
    }
}

fn heard(message: &Msg) -> Heard {
    match std::str::from_utf8(message.get_payload_bytes()) {
        Ok(topic) => Heard::Topic(topic.into()),
        // Not from one of us; whoever it was wanted to tell something.
        Err(_not_text) => Heard::Missed,
    }
}
