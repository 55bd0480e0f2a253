//! What the router knows of one replica.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use contracts::InferenceApi;
use contracts::inference::Target;
use runtime::telemetry::metrics;
use tokio::sync::Notify;

use super::breaker::{Breaker, Standing};
use crate::replicas::Replica;
use crate::settings::ReplicaSettings;

/// A replica of the fleet.
pub(crate) struct Member {
    pub(crate) address: String,
    pub(crate) api: Arc<dyn InferenceApi>,
    pub(crate) breaker: Breaker,
    /// Wakes its loader: it lost a version, or a new one is to be loaded.
    pub(crate) wake: Notify,
    /// Requests under way.
    busy: AtomicU64,
    /// Whether it answered when it was last asked what it holds, or to load.
    answers: AtomicBool,
    /// The versions it reported ready.
    loaded: RwLock<HashSet<Target>>,
}

impl Member {
    pub(crate) fn new(replica: Replica, settings: &ReplicaSettings) -> Arc<Self> {
        let cool_down = Duration::from_millis(settings.breaker_cool_down_ms);
        Arc::new(Self {
            address: replica.address,
            api: replica.api,
            breaker: Breaker::new(settings.breaker_failures, cool_down),
            wake: Notify::new(),
            busy: AtomicU64::new(0),
            // Trusted until its first survey, so that what is loaded now is loaded there too.
            answers: AtomicBool::new(true),
            loaded: RwLock::default(),
        })
    }

    pub(crate) fn holds(&self, wanted: &Target) -> bool {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).contains(wanted)
    }

    /// The versions it reported ready, if it still answers.
    pub(crate) fn held(&self) -> HashSet<Target> {
        if !self.answers() {
            return HashSet::new();
        }
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes one version as held or lost.
    pub(crate) fn note(&self, wanted: &Target, held: bool) {
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        if held {
            self.answers.store(true, Ordering::Relaxed);
            loaded.insert(wanted.clone());
        } else {
            loaded.remove(wanted);
        }
    }

    /// Notes what it says it holds.
    pub(crate) fn note_all(&self, held: HashSet<Target>) {
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = held;
        self.answers.store(true, Ordering::Relaxed);
        self.breaker.alive(Instant::now());
    }

    /// Notes that it did not answer the survey. What it held it may still hold.
    pub(crate) fn note_silent(&self) {
        self.answers.store(false, Ordering::Relaxed);
        self.failed();
    }

    pub(crate) fn answers(&self) -> bool {
        self.answers.load(Ordering::Relaxed)
    }

    pub(crate) fn busy(&self) -> u64 {
        self.busy.load(Ordering::Relaxed)
    }

    /// Its state, for the metrics.
    pub(crate) fn state(&self) -> &'static str {
        match (self.breaker.standing(), self.answers()) {
            (Standing::Closed, true) => "ready",
            (Standing::Closed, false) => "silent",
            (Standing::HalfOpen, _) => "half_open",
            (Standing::Open, _) => "open",
        }
    }

    /// Counts a failure.
    pub(crate) fn failed(&self) {
        if self.breaker.failure(Instant::now()) {
            metrics().breaker_opens.add(1, &[]);
            tracing::warn!(
                replica = self.address,
                "an inference replica fails: it gets no requests until it answers again"
            );
        }
    }
}

/// A request under way on a replica. Dropped without a result, it counts for nothing.
pub(crate) struct Attempt {
    pub(crate) member: Arc<Member>,
    pub(crate) began: Instant,
    settled: bool,
}

impl Attempt {
    pub(crate) fn new(member: Arc<Member>) -> Self {
        member.busy.fetch_add(1, Ordering::Relaxed);
        Self { member, began: Instant::now(), settled: false }
    }

    /// The replica answered, whatever it said.
    pub(crate) fn answered(mut self) {
        self.settled = true;
        self.member.breaker.success();
    }

    /// The replica did not answer.
    pub(crate) fn failed(mut self) {
        self.settled = true;
        self.member.failed();
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.member.busy.fetch_sub(1, Ordering::Relaxed);
        if !self.settled {
            self.member.breaker.give_up();
        }
    }
}
