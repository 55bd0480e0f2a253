//! From requests to units: what is randomised is what is counted.
//!
//! A unit that asks a hundred times is one unit. It belongs to the arm that was *chosen* for it first, whatever answered
//! and wherever a change of weights moved it later (intention to treat): its chance and its epoch are those of then.

use std::collections::BTreeMap;

use domain::experiment::{Allocation, Experiment, Measure, PerUnit, UnitKind};
use domain::prediction::Exposure;
use domain::route::{Arm, BUCKETS};
use domain::{PredictionId, VersionId};
use time::{Duration, OffsetDateTime};

use super::measure::{Score, Window, covariate, of_request, of_unit};
use super::truth::Truth;

/// An exposure with what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// What was decided and answered.
    pub exposure: Exposure,
    /// What is known of it.
    pub truth: Truth,
    /// What the control answered to the same input, where it was asked too.
    pub control: Option<Score>,
}

/// What the requests of one unit made of one metric.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    count: u64,
    sum: f64,
    largest: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        self.largest = if self.count == 0 { value } else { self.largest.max(value) };
        self.count += 1;
        self.sum += value;
    }

    fn value(&self, per_unit: PerUnit) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        Some(match per_unit {
            PerUnit::Mean => self.sum / self.count as f64,
            PerUnit::Sum => self.sum,
            PerUnit::Max => self.largest,
        })
    }
}

/// What one unit earned in one arm while the weights stood still.
#[derive(Debug, Clone, Copy)]
struct Stay {
    epoch: usize,
    arm: usize,
    primary: Sum,
}

#[derive(Debug, Clone)]
struct Unit {
    first: PredictionId,
    at: OffsetDateTime,
    arm: usize,
    epoch: usize,
    /// The epoch and arm of its latest request.
    last: (usize, usize),
    propensity: f64,
    chances: Vec<f64>,
    requests: u64,
    outcomes: u64,
    in_several_arms: bool,
    moved: bool,
    sums: Vec<Sum>,
    covariates: Vec<Option<f64>>,
    stays: Vec<Stay>,
    own: Truth,
}

/// Takes in exposures, oldest first, and feedback on units; gives the sample at any moment.
#[derive(Debug, Clone)]
pub struct Fold {
    arms: Vec<VersionId>,
    control: usize,
    kind: UnitKind,
    strict: bool,
    is_bandit: bool,
    window: Window,
    metrics: Vec<(Measure, PerUnit)>,
    epochs: Vec<EpochShares>,
    units: BTreeMap<String, Unit>,
    passed_over: u64,
    waiting: u64,
}

#[derive(Debug, Clone)]
struct EpochShares {
    number: u32,
    from: OffsetDateTime,
    shares: Vec<f64>,
}

/// A unit as it is compared.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitRow {
    /// Its arm, by its place among the experiment's arms.
    pub arm: usize,
    /// Its epoch, by its place.
    pub epoch: usize,
    /// The chance it had to be in its arm.
    pub propensity: f64,
    /// The chance it had for each arm.
    pub chances: Vec<f64>,
    /// Its requests.
    pub requests: u64,
    /// Those of which an outcome is known.
    pub outcomes: u64,
    /// Whether it was seen in several arms while the weights stood still.
    pub in_several_arms: bool,
    /// Whether a change of weights moved it.
    pub moved: bool,
    /// By metric, in the order of the design.
    pub values: Vec<Option<f64>>,
    /// By metric: what the control predicted for it.
    pub covariates: Vec<Option<f64>>,
    /// What it earned by the primary metric: epoch, arm, value.
    pub rewards: Vec<(usize, usize, f64)>,
}

/// The units of an experiment at one moment, in the order in which they came.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The arms.
    pub arms: Vec<VersionId>,
    /// The control, by its place.
    pub control: usize,
    /// The shares of the arms in each epoch, 0 to 1.
    pub epochs: Vec<Vec<f64>>,
    /// The units.
    pub units: Vec<UnitRow>,
    /// Exposures that belong to no arm, or have no unit where units are assigned.
    pub passed_over: u64,
    /// Requests whose outcome window is open.
    pub waiting: u64,
}

impl Fold {
    /// An empty one, for a look at `now`.
    pub fn new(experiment: &Experiment, now: OffsetDateTime) -> Self {
        let design = &experiment.design;
        let arms: Vec<VersionId> = design.arms.iter().map(|arm| arm.version).collect();
        let shares = |of: &[Arm]| {
            let share = |version: &VersionId| {
                of.iter().find(|arm| arm.version == *version).map_or(0, |arm| arm.share_ppm)
            };
            arms.iter().map(|version| f64::from(share(version)) / f64::from(BUCKETS)).collect()
        };
        let epochs = experiment.epochs.iter().map(|epoch| EpochShares {
            number: epoch.number,
            from: epoch.from,
            shares: shares(&epoch.arms),
        });
        let length = Duration::seconds(i64::try_from(design.outcome_window_s).unwrap_or(i64::MAX));
        Self {
            control: arms.iter().position(|arm| *arm == design.control).unwrap_or(0),
            kind: design.unit,
            strict: design.strict,
            is_bandit: matches!(design.allocation, Allocation::Bandit { .. }),
            window: Window { length, now },
            metrics: design.metrics().map(|metric| (metric.of.clone(), metric.per_unit)).collect(),
            epochs: epochs.collect(),
            arms,
            units: BTreeMap::new(),
            passed_over: 0,
            waiting: 0,
        }
    }

    /// Whether it needs feedback at all.
    pub fn needs_feedback(&self) -> bool {
        self.metrics.iter().any(|(measure, _)| measure.is_from_feedback())
    }

    /// Takes in an observation. Those of one experiment have to come in the order of their ids, each once.
    pub fn add(&mut self, observation: &Observation) {
        let Observation { exposure, truth, control } = observation;
        let arm = self.arms.iter().position(|arm| *arm == exposure.chosen());
        let key = match self.kind {
            UnitKind::Unit => exposure.decision.unit.clone(),
            UnitKind::Request => Some(exposure.prediction_id.to_string()),
        };
        let (Some(arm), Some(key), Some(epoch)) = (arm, key, self.epoch_of(exposure)) else {
            self.passed_over += 1;
            return;
        };
        let chances = self.chances(exposure, epoch);
        let unit = self.units.entry(key).or_insert_with(|| Unit {
            first: exposure.prediction_id,
            at: exposure.at,
            arm,
            epoch,
            last: (epoch, arm),
            propensity: exposure.decision.propensity,
            chances,
            requests: 0,
            outcomes: 0,
            in_several_arms: false,
            moved: false,
            sums: vec![Sum::default(); self.metrics.len()],
            covariates: Vec::new(),
            stays: Vec::new(),
            own: Truth::default(),
        });
        if unit.last.1 != arm {
            // A strict unit has no reason to move, and while weights stand still none has.
            if self.strict || unit.last.0 == epoch {
                unit.in_several_arms = true;
            } else {
                unit.moved = true;
            }
        }
        unit.last = (epoch, arm);
        if unit.requests == 0 {
            // The control's own answer is what it would have answered.
            let own = (arm == self.control).then(|| Score::from(exposure));
            let score = control.clone().or(own);
            let of = |measure: &Measure| covariate(measure, score.as_ref()?);
            unit.covariates = self.metrics.iter().map(|(measure, _)| of(measure)).collect();
        }
        unit.requests += 1;
        unit.outcomes += u64::from(!truth.is_empty());
        for (place, ((measure, _), sum)) in self.metrics.iter().zip(&mut unit.sums).enumerate() {
            let Some(value) = of_request(measure, exposure, truth, self.window) else { continue };
            sum.add(value);
            if place == 0 && self.is_bandit {
                let here = |stay: &&mut Stay| stay.epoch == epoch && stay.arm == arm;
                match unit.stays.iter_mut().find(here) {
                    Some(stay) => stay.primary.add(value),
                    None => {
                        let mut stay = Stay { epoch, arm, primary: Sum::default() };
                        stay.primary.add(value);
                        unit.stays.push(stay);
                    }
                }
            }
        }
        let waits = self.window.is_open(exposure.at);
        self.waiting += u64::from(waits && self.needs_feedback());
    }

    /// The units so far, with the moment of each one's first request: feedback on them counts from then on.
    pub fn units(&self) -> impl Iterator<Item = (&str, OffsetDateTime)> {
        let named = self.kind == UnitKind::Unit;
        self.units.iter().filter(move |_| named).map(|(name, unit)| (name.as_str(), unit.at))
    }

    /// Takes in what is known of a unit as such. What happened before its first request is to be left out by whoever
    /// calls.
    pub fn add_to_unit(&mut self, unit: &str, truth: Truth) {
        if let Some(unit) = self.units.get_mut(unit) {
            unit.own = truth;
        }
    }

    /// The units as they are now.
    pub fn sample(&self) -> Sample {
        let mut units: Vec<&Unit> = self.units.values().collect();
        units.sort_by_key(|unit| unit.first);
        Sample {
            arms: self.arms.clone(),
            control: self.control,
            epochs: self.epochs.iter().map(|epoch| epoch.shares.clone()).collect(),
            units: units.into_iter().map(|unit| self.row(unit)).collect(),
            passed_over: self.passed_over,
            waiting: self.waiting,
        }
    }

    fn row(&self, unit: &Unit) -> UnitRow {
        let own = |measure: &Measure| of_unit(measure, unit.at, &unit.own, self.window);
        // What is said of the unit as such is the whole of it.
        let value = |((measure, per_unit), sum): (&(Measure, PerUnit), &Sum)| {
            own(measure).or_else(|| sum.value(*per_unit))
        };
        let per_unit = self.metrics.first().map(|(_, per_unit)| *per_unit).unwrap_or_default();
        let reward = |stay: &Stay| Some((stay.epoch, stay.arm, stay.primary.value(per_unit)?));
        let own_reward = self.metrics.first().and_then(|(measure, _)| own(measure));
        let rewards = match own_reward {
            Some(reward) if self.is_bandit => vec![(unit.epoch, unit.arm, reward)],
            _ => unit.stays.iter().filter_map(reward).collect(),
        };
        UnitRow {
            arm: unit.arm,
            epoch: unit.epoch,
            propensity: unit.propensity,
            chances: unit.chances.clone(),
            requests: unit.requests,
            outcomes: unit.outcomes + u64::from(!unit.own.is_empty()),
            in_several_arms: unit.in_several_arms,
            moved: unit.moved,
            values: self.metrics.iter().zip(&unit.sums).map(value).collect(),
            covariates: unit.covariates.clone(),
            rewards,
        }
    }

    /// The epoch by the number that the decision names; by its time, where it names none that is known.
    fn epoch_of(&self, exposure: &Exposure) -> Option<usize> {
        let number = exposure.decision.epoch;
        let named = self.epochs.iter().position(|epoch| Some(epoch.number) == number);
        named.or_else(|| self.epochs.iter().rposition(|epoch| epoch.from <= exposure.at))
    }

    fn chances(&self, exposure: &Exposure, epoch: usize) -> Vec<f64> {
        let logged = &exposure.decision.chances;
        if logged.is_empty() {
            return self.epochs.get(epoch).map(|epoch| epoch.shares.clone()).unwrap_or_default();
        }
        let chance = |arm: &VersionId| logged.iter().find(|chance| chance.version == *arm);
        self.arms.iter().map(|arm| chance(arm).map_or(0.0, |chance| chance.probability)).collect()
    }
}
