//! What this router counts of the versions of rollouts, and how it comes to the store: in batches of a
//! second or two, each with an id of its own, so that one that is sent twice is counted once.
//!
//! A request that was answered out of the cache is judged by no guardrail: an arm with less traffic
//! has fewer kept answers, and would look worse for that alone. One that the client is at fault for
//! says nothing of the version either.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use contracts::inference::{Answered, CacheUse, WITHHELD};
use contracts::{ApiError, ErrorCode};
use domain::counts::{ArmCounts, CountBatch};
use domain::prediction::Decision;
use domain::rollout::{Guardrail, Ramp};
use domain::{Clock, PlanId, VersionId};
use runtime::telemetry::metrics;
use sha2::{Digest, Sha256};
use storage::StoreError;
use storage::ports::Plans;
use time::OffsetDateTime;

use crate::choice::Ready;

/// Batches sent at once.
const SENT_AT_ONCE: usize = 100;

/// What came of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending<'a> {
    /// It was answered, by the version that was chosen or by what stood in for it.
    Answered {
        /// What the answer says of itself.
        answer: &'a Answered,
        /// From the router's first sight of the request.
        latency: Duration,
        /// Whether something stood in for the chosen version.
        degraded: bool,
    },
    /// It failed.
    Failed(&'a ApiError),
    /// Whoever asked did not wait for the answer.
    BrokenOff {
        /// How long they waited.
        latency: Duration,
    },
}

/// What a guardrail looks at.
struct Judged<'a> {
    outcome: Ending<'a>,
    /// Whether the version is still cold.
    cold: bool,
}

/// What is counted in this process.
pub(crate) struct Counting {
    /// Names this router's batches.
    router: String,
    /// Units that a batch names for each guardrail at most.
    max_units: usize,
    /// Batches that may wait for the store.
    max_waiting: usize,
    open: Mutex<Open>,
    waiting: Mutex<VecDeque<CountBatch>>,
}

#[derive(Default)]
struct Open {
    /// Batches there were.
    numbered: u64,
    /// Few: a rollout for each model at most, and a step that ends has some requests under way.
    tallies: Vec<Tally>,
}

/// What is counted of one step of one rollout since the last batch.
struct Tally {
    plan: PlanId,
    step: u32,
    /// Requests of the canary at this step, also those of earlier batches.
    canary_seen: u64,
    arms: BTreeMap<VersionId, ArmCounts>,
}

impl Counting {
    pub(crate) fn new(router: &str, max_units: usize, max_waiting: usize) -> Self {
        let (open, waiting) = (Mutex::default(), Mutex::default());
        let max_waiting = max_waiting.max(1);
        Self { router: router.to_owned(), max_units, max_waiting, open, waiting }
    }

    /// Counts a request that this version was chosen for at a step of a rollout. `unit` is absent
    /// where the request was assigned by itself.
    pub(crate) fn count(
        &self,
        ramp: &Ramp,
        step: u32,
        version: VersionId,
        unit: Option<&str>,
        outcome: Ending<'_>,
        now: OffsetDateTime,
    ) {
        let at_ramp = step == ramp.step;
        let warming = at_ramp && (now - ramp.since).whole_seconds() < signed(ramp.warm_up_s);
        let mut open = lock(&self.open);
        let tally = open.tally(&ramp.id, step);
        let is_canary = version == ramp.canary;
        if is_canary {
            tally.canary_seen += 1;
        }
        let cold = warming || (is_canary && tally.canary_seen <= ramp.warm_up_requests);
        let arm = tally.arms.entry(version).or_default();
        let judged = Judged { outcome, cold };
        if judged.says_nothing() {
            arm.unanswered += 1;
            // Whoever gave up may have waited for too long.
            if !matches!(outcome, Ending::BrokenOff { .. }) {
                return;
            }
        } else {
            arm.requests += 1;
        }
        if let Ending::Answered { answer, latency, .. } = outcome
            && answer.cache != Some(CacheUse::Hit)
        {
            arm.latency_us += u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        }
        arm.bad.resize(ramp.guardrails.len(), 0);
        arm.judged.resize(ramp.guardrails.len(), 0);
        let mut key = None;
        let counts = arm.bad.iter_mut().zip(&mut arm.judged);
        for (index, (guardrail, (bad, count))) in ramp.guardrails.iter().zip(counts).enumerate() {
            let Some(is_bad) = judged.by(guardrail) else { continue };
            *count += 1;
            if !is_bad {
                continue;
            }
            *bad += 1;
            let Some(unit) = unit else { continue };
            let key = *key.get_or_insert_with(|| unit_key(unit));
            arm.bad_units.resize_with(ramp.guardrails.len(), BTreeMap::new);
            if let Some(units) = arm.bad_units.get_mut(index)
                && (units.len() < self.max_units || units.contains_key(&key))
            {
                *units.entry(key).or_default() += 1;
            }
        }
    }

    /// Closes the batches of what was counted. `in_force` says whether a step is the one in force; of
    /// others nothing more is kept. Batches beyond what may wait are lost, the oldest first, and counted.
    pub(crate) fn close(&self, now: OffsetDateTime, in_force: impl Fn(&PlanId, u32) -> bool) {
        let mut open = lock(&self.open);
        let mut closed = Vec::new();
        let Open { numbered, tallies } = &mut *open;
        for tally in tallies.iter_mut().filter(|tally| !tally.arms.is_empty()) {
            *numbered += 1;
            closed.push(CountBatch {
                id: format!("{}-{numbered}", self.router),
                plan: tally.plan.clone(),
                step: tally.step,
                at: now,
                arms: std::mem::take(&mut tally.arms),
            });
        }
        tallies.retain(|tally| in_force(&tally.plan, tally.step));
        drop(open);
        let mut waiting = lock(&self.waiting);
        waiting.extend(closed);
        let lost = waiting.len().saturating_sub(self.max_waiting);
        if lost > 0 {
            waiting.drain(..lost);
            metrics().rollout_batches_lost.add(lost as u64, &[]);
        }
    }

    /// Sends what waits. What is not taken waits on.
    pub(crate) async fn send(&self, plans: &dyn Plans) -> Result<(), StoreError> {
        loop {
            let batches: Vec<_> = lock(&self.waiting).iter().take(SENT_AT_ONCE).cloned().collect();
            let Some(last) = batches.last() else { return Ok(()) };
            let last = last.id.clone();
            plans.count(&batches).await?;
            let mut waiting = lock(&self.waiting);
            // Some of the oldest may have been lost meanwhile.
            if let Some(at) = waiting.iter().position(|batch| batch.id == last) {
                waiting.drain(..=at);
            }
        }
    }
}

impl Open {
    fn tally(&mut self, plan: &PlanId, step: u32) -> &mut Tally {
        let known = self.tallies.iter().position(|t| t.step == step && t.plan == *plan);
        let at = known.unwrap_or_else(|| {
            let arms = BTreeMap::new();
            self.tallies.push(Tally { plan: plan.clone(), step, canary_seen: 0, arms });
            self.tallies.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "it was found there, or put there")]
        &mut self.tallies[at]
    }
}

impl Judged<'_> {
    /// Whether the client is at fault, or gone.
    fn says_nothing(&self) -> bool {
        match self.outcome {
            Ending::Answered { .. } => false,
            Ending::Failed(error) => error.code.status() < 500 && !is_withheld(error),
            Ending::BrokenOff { .. } => true,
        }
    }

    /// Whether it was a bad event; `None` where the guardrail has nothing to judge.
    fn by(&self, guardrail: &Guardrail) -> Option<bool> {
        let Self { outcome, cold } = *self;
        if let Ending::Answered { answer, degraded: false, .. } = outcome
            && answer.cache == Some(CacheUse::Hit)
        {
            return None;
        }
        match (guardrail, outcome) {
            (Guardrail::Errors {}, Ending::Answered { degraded, .. }) => Some(degraded),
            (Guardrail::Errors {}, Ending::Failed(error)) => Some(!is_withheld(error)),
            (Guardrail::Slow { .. }, _) if cold => None,
            (Guardrail::Slow { over_ms }, Ending::Answered { latency, .. }) => {
                over_ms.map(|most| latency.as_secs_f64() * 1e3 > most)
            }
            (Guardrail::Slow { over_ms }, Ending::BrokenOff { latency }) => {
                over_ms.filter(|most| latency.as_secs_f64() * 1e3 > *most).map(|_| true)
            }
            (Guardrail::Slow { .. }, Ending::Failed(error)) => {
                (error.code == ErrorCode::Timeout).then_some(true)
            }
            (Guardrail::LowConfidence { below }, Ending::Answered { answer, degraded, .. }) => {
                let confidence = answer.confidence.filter(|_| !degraded);
                confidence.map(|confidence| confidence < *below)
            }
            (Guardrail::Degraded {}, Ending::Answered { degraded, .. }) => Some(degraded),
            (Guardrail::Degraded {}, Ending::Failed(error)) => Some(!is_withheld(error)),
            (Guardrail::OutputRule {}, Ending::Answered { answer, degraded, .. }) => {
                (!degraded).then_some(answer.output_rule)
            }
            (Guardrail::OutputRule {}, Ending::Failed(error)) => is_withheld(error).then_some(true),
            _ => None,
        }
    }
}

/// A request that is counted however it ends; one that is dropped before was broken off.
pub(crate) struct Counted<'a> {
    counting: &'a Counting,
    clock: &'a dyn Clock,
    began: Instant,
    /// What it counts for; `None` if it is part of no rollout, or was counted.
    part: Option<Part>,
}

struct Part {
    route: Arc<Ready>,
    step: u32,
    version: VersionId,
    unit: Option<String>,
}

impl<'a> Counted<'a> {
    /// A request that began at a moment, for which `route` chose `version`.
    pub(crate) fn new(
        counting: &'a Counting,
        clock: &'a dyn Clock,
        began: Instant,
        route: Option<&Arc<Ready>>,
        version: VersionId,
        decision: &Decision,
    ) -> Self {
        // An experiment's, or by a rule: the rollout's arms had no part in it.
        let route = route.filter(|route| {
            let ramp = route.rollout.as_ref();
            ramp.is_some_and(|ramp| decision.plan.as_ref() == Some(&ramp.id))
        });
        let part = route.map(|route| Part {
            step: decision.epoch.or(route.rollout.as_ref().map(|ramp| ramp.step)).unwrap_or(0),
            route: Arc::clone(route),
            version: decision.chosen.unwrap_or(version),
            unit: decision.unit.clone(),
        });
        Self { counting, clock, began, part }
    }

    /// It ended so.
    pub(crate) fn ended(&mut self, outcome: Ending<'_>) {
        let Some(part) = self.part.take() else { return };
        let Some(ramp) = &part.route.rollout else { return };
        let (unit, now) = (part.unit.as_deref(), self.clock.now());
        self.counting.count(ramp, part.step, part.version, unit, outcome, now);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.ended(Ending::BrokenOff { latency: self.began.elapsed() });
    }
}

/// What a unit is called in counts: the first 8 bytes of its SHA-256.
pub(crate) fn unit_key(unit: &str) -> u64 {
    Sha256::digest(unit).iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte))
}

fn is_withheld(error: &ApiError) -> bool {
    error.message.starts_with(WITHHELD)
}

fn signed(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
