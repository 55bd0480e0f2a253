//! The retry budget: retries may be a share of the requests, so that they cannot double the load on
//! replicas that fail because they have too much of it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Tokens are counted in thousandths.
const TOKEN: u64 = 1000;

/// A bucket of retries: each request adds a share of one, a retry takes one.
#[derive(Debug)]
pub(crate) struct Budget {
    tokens: AtomicU64,
    per_request: u64,
    most: u64,
}

impl Budget {
    /// Starts full: `reserve` retries. Each request adds `ratio` of one.
    pub(crate) fn new(ratio: f64, reserve: u32) -> Self {
        let most = u64::from(reserve) * TOKEN;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "0 to 1000"
        )]
        let per_request = (ratio.clamp(0.0, 1.0) * TOKEN as f64) as u64;
        Self { tokens: AtomicU64::new(most), per_request, most }
    }

    /// A request came.
    pub(crate) fn earn(&self) {
        let full = self.tokens.load(Ordering::Relaxed) >= self.most;
        if full {
            return;
        }
        let add = |tokens: u64| Some((tokens + self.per_request).min(self.most));
        let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Takes one retry. False if none is left.
    pub(crate) fn take(&self) -> bool {
        let take = |tokens: u64| tokens.checked_sub(TOKEN);
        self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_share_of_the_requests_and_the_reserve_goes_first() {
        let budget = Budget::new(0.2, 3);
        let taken = |budget: &Budget| (0..100).take_while(|_| budget.take()).count();
        assert_eq!(taken(&budget), 3);
        (0..10).for_each(|_| budget.earn());
        assert_eq!(taken(&budget), 2);
        (0..1000).for_each(|_| budget.earn());
        assert_eq!(taken(&budget), 3, "no more than the reserve is kept");
    }

    #[test]
    fn without_a_reserve_nothing_is_retried() {
        let budget = Budget::new(0.2, 0);
        (0..100).for_each(|_| budget.earn());
        assert!(!budget.take());
    }
}
