//! What needs no server: announcements within one process.

use std::sync::Arc;

use async_trait::async_trait;

use crate::StoreError;
use crate::announcements::{Heard, Hub, Listener};
use crate::ports::Announcements;
use crate::stores::Check;

/// The memory of this process.
pub(crate) struct Memory {
    hub: Arc<Hub>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { hub: Hub::new() }
    }
}

#[async_trait]
impl Announcements for Memory {
    async fn announce(&self, topic: &str) -> Result<(), StoreError> {
        self.hub.tell(Heard::Topic(topic.into()));
        Ok(())
    }

    fn listen(&self) -> Listener {
        self.hub.listen()
    }
}

#[async_trait]
impl Check for Memory {
    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
