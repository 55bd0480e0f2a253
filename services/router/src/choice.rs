//! Which version a request gets: the one that the caller names, else by the first rule that fits,
//! else by the experiment that the unit is in, else by the route's own arms.
//!
//! A route is made ready once, when it is put in force. A request to a route without rules and
//! experiments then costs one hash.

use std::ops::Deref;
use std::sync::Arc;

use domain::experiment::UnitKind;
use domain::prediction::{Chance, Decision, Reason};
use domain::route::{Arm, BUCKETS, HashKind, Segment, Trial};
use domain::{PredictionId, Route, VersionId};

use crate::assignment::{bucket, growthbook_v2_bucket, version_at};
use crate::targeting::{Members, Tests, Who, in_words};

/// A route, made ready to decide.
#[derive(Debug)]
pub(crate) struct Ready {
    route: Arc<Route>,
    own: Arms,
    /// As in the route.
    rules: Vec<(Tests, Arms)>,
    trials: Vec<(Tests, Arms)>,
}

/// Versions of which the hash chooses one.
#[derive(Debug)]
struct Arms {
    segments: Vec<Segment>,
    /// Those that can be chosen.
    chances: Vec<Chance>,
}

/// What was decided.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) version: VersionId,
    pub(crate) decision: Decision,
    /// The bucket that decided.
    pub(crate) bucket: Option<u32>,
    /// The place in the route of the trial that decided, if its units keep their first arms.
    pub(crate) strict: Option<usize>,
}

/// What is hashed: a unit, or the id of a prediction whose unit is not known.
#[derive(Clone, Copy)]
struct Key<'a> {
    text: &'a str,
    reason: Reason,
    unit: Option<&'a str>,
}

/// How a decision came about, told only to who asks.
#[derive(Debug, Default)]
pub(crate) struct Steps(Option<Vec<String>>);

impl Deref for Ready {
    type Target = Route;

    fn deref(&self) -> &Route {
        &self.route
    }
}

impl Ready {
    /// The route itself.
    pub(crate) fn shared(&self) -> Arc<Route> {
        Arc::clone(&self.route)
    }

    pub(crate) fn new(route: impl Into<Arc<Route>>) -> Self {
        let route = route.into();
        let audiences = Members::all(&route.audiences);
        let rules = route.rules.iter().map(|rule| {
            let arms = Arms::new(&rule.arms, &rule.segments, route.hash);
            (Tests::new(&rule.when, &audiences), arms)
        });
        let trials = route.trials.iter().map(|trial| {
            let arms = Arms::new(&trial.arms, &trial.segments, trial.hash);
            (Tests::new(&trial.when, &audiences), arms)
        });
        Self {
            own: Arms::new(&route.arms, &route.segments, route.hash),
            rules: rules.collect(),
            trials: trials.collect(),
            route,
        }
    }

    /// Whether it decides as this route would.
    pub(crate) fn is_made_of(&self, route: &Route) -> bool {
        *self.route == *route
    }

    /// The version that this request gets. `None` if the route has no arm to give.
    pub(crate) fn decide(
        &self,
        who: &Who<'_>,
        id: PredictionId,
        steps: &mut Steps,
    ) -> Option<Verdict> {
        // A request without a unit is assigned by its own id, and is never taken for a unit.
        let id = if who.unit.is_none() || !self.trials.is_empty() {
            id.to_string()
        } else {
            String::new()
        };
        let by_request = Key { text: &id, reason: Reason::Request, unit: None };
        let key = who.unit.map_or(by_request, |unit| Key {
            text: unit,
            reason: Reason::Unit,
            unit: Some(unit),
        });
        self.by_rule(who, key, steps)
            .or_else(|| self.by_trial(who, key, by_request, steps))
            .or_else(|| self.by_own_arms(key, steps))
    }

    fn by_rule(&self, who: &Who<'_>, key: Key<'_>, steps: &mut Steps) -> Option<Verdict> {
        for (rule, (tests, arms)) in self.route.rules.iter().zip(&self.rules) {
            if let Some(failed) = tests.first_that_fails(who) {
                steps.say(|| {
                    let asked = rule.when.get(failed).map(in_words).unwrap_or_default();
                    format!("rule `{}` asks that {asked}: it does not fit", rule.name)
                });
                continue;
            }
            steps.say(|| format!("rule `{}` fits, and decides", rule.name));
            let place = bucket_by(self.route.hash, &self.route.salt, key.text);
            let mut verdict = arms.verdict(self.route.generation, key, place, steps)?;
            verdict.decision.rule = Some(rule.name.clone());
            return Some(verdict);
        }
        None
    }

    fn by_trial(
        &self,
        who: &Who<'_>,
        key: Key<'_>,
        by_request: Key<'_>,
        steps: &mut Steps,
    ) -> Option<Verdict> {
        for (index, (trial, (tests, arms))) in
            self.route.trials.iter().zip(&self.trials).enumerate()
        {
            let Trial { experiment, slice, .. } = trial;
            let key = match trial.unit {
                UnitKind::Request => by_request,
                UnitKind::Unit => key,
            };
            if trial.unit == UnitKind::Unit && key.unit.is_none() {
                steps.say(|| {
                    format!("experiment `{experiment}` assigns units, and the request names none")
                });
                continue;
            }
            if let Some(failed) = tests.first_that_fails(who) {
                steps.say(|| {
                    let asked = trial.when.get(failed).map(in_words).unwrap_or_default();
                    format!("experiment `{experiment}` asks that {asked}: it is not for this one")
                });
                continue;
            }
            let place = bucket(&slice.salt, key.text);
            let inside = (slice.start..slice.end).contains(&place);
            steps.say(|| {
                let where_it_is = if inside { "within" } else { "outside of" };
                format!(
                    "bucket {place} of layer `{}` is {where_it_is} {} to {}, which experiment `{experiment}` has",
                    slice.layer, slice.start, slice.end
                )
            });
            if !inside {
                continue;
            }
            let place = bucket_by(trial.hash, &trial.salt, key.text);
            let Some(mut verdict) = arms.verdict(self.route.generation, key, place, steps) else {
                continue;
            };
            verdict.decision.plan = Some(experiment.clone());
            verdict.decision.epoch = Some(trial.epoch);
            if trial.strict && key.unit.is_some() {
                steps.say(|| {
                    "a unit that was in the experiment before keeps the arm that it had first"
                        .to_owned()
                });
                verdict.strict = Some(index);
            }
            return Some(verdict);
        }
        None
    }

    fn by_own_arms(&self, key: Key<'_>, steps: &mut Steps) -> Option<Verdict> {
        steps.say(|| "the route's own arms decide".to_owned());
        let place = bucket_by(self.route.hash, &self.route.salt, key.text);
        let mut verdict = self.own.verdict(self.route.generation, key, place, steps)?;
        if let Some(rollout) = &self.route.rollout {
            steps.say(|| format!("rollout `{rollout}` sets their weights"));
            verdict.decision.plan = Some(rollout.id.clone());
            verdict.decision.epoch = Some(rollout.step);
        }
        Some(verdict)
    }
}

impl Arms {
    fn new(arms: &[Arm], segments: &[Segment], hash: HashKind) -> Self {
        let chance = |arm: &Arm| {
            let own = segments.iter().filter(|segment| segment.version == arm.version);
            let held: u32 = own.map(|segment| reached(*segment, hash)).sum();
            let probability = f64::from(held) / f64::from(BUCKETS);
            Chance { version: arm.version, probability }
        };
        let chances = arms.iter().map(chance).filter(|chance| chance.probability > 0.0).collect();
        Self { segments: segments.to_vec(), chances }
    }

    fn verdict(
        &self,
        generation: u64,
        key: Key<'_>,
        place: u32,
        steps: &mut Steps,
    ) -> Option<Verdict> {
        let version = version_at(&self.segments, place)?;
        let chance = self.chances.iter().find(|chance| chance.version == version);
        let propensity = chance.map_or(0.0, |chance| chance.probability);
        let unit = key.unit.map(str::to_owned);
        let mut decision = Decision::new(generation, key.reason, propensity, unit);
        if self.chances.len() > 1 {
            decision.chances.clone_from(&self.chances);
        }
        steps.say(|| match key.reason {
            _ if self.chances.len() < 2 => format!("version {version} is its only arm"),
            Reason::Unit => format!(
                "the unit's bucket is {place}, which belongs to version {version} ({} % of the units)",
                propensity * 100.0
            ),
            _ => format!(
                "chance decides anew for each request: version {version} this time ({} % of them)",
                propensity * 100.0
            ),
        });
        let bucket = (key.reason == Reason::Unit).then_some(place);
        Some(Verdict { version, decision, bucket, strict: None })
    }
}

impl Steps {
    /// Steps that are told.
    pub(crate) fn told() -> Self {
        Self(Some(Vec::new()))
    }

    pub(crate) fn say(&mut self, step: impl FnOnce() -> String) {
        if let Some(steps) = &mut self.0 {
            steps.push(step());
        }
    }

    pub(crate) fn into_list(self) -> Vec<String> {
        self.0.unwrap_or_default()
    }
}

/// The bucket of a unit, 0 to [`BUCKETS`] - 1.
fn bucket_by(hash: HashKind, salt: &str, unit: &str) -> u32 {
    match hash {
        HashKind::Sha256 => bucket(salt, unit),
        HashKind::GrowthbookV2 => growthbook_v2_bucket(salt, unit),
    }
}

/// How many buckets' worth of units a segment gets: a hash of coarser steps reaches the first bucket
/// of each step alone, and all that step's units with it.
fn reached(segment: Segment, hash: HashKind) -> u32 {
    const STEP: u32 = 100;
    match hash {
        HashKind::Sha256 => segment.end.saturating_sub(segment.start),
        HashKind::GrowthbookV2 => {
            segment.end.div_ceil(STEP).saturating_sub(segment.start.div_ceil(STEP)) * STEP
        }
    }
}

#[cfg(test)]
mod tests;
