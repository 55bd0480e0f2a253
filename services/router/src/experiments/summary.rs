//! The parts of a report beside the comparisons: arms, the look, power, what should be known.

use contracts::router::{ArmReport, Power};
use domain::VersionId;
use domain::experiment::{Allocation, Experiment, Look, LookArm, Measure};
use time::OffsetDateTime;

use crate::statistics::difference::{Difference, Plan};
use crate::statistics::power::{Question, sequential_rows};

use super::bandit;
use super::comparison::Compared;
use super::fold::{Sample, UnitRow};

/// The chance of finding the minimum effect that the number of units needed is for.
const POWER: f64 = 0.8;
/// How long units are counted before a day's number is told from them, seconds.
const LEAST_ELAPSED_S: f64 = 3600.0;

pub(super) fn arms(experiment: &Experiment, sample: &Sample) -> Vec<ArmReport> {
    let chances = bandit::chances_best(&experiment.design, sample);
    let shares = sample.epochs.last();
    let report = |(place, version): (usize, &VersionId)| {
        let mut arm = ArmReport {
            version: *version,
            control: place == sample.control,
            share: shares.and_then(|shares| shares.get(place)).copied().unwrap_or_default(),
            units: 0,
            requests: 0,
            outcomes: 0,
            chance_best: chances.as_ref().and_then(|chances| chances.get(place)).copied(),
        };
        for unit in sample.units.iter().filter(|unit| unit.arm == place) {
            arm.units += 1;
            arm.requests += unit.requests;
            arm.outcomes += unit.outcomes;
        }
        arm
    };
    sample.arms.iter().enumerate().map(report).collect()
}

pub(super) fn look(
    sample: &Sample,
    treatments: &[usize],
    primary: &[Compared],
    at: OffsetDateTime,
) -> Option<Look> {
    let arm = |(arm, compared): (&usize, &Compared)| {
        let Difference { difference, lower, upper, .. } = compared.difference?;
        Some(LookArm { version: *sample.arms.get(*arm)?, difference, lower, upper })
    };
    let arms: Vec<LookArm> = treatments.iter().zip(primary).filter_map(arm).collect();
    (!arms.is_empty()).then_some(Look { at, units: sample.units.len() as u64, arms })
}

pub(super) fn power(
    experiment: &Experiment,
    sample: &Sample,
    treatments: &[usize],
    primary: &[Compared],
    elapsed_s: f64,
) -> Power {
    let design = &experiment.design;
    let with_value = |unit: &&UnitRow| unit.values.first().is_some_and(Option::is_some);
    let units = sample.units.iter().filter(with_value).count() as u64;
    let needed = |compared: &Compared| -> Option<f64> {
        let (control, other) = (&compared.control, &compared.treatment);
        let both = (control.count + other.count) as f64;
        let question = Question {
            effect: design.minimum_effect,
            variance_control: control.variance()?,
            variance_treatment: other.variance()?,
            share: other.count as f64 / both,
        };
        let plan = Plan::new(design.alpha, design.planned_units as f64)?;
        // The other versions have units of their own.
        Some(sequential_rows(&question, &plan, POWER)? * units as f64 / both)
    };
    let each: Vec<Option<f64>> =
        treatments.iter().zip(primary).map(|(_, compared)| needed(compared)).collect();
    let all = each.into_iter().collect::<Option<Vec<f64>>>();
    let most = all.and_then(|all| all.into_iter().reduce(f64::max)).filter(|n| n.is_finite());
    let days = elapsed_s / 86_400.0;
    let units_per_day = (elapsed_s >= LEAST_ELAPSED_S && units > 0).then(|| units as f64 / days);
    let days_left =
        most.zip(units_per_day).map(|(needed, rate)| ((needed - units as f64) / rate).max(0.0));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let units_needed = most.map(|needed| needed.ceil() as u64);
    Power { effect: design.minimum_effect, units_needed, units, units_per_day, days_left }
}

pub(super) fn notes(
    experiment: &Experiment,
    sample: &Sample,
    primary: &[Compared],
    strata: &[usize],
) -> Vec<String> {
    let design = &experiment.design;
    let mut notes = Vec::new();
    let changed = strata.iter().any(|stratum| *stratum > 0);
    let is_bandit = matches!(design.allocation, Allocation::Bandit { .. });
    if changed && is_bandit {
        notes.push("the weights followed what was earned, so each unit counts by the chance it had (design-based sequence): right, but wider than an experiment with fixed weights".to_owned());
    } else if changed {
        notes.push("weights were changed on the way: the arms are compared between the changes only, and the differences combined".to_owned());
    }
    let moved = sample.units.iter().filter(|unit| unit.moved).count();
    if moved > 0 {
        notes.push(format!("{moved} units got another version after a change of weights and count for their first one, which makes differences look smaller: `strict` keeps units where they are"));
    }
    if sample.waiting > 0 {
        notes.push(format!(
            "{} requests wait for their outcome: they count when their window closes",
            sample.waiting
        ));
    }
    if sample.passed_over > 0 {
        notes.push(format!(
            "{} requests were passed over: they have no unit, or a version that is no arm",
            sample.passed_over
        ));
    }
    if design.cuped && primary.iter().all(|one| one.variance_saved.is_none()) {
        notes.push("no variance was taken out: there are no predictions of the control for the other versions' requests (a shadow of the control gives them)".to_owned());
    }
    if design.metrics().any(|metric| matches!(metric.of, Measure::Latency)) {
        notes.push("a mean latency hangs on its few largest values: `slow` (the share of answers that took too long) tells more, sooner".to_owned());
    }
    if experiment.started_at.is_some() {
        notes.push("intervals and p-values hold at any time, asymptotically: with few units, or events that are very rare, they are approximations".to_owned());
    }
    notes
}
