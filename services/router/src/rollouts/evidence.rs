//! What is known of a rollout, and how counts come into it.

use std::collections::BTreeMap;

use domain::VersionId;
use domain::counts::{ArmCounts, CountBatch};
use domain::rollout::Rollout;
use domain::{PredictionId, rollout::Guardrail};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::statistics::rate_ratio::{Batch, RateRatio};

/// Bad events of a unit are put together for this long: then units are met afresh.
const UNIT_WINDOW_S: i64 = 3600;

/// What is known of a rollout. Kept with it in the store.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Evidence {
    /// One for each guardrail of the plan.
    pub(crate) guardrails: Vec<Watch>,
    /// Requests of the canary, and of the baseline, since the rollout began.
    pub(crate) requests: (u64, u64),
    /// Since when the canary has answered nothing while the baseline did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) silence: Option<Silence>,
    /// The step at which people were told that it does not go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) told_stuck: Option<u32>,
    /// Whether people were told of this silence.
    #[serde(default)]
    pub(crate) told_silent: bool,
}

/// A time in which the canary answered nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Silence {
    /// When the first batch without an answer of the canary was closed.
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) since: OffsetDateTime,
    /// And the last one.
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) until: OffsetDateTime,
    /// Requests that were the canary's and got no answer of it.
    pub(crate) unanswered: u64,
    /// Requests of the baseline meanwhile.
    pub(crate) baseline: u64,
}

/// A guardrail with what was counted for it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Watch {
    /// The evidence.
    pub(crate) ratio: RateRatio,
    /// Counts of a step that wait for requests of the other arm, as a batch of one arm says nothing.
    #[serde(default)]
    open: (u32, Batch),
    /// Bad events by unit, of this window.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    units: BTreeMap<u64, u32>,
    /// Which window.
    #[serde(default)]
    window: i64,
    /// For feedback: the last prediction that was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) judged_to: Option<PredictionId>,
}

/// What of a step was counted for one guardrail.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Counted {
    /// Requests and bad events; the squares are found when it is taken in.
    pub(crate) batch: Batch,
    /// Bad events by unit, where units are assigned.
    pub(crate) units: BTreeMap<u64, u32>,
}

impl Evidence {
    /// What is known at the start: nothing.
    pub(crate) fn new(guardrails: &[Guardrail]) -> Self {
        let guardrails = guardrails.iter().map(|_| Watch::default()).collect();
        Self { guardrails, ..Self::default() }
    }

    /// As the rollout has it.
    pub(crate) fn of(rollout: &Rollout) -> Self {
        let known: Self = serde_json::from_value(rollout.evidence.clone()).unwrap_or_default();
        // What does not fit the plan is no evidence for it.
        if known.guardrails.len() == rollout.plan.guardrails.len() {
            known
        } else {
            Self::new(&rollout.plan.guardrails)
        }
    }

    /// Takes batches in, each once: whoever calls sees to that. Those of one step are added up
    /// first, whichever router they come from; those of earlier steps, which come late, count as
    /// evidence by themselves, as the shares were others then.
    ///
    /// `max_units`: units that are told apart for each guardrail.
    pub(crate) fn take_in(&mut self, rollout: &Rollout, batches: &[CountBatch], max_units: usize) {
        let mut steps: BTreeMap<u32, Vec<&CountBatch>> = BTreeMap::new();
        for batch in batches {
            steps.entry(batch.step).or_default().push(batch);
        }
        for (step, batches) in steps {
            let at = batches.iter().map(|batch| batch.at).max();
            let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
            let arm = |version: VersionId| {
                batches.iter().filter_map(move |batch| batch.arms.get(&version))
            };
            for (index, watch) in self.guardrails.iter_mut().enumerate() {
                let counted = counted(index, arm(rollout.canary), arm(rollout.baseline));
                watch.take_in(step, rollout.step, &counted, at, max_units);
            }
            let sum = |version, of: fn(&ArmCounts) -> u64| arm(version).map(of).sum::<u64>();
            let canary = sum(rollout.canary, |arm| arm.requests);
            let baseline = sum(rollout.baseline, |arm| arm.requests);
            self.requests.0 += canary;
            self.requests.1 += baseline;
            if step == rollout.step {
                let unanswered = sum(rollout.canary, |arm| arm.unanswered);
                let since = batches.iter().map(|batch| batch.at).min().unwrap_or(at);
                self.listen(canary, Silence { since, until: at, unanswered, baseline });
            }
        }
    }

    /// Notes whether the canary answers.
    fn listen(&mut self, canary: u64, now: Silence) {
        if canary > 0 {
            (self.silence, self.told_silent) = (None, false);
        } else if now.baseline > 0 || self.silence.is_some() {
            let before = self.silence.unwrap_or(Silence { unanswered: 0, baseline: 0, ..now });
            self.silence = Some(Silence {
                since: before.since.min(now.since),
                until: before.until.max(now.until),
                unanswered: before.unanswered + now.unanswered,
                baseline: before.baseline + now.baseline,
            });
        }
    }

    /// Forgets what concerns one step alone, as another begins.
    pub(crate) fn begin_step(&mut self) {
        (self.silence, self.told_silent, self.told_stuck) = (None, false, None);
    }
}

/// What the routers counted for the guardrail with this index.
fn counted<'a>(
    index: usize,
    canary: impl Iterator<Item = &'a ArmCounts>,
    baseline: impl Iterator<Item = &'a ArmCounts>,
) -> Counted {
    let mut counted = Counted::default();
    let of = |counts: &[u64]| counts.get(index).copied().unwrap_or_default();
    for arm in canary {
        counted.batch.canary_requests += of(&arm.judged);
        counted.batch.canary_events += of(&arm.bad);
        counted.add_units(arm.bad_units.get(index));
    }
    for arm in baseline {
        counted.batch.baseline_requests += of(&arm.judged);
        counted.batch.baseline_events += of(&arm.bad);
        counted.add_units(arm.bad_units.get(index));
    }
    counted
}

impl Counted {
    fn add_units(&mut self, units: Option<&BTreeMap<u64, u32>>) {
        for (unit, events) in units.into_iter().flatten() {
            let known = self.units.entry(*unit).or_default();
            *known = known.saturating_add(*events);
        }
    }
}

impl Watch {
    /// Takes in what was counted at a step; `current` is the one the rollout is at.
    pub(crate) fn take_in(
        &mut self,
        step: u32,
        current: u32,
        counted: &Counted,
        at: OffsetDateTime,
        max_units: usize,
    ) {
        let squared_events = self.squares(counted, at, max_units);
        let batch = Batch { squared_events, ..counted.batch };
        if step != current {
            self.ratio.update(&batch);
            return;
        }
        if self.open.0 != step {
            let (_, before) = std::mem::take(&mut self.open);
            self.ratio.update(&before);
            self.open.0 = step;
        }
        self.open.1 += batch;
        if self.open.1.canary_requests > 0 && self.open.1.baseline_requests > 0 {
            self.ratio.update(&self.open.1);
            self.open.1 = Batch::default();
        }
    }

    /// What these add to the sum over units of (bad events of the unit)^2. Units span batches; an
    /// event without a unit is one of its own.
    fn squares(&mut self, counted: &Counted, at: OffsetDateTime, max_units: usize) -> u64 {
        let window = at.unix_timestamp().div_euclid(UNIT_WINDOW_S);
        // Late ones are met in the window that is open.
        if window > self.window {
            (self.window, self.units) = (window, BTreeMap::new());
        }
        let mut squares = counted.batch.canary_events + counted.batch.baseline_events;
        for (unit, new) in &counted.units {
            let (new, before) = (u64::from(*new), self.units.get(unit).copied().unwrap_or(0));
            let before = u64::from(before);
            // (before + new)^2 - before^2, of which the events count `new` above already.
            squares += (2 * before + new) * new - new;
            let after = u32::try_from(before + new).unwrap_or(u32::MAX);
            self.units.insert(*unit, after);
        }
        if self.units.len() > max_units {
            // One event of a unit says nothing of how its events hang together.
            let mut most: u32 = 0;
            while self.units.len() > max_units && most < u32::MAX {
                most += 1;
                self.units.retain(|_, events| *events > most);
            }
        }
        squares
    }
}

#[cfg(test)]
impl Watch {
    pub(crate) fn units(&self) -> usize {
        self.units.len()
    }
}
