//! A breaker: after failures in a row a replica gets no requests, until one request proves that it
//! is back.
//!
//! ```text
//! closed --- `breaker_failures` in a row ---> open --- cool-down, then a survey answered ---> half open
//!   ^                                          ^                                                |
//!   '------------------------ its one request succeeds / fails ---------------------------------'
//! ```
//!
//! A failure is an answer that never came: the replica could not be reached, broke off, or was
//! overtaken by another that was asked later. A refusal (4xx), a fault of ours (500) and overload
//! (503 with a time to try again) are answers: they are no failures.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Whether a replica gets requests.
#[derive(Debug)]
pub(crate) struct Breaker {
    failures_to_open: u32,
    cool_down: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { failures: u32 },
    Open { since: Instant },
    HalfOpen { probing: bool },
}

/// What a breaker allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// All requests.
    Closed,
    /// One request, to try.
    HalfOpen,
    /// None, unless there is no other replica.
    Open,
}

impl Breaker {
    /// A closed one.
    pub(crate) fn new(failures_to_open: u32, cool_down: Duration) -> Self {
        let state = Mutex::new(State::Closed { failures: 0 });
        Self { failures_to_open: failures_to_open.max(1), cool_down, state }
    }

    pub(crate) fn standing(&self) -> Standing {
        match *self.state() {
            State::Closed { .. } => Standing::Closed,
            State::HalfOpen { probing: false } => Standing::HalfOpen,
            State::HalfOpen { probing: true } | State::Open { .. } => Standing::Open,
        }
    }

    /// Takes the one request that a half-open breaker allows. False if another was faster.
    pub(crate) fn probe(&self) -> bool {
        let mut state = self.state();
        let free = matches!(*state, State::HalfOpen { probing: false });
        if free {
            *state = State::HalfOpen { probing: true };
        }
        free
    }

    /// The one request was given up without a result: another may try.
    pub(crate) fn give_up(&self) {
        let mut state = self.state();
        if matches!(*state, State::HalfOpen { probing: true }) {
            *state = State::HalfOpen { probing: false };
        }
    }

    /// A request was answered.
    pub(crate) fn success(&self) {
        *self.state() = State::Closed { failures: 0 };
    }

    /// A request was not answered. True if that opened the breaker.
    pub(crate) fn failure(&self, now: Instant) -> bool {
        let mut state = self.state();
        let (next, opened) = match *state {
            State::Closed { failures } if failures + 1 < self.failures_to_open => {
                (State::Closed { failures: failures + 1 }, false)
            }
            State::Closed { .. } | State::HalfOpen { .. } => (State::Open { since: now }, true),
            open @ State::Open { .. } => (open, false),
        };
        *state = next;
        opened
    }

    /// A survey was answered: after the cool-down, one request may try.
    pub(crate) fn alive(&self, now: Instant) {
        let mut state = self.state();
        if let State::Open { since } = *state
            && now.saturating_duration_since(since) >= self.cool_down
        {
            *state = State::HalfOpen { probing: false };
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOL_DOWN: Duration = Duration::from_secs(2);

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let breaker = Breaker::new(3, COOL_DOWN);
        let now = Instant::now();
        for _ in 0..3 {
            assert!(!breaker.failure(now) && !breaker.failure(now));
            breaker.success();
        }
        assert_eq!(breaker.standing(), Standing::Closed);
        assert_eq!(
            [breaker.failure(now), breaker.failure(now), breaker.failure(now)],
            [false, false, true]
        );
        assert_eq!(breaker.standing(), Standing::Open);
        assert!(!breaker.failure(now), "it opens once");
    }

    #[test]
    fn after_the_cool_down_one_request_decides() {
        let breaker = Breaker::new(1, COOL_DOWN);
        let now = Instant::now();
        breaker.failure(now);
        breaker.alive(now + COOL_DOWN / 2);
        assert_eq!(breaker.standing(), Standing::Open);
        breaker.alive(now + COOL_DOWN);
        assert_eq!(breaker.standing(), Standing::HalfOpen);
        assert!(breaker.probe() && !breaker.probe(), "one request only");
        assert_eq!(breaker.standing(), Standing::Open);
        assert!(breaker.failure(now + COOL_DOWN), "it opens again");
        breaker.alive(now + COOL_DOWN * 2);
        assert!(breaker.probe());
        breaker.success();
        assert_eq!(breaker.standing(), Standing::Closed);
    }

    #[test]
    fn a_probe_given_up_lets_another_try() {
        let breaker = Breaker::new(1, COOL_DOWN);
        let now = Instant::now();
        breaker.failure(now);
        breaker.alive(now + COOL_DOWN);
        assert!(breaker.probe());
        breaker.give_up();
        assert!(breaker.probe());
    }
}
