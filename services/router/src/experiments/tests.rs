//! The whole analysis, over logs that are made here.

use std::collections::BTreeMap;

use domain::experiment::{
    Allocation, Design, Epoch, Experiment, ExperimentState, Measure, Metric, PlannedArm,
};
use domain::prediction::{Decision, Exposure, Reason};
use domain::route::{Arm, BUCKETS, Slice};
use domain::{PlanId, PlanKind, PredictionId, VersionId};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::*;
use crate::assignment::{bucket, reassign, shares, version_at};

mod bandits;
mod chance;
mod planning;
mod reports;
mod units;

fn moment(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).unwrap()
}

fn version(number: u32) -> VersionId {
    VersionId::new(number).unwrap()
}

fn arms(weights: &[f64]) -> Vec<Arm> {
    let shares = shares(weights).unwrap();
    let arm = |((place, share_ppm), weight): ((usize, u32), &f64)| Arm {
        version: version(u32::try_from(place).unwrap() + 1),
        share_ppm,
        weight: *weight,
    };
    shares.into_iter().enumerate().zip(weights).map(arm).collect()
}

fn design(weights: &[f64], primary: serde_json::Value) -> Design {
    let arms: Vec<_> = weights
        .iter()
        .enumerate()
        .map(|(place, weight)| json!({"version": (place + 1).to_string(), "weight": weight}))
        .collect();
    serde_json::from_value(json!({
        "arms": arms, "control": "1", "minimum_effect": 0.05, "minimum_runtime_s": 0,
        "primary": {"name": "primary", "of": primary},
    }))
    .unwrap()
}

/// One that has run since moment 0.
fn running(design: Design) -> Experiment {
    let weights: Vec<f64> = design.arms.iter().map(|arm| arm.weight).collect();
    let arms = arms(&weights);
    let first = Epoch {
        number: 1,
        from: moment(0),
        arms: arms.clone(),
        by: "anna".to_owned(),
        reason: String::new(),
    };
    Experiment {
        id: PlanId::new(PlanKind::Experiment),
        name: "test".to_owned(),
        model: "iris".parse().unwrap(),
        hypothesis: "better".to_owned(),
        state: ExperimentState::Running,
        slice: Slice { layer: "l".to_owned(), salt: "s".to_owned(), start: 0, end: BUCKETS },
        salt: "salt".to_owned(),
        segments: reassign(&[], &arms),
        arms,
        epochs: vec![first],
        verdict: None,
        looks: Vec::new(),
        least_p: BTreeMap::new(),
        advice: None,
        created_by: "anna".to_owned(),
        created_at: moment(0),
        started_at: Some(moment(0)),
        ended_at: None,
        revision: 1,
        design,
    }
}

/// Sets other weights from a moment on, as the service does it.
fn weigh(experiment: &mut Experiment, weights: &[f64], from: OffsetDateTime) {
    experiment.arms = arms(weights);
    experiment.segments = reassign(&experiment.segments, &experiment.arms);
    let number = u32::try_from(experiment.epochs.len()).unwrap() + 1;
    let (arms, by, reason) = (experiment.arms.clone(), "anna".to_owned(), String::new());
    experiment.epochs.push(Epoch { number, from, arms, by, reason });
}

/// A prediction id whose place in the order is `number`.
fn id(number: u64) -> PredictionId {
    format!("01990000-0000-7000-8000-{number:012x}").parse().unwrap()
}

/// What a router would log of a request of this unit.
fn exposure(experiment: &Experiment, number: u64, unit: &str, at: OffsetDateTime) -> Exposure {
    let bucket = bucket(&experiment.salt, unit);
    let version = version_at(&experiment.segments, bucket).unwrap();
    let arm = experiment.arms.iter().find(|arm| arm.version == version).unwrap();
    let propensity = f64::from(arm.share_ppm) / f64::from(BUCKETS);
    let mut decision = Decision::new(1, Reason::Unit, propensity, Some(unit.to_owned()));
    decision.plan = Some(experiment.id.clone());
    decision.epoch = experiment.epochs.last().map(|epoch| epoch.number);
    Exposure {
        prediction_id: id(number),
        at,
        version,
        decision,
        label: Some("yes".to_owned()),
        confidence: Some(0.9),
        value: None,
        latency_us: 1000,
        cached: false,
        degraded: None,
        error: None,
    }
}

/// The same, in an arm of the test's choice.
fn exposure_in(experiment: &Experiment, number: u64, unit: &str, arm: u32) -> Exposure {
    Exposure {
        version: version(arm),
        ..exposure(experiment, number, unit, moment(i64::try_from(number).unwrap()))
    }
}

fn truth(value: f64, at: OffsetDateTime) -> Truth {
    Truth { value: Some((value, at)), ..Truth::default() }
}

fn seen(exposure: Exposure, value: f64) -> Observation {
    let truth = truth(value, exposure.at);
    Observation { exposure, truth, control: None }
}

fn fold(experiment: &Experiment, now: OffsetDateTime, seen: &[Observation]) -> Fold {
    let mut fold = Fold::new(experiment, now);
    for one in seen {
        fold.add(one);
    }
    fold
}

fn report(
    experiment: &Experiment,
    now: OffsetDateTime,
    seen: &[Observation],
) -> contracts::router::Report {
    analyse(experiment, &fold(experiment, now, seen).sample(), now).report
}

fn value_metric() -> serde_json::Value {
    json!({"measure": "value"})
}

/// So many units in each arm, of which so many have the value 1, and the others 0.
fn events(experiment: &Experiment, counts: &[(u64, u64)]) -> Vec<Observation> {
    let mut all = Vec::new();
    for (place, (units, events)) in counts.iter().enumerate() {
        for unit in 0..*units {
            let number = all.len() as u64 + 1;
            let arm = u32::try_from(place).unwrap() + 1;
            let exposure = exposure_in(experiment, number, &format!("{arm}-{unit}"), arm);
            all.push(seen(exposure, f64::from(u8::from(unit < *events))));
        }
    }
    all
}
