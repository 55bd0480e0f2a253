//! What needs no server: announcements within one process, answers that it keeps, limits, and what
//! was answered to requests that are done once.

mod answers;
mod buckets;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use moka::Expiry;
use moka::sync::Cache;

use crate::StoreError;
use crate::announcements::{Heard, Hub, Listener};
use crate::ports::{Announcements, Begun, Claim, Idempotency, Limits, ResponseCache, Take, Taken};
use crate::stores::Check;

use answers::Answers;
use buckets::Buckets;

/// The memory of this process.
pub(crate) struct Memory {
    hub: Arc<Hub>,
    buckets: Buckets,
    answers: Answers,
    responses: Cache<String, Kept>,
}

/// Bytes, and for how long they are kept.
type Kept = (Bytes, Duration);

/// Bytes that kept answers may take, where the URL does not say.
pub(crate) const MAX_BYTES: u64 = 64 << 20;
/// What an entry takes beside its key and value, about.
const ENTRY_BYTES: usize = 200;

impl Memory {
    pub(crate) fn new(max_bytes: u64) -> Self {
        let weight = |key: &String, (bytes, _): &Kept| {
            u32::try_from(key.len() + bytes.len() + ENTRY_BYTES).unwrap_or(u32::MAX)
        };
        let responses =
            Cache::builder().max_capacity(max_bytes).weigher(weight).expire_after(OwnTime).build();
        Self { hub: Hub::new(), buckets: Buckets::new(), answers: Answers::new(), responses }
    }
}

/// Each entry says itself for how long it is kept.
struct OwnTime;

impl Expiry<String, Kept> for OwnTime {
    fn expire_after_create(&self, _: &String, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.1)
    }

    fn expire_after_update(
        &self,
        _: &String,
        kept: &Kept,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.1)
    }
}

#[async_trait]
impl ResponseCache for Memory {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.responses.get(key).map(|(bytes, _)| bytes))
    }

    async fn put(&self, key: &str, bytes: Bytes, ttl: Duration) -> Result<(), StoreError> {
        // A slice of a larger body would hold all of it.
        self.responses.insert(key.to_owned(), (Bytes::copy_from_slice(&bytes), ttl));
        Ok(())
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
