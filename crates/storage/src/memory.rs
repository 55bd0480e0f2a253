//! What needs no server: announcements, limits and answers to repeated requests within one process.

mod answers;
mod buckets;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::StoreError;
use crate::announcements::{Heard, Hub, Listener};
use crate::ports::{Announcements, Begun, Claim, Idempotency, Limits, Take, Taken};
use crate::stores::Check;

use answers::Answers;
use buckets::Buckets;

/// The memory of this process.
pub(crate) struct Memory {
    hub: Arc<Hub>,
    buckets: Buckets,
    answers: Answers,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { hub: Hub::new(), buckets: Buckets::new(), answers: Answers::new() }
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
impl Limits for Memory {
    async fn take(&self, asked: &[Take]) -> Result<Vec<Taken>, StoreError> {
        Ok(self.buckets.take(asked))
    }
}

#[async_trait]
impl Idempotency for Memory {
    async fn begin(&self, claim: &Claim) -> Result<Begun, StoreError> {
        self.answers.begin(claim)
    }

    async fn complete(
        &self,
        claim: &Claim,
        answer: Bytes,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        self.answers.complete(claim, answer, retention)
    }

    async fn abandon(&self, claim: &Claim) -> Result<(), StoreError> {
        self.answers.abandon(claim);
        Ok(())
    }
}

#[async_trait]
impl Check for Memory {
    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
