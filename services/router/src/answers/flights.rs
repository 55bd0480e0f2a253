//! Requests for the same answer that come together: one computes it, the others wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use super::key::Digest;

type Landing = watch::Receiver<Option<Bytes>>;
type Board = Arc<Mutex<HashMap<Digest, Landing>>>;

/// The computations under way.
#[derive(Default)]
pub(super) struct Flights(Board);

/// The place of a request among those for the same answer.
pub(super) enum Place {
    /// The first: it computes.
    Leader(Flight),
    /// Another: it waits for what the first has. A closed channel says that this one failed.
    Follower(Landing),
}

/// A computation under way, until it is dropped.
pub(super) struct Flight {
    board: Board,
    digest: Digest,
    sender: watch::Sender<Option<Bytes>>,
}

impl Flights {
    pub(super) fn board(&self, digest: Digest) -> Place {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = board.get(&digest) {
            return Place::Follower(landing.clone());
        }
        let (sender, landing) = watch::channel(None);
        board.insert(digest, landing);
        Place::Leader(Flight { board: Arc::clone(&self.0), digest, sender })
    }
}

impl Flight {
    /// Hands the answer to all who wait.
    pub(super) fn land(&self, bytes: Bytes) {
        self.sender.send(Some(bytes)).ok();
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.board.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
    }
}
