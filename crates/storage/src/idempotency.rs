//! What the adapters of [`Idempotency`](crate::ports::Idempotency) share.

use std::time::Duration;

use bytes::Bytes;

/// Somebody wants to do what stands under a key, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Which.
    pub key: String,
    /// What is asked for: another request under the same key has another one.
    pub fingerprint: String,
    /// Who claims it; no two claims have the same.
    pub holder: String,
    /// How long the claim holds if nothing more is heard of its holder.
    pub lease: Duration,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// The key is the claimer's now.
    Claimed,
    /// Another holder is at it.
    Running,
    /// The key stands for another request.
    Mismatch,
    /// It was done, and this was answered.
    Done(Bytes),
}
