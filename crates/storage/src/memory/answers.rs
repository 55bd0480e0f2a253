//! Answers to repeated requests, in memory.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::StoreError;
use crate::idempotency::{Begun, Claim};

/// What all answers may take, bytes. When it is full, new keys are refused: forgetting an old one
/// could mean doing it twice.
const MOST_BYTES: usize = 64 << 20;
/// What a record takes beside its texts.
const RECORD_BYTES: usize = 200;
/// How often those whose time is over are dropped.
const SWEEP: Duration = Duration::from_secs(10);

/// All that is claimed or answered.
pub(super) struct Answers(Mutex<Kept>);

struct Kept {
    records: HashMap<String, Record>,
    bytes: usize,
    swept_at: Instant,
}

struct Record {
    fingerprint: String,
    holder: String,
    answer: Option<Bytes>,
    until: Instant,
}

impl Record {
    fn bytes(&self, key: &str) -> usize {
        let answer = self.answer.as_ref().map_or(0, Bytes::len);
        RECORD_BYTES + key.len() + self.fingerprint.len() + self.holder.len() + answer
    }
}

impl Answers {
    pub(super) fn new() -> Self {
        let (records, swept_at) = (HashMap::new(), Instant::now());
        Self(Mutex::new(Kept { records, bytes: 0, swept_at }))
    }

    pub(super) fn begin(&self, claim: &Claim) -> Result<Begun, StoreError> {
        let now = Instant::now();
        let mut kept = self.kept();
        kept.sweep(now);
        if let Some(known) = kept.records.get(&claim.key).filter(|known| known.until > now) {
            return Ok(match &known.answer {
                _ if known.fingerprint != claim.fingerprint => Begun::Mismatch,
                Some(answer) => Begun::Done(answer.clone()),
                None => Begun::Running,
            });
        }
        let record = Record {
            fingerprint: claim.fingerprint.clone(),
            holder: claim.holder.clone(),
            answer: None,
            until: now + claim.lease,
        };
        kept.put(&claim.key, record)?;
        Ok(Begun::Claimed)
    }

    pub(super) fn complete(
        &self,
        claim: &Claim,
        answer: Bytes,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        let now = Instant::now();
        let mut kept = self.kept();
        let held = |known: &&Record| known.holder == claim.holder && known.until > now;
        if kept.records.get(&claim.key).filter(held).is_none() {
            return Ok(false);
        }
        let record = Record {
            fingerprint: claim.fingerprint.clone(),
            holder: claim.holder.clone(),
            // A piece of a larger buffer would keep all of it.
            answer: Some(Bytes::copy_from_slice(&answer)),
            until: now + retention,
        };
        kept.put(&claim.key, record)?;
        Ok(true)
    }

    pub(super) fn abandon(&self, claim: &Claim) {
        let mut kept = self.kept();
        let known = kept.records.get(&claim.key);
        if known.is_some_and(|known| known.holder == claim.holder && known.answer.is_none()) {
            kept.drop_one(&claim.key);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Puts a record in the place of the one before, if there is room.
    fn put(&mut self, key: &str, record: Record) -> Result<(), StoreError> {
        let before = self.records.get(key).map_or(0, |before| before.bytes(key));
        let bytes = self.bytes.saturating_sub(before) + record.bytes(key);
        if bytes > MOST_BYTES {
            return Err(StoreError::Unavailable {
                store: "memory://".to_owned(),
                action: "keep one more answer",
                source: format!("{MOST_BYTES} bytes are in use; a Redis has more room").into(),
            });
        }
        self.bytes = bytes;
        self.records.insert(key.to_owned(), record);
        Ok(())
    }

    fn drop_one(&mut self, key: &str) {
        if let Some(record) = self.records.remove(key) {
            self.bytes = self.bytes.saturating_sub(record.bytes(key));
        }
    }

    fn sweep(&mut self, now: Instant) {
        if now.duration_since(self.swept_at) < SWEEP {
            return;
        }
        self.swept_at = now;
        self.records.retain(|_, record| record.until > now);
        self.bytes = self.records.iter().map(|(key, record)| record.bytes(key)).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(key: &str) -> Claim {
        Claim {
            key: key.to_owned(),
            fingerprint: "same".to_owned(),
            holder: format!("holder of {key}"),
            lease: Duration::from_secs(60),
        }
    }

    #[test]
    fn when_it_is_full_new_keys_are_refused_and_old_ones_stay() {
        let answers = Answers::new();
        let large = Bytes::from(vec![0; 1 << 20]);
        let hour = Duration::from_secs(3600);
        let keeps = |key: &str| {
            let claim = claim(key);
            let kept = answers.begin(&claim);
            kept.and_then(|_| answers.complete(&claim, large.clone(), hour))
        };
        let kept = (0..100).take_while(|number| keeps(&number.to_string()).is_ok()).count();
        assert_eq!(kept, 63);
        assert_eq!(answers.begin(&claim("0")).unwrap(), Begun::Done(large.clone()));
        let full = keeps("one more");
        assert!(matches!(full, Err(StoreError::Unavailable { .. })), "{full:?}");
        answers.abandon(&claim("one more"));
        // The 64th found no room for its answer, and stays claimed.
        assert_eq!(answers.kept().records.len(), 64);
    }
}
