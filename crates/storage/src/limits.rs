//! What the adapters of [`Limits`](crate::ports::Limits) share: the arithmetic of a token bucket.
//!
//! A bucket is one number, the moment at which it is full again (the generic cell rate algorithm):
//! each token taken moves that moment on by the time that one token takes to come. A bucket that is
//! full need not be kept.

use std::time::Duration;

/// One token is wanted of this bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Take {
    /// Which bucket.
    pub key: String,
    /// How long one token takes to come.
    pub interval: Duration,
    /// How many tokens a full bucket has.
    pub burst: u32,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Whether this bucket had a token.
    pub allowed: bool,
    /// Tokens that are left.
    pub remaining: u32,
    /// When the bucket is full again.
    pub reset_after: Duration,
    /// When the bucket has a token again; zero where it had one.
    pub retry_after: Duration,
}

impl Take {
    /// The time that a full bucket stands for.
    pub(crate) fn depth(&self) -> Duration {
        self.interval.saturating_mul(self.burst)
    }

    /// What to tell of a bucket that will be full after `debt`.
    pub(crate) fn taken(&self, allowed: bool, debt: Duration) -> Taken {
        let tokens = self.depth().saturating_sub(debt).as_nanos() / self.interval.as_nanos().max(1);
        let short = (debt + self.interval).saturating_sub(self.depth());
        Taken {
            allowed,
            remaining: u32::try_from(tokens).unwrap_or(u32::MAX).min(self.burst),
            reset_after: debt,
            retry_after: if allowed { Duration::ZERO } else { short },
        }
    }
}
