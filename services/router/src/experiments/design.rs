//! What may be planned: all faults of a design at once, each with its place.

use std::collections::BTreeSet;

use contracts::Faults;
use contracts::router::NewExperiment;
use domain::experiment::{Allocation, Design, Measure, Metric, PlannedArm};
use domain::feedback::MetricName;
use domain::{Version, VersionId};

use crate::statistics::bandit::LEAST_ARMS_FOR_TOP_TWO;

/// The greatest weight: a sum of as many as an experiment may have stays exact enough.
const MOST_WEIGHT: f64 = 1e9;

/// What a design may ask for at most, as the settings have it.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Arms.
    pub arms: usize,
    /// Metrics, all together.
    pub metrics: usize,
    /// Characters of a text.
    pub characters: usize,
    /// Seconds that an experiment may last.
    pub runtime_s: u64,
    /// Seconds that a bandit's epoch lasts at least.
    pub least_epoch_s: u64,
}

/// Finds what is wrong with a plan.
pub fn check(new: &NewExperiment, versions: &[Version], limits: &Limits, faults: &mut Faults) {
    check_text("#/name", &new.name, limits, faults);
    check_text("#/hypothesis", &new.hypothesis, limits, faults);
    if !(new.traffic > 0.0 && new.traffic <= 1.0) {
        let detail = format!("must be above 0 to 1 (a share of the units), got `{}`", new.traffic);
        faults.add("#/traffic", detail);
    }
    let design = &new.design;
    check_arms(&design.arms, versions, limits, faults);
    let control = design.arms.iter().find(|arm| arm.version == design.control);
    if control.is_none() {
        faults.add("#/control", format!("must be one of the arms, got `{}`", design.control));
    } else if control.is_some_and(|arm| arm.weight == 0.0) {
        faults.add("#/control", "must have a weight above 0: the others are compared with it");
    }
    check_metrics(design, limits, faults);
    check_numbers(design, limits, faults);
    check_allocation(design, limits, faults);
}

/// Finds what is wrong with arms and their weights.
pub fn check_arms(arms: &[PlannedArm], versions: &[Version], limits: &Limits, faults: &mut Faults) {
    if arms.len() < 2 || arms.len() > limits.arms {
        let detail = format!(
            "must hold 2 to {} arms (`router.experiments.max_arms`), got {}",
            limits.arms,
            arms.len()
        );
        faults.add("#/arms", detail);
    }
    let mut seen: BTreeSet<VersionId> = BTreeSet::new();
    for (place, arm) in arms.iter().enumerate() {
        let at = |field: &str| format!("#/arms/{place}/{field}");
        match versions.iter().find(|version| version.version == arm.version) {
            None => {
                let detail = format!("must be a version of the model, got `{}`", arm.version);
                faults.add(at("version"), detail);
            }
            Some(version) if !version.enabled => {
                let detail = format!("version `{}` is unloaded: load it first", arm.version);
                faults.add(at("version"), detail);
            }
            Some(_) => {}
        }
        if !seen.insert(arm.version) {
            faults.add(at("version"), format!("version `{}` is named twice", arm.version));
        }
        if !(0.0..=MOST_WEIGHT).contains(&arm.weight) {
            faults.add(at("weight"), format!("must be 0 to {MOST_WEIGHT}, got `{:e}`", arm.weight));
        }
    }
    if !arms.is_empty() && arms.iter().all(|arm| arm.weight == 0.0) {
        faults.add("#/arms", "the weights must not all be zero");
    }
}

fn check_text(pointer: &str, text: &str, limits: &Limits, faults: &mut Faults) {
    let count = text.chars().count();
    let most = limits.characters;
    if text.trim().is_empty() || count > most || text.chars().any(char::is_control) {
        let detail = format!(
            "must be a text of 1 to {most} characters (`router.experiments.max_characters`) without control characters, got {count}"
        );
        faults.add(pointer, detail);
    }
}

fn check_metrics(design: &Design, limits: &Limits, faults: &mut Faults) {
    let count = design.metrics().count();
    if count > limits.metrics {
        let detail = format!(
            "all metrics together must be at most {} (`router.experiments.max_metrics`), got {count}",
            limits.metrics
        );
        faults.add("#/secondary", detail);
    }
    let mut named: Vec<(String, &Metric)> = vec![("#/primary".to_owned(), &design.primary)];
    for (place, metric) in design.secondary.iter().enumerate() {
        named.push((format!("#/secondary/{place}"), metric));
    }
    for (place, guardrail) in design.guardrails.iter().enumerate() {
        named.push((format!("#/guardrails/{place}/metric"), &guardrail.metric));
        if !(guardrail.margin >= 0.0 && guardrail.margin.is_finite()) {
            let detail = format!("must be 0 or more, got `{}`", guardrail.margin);
            faults.add(format!("#/guardrails/{place}/margin"), detail);
        }
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (pointer, metric) in named {
        let pointer_to_name = format!("{pointer}/name");
        let name = metric.name.as_str();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ' ' | '%');
        if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
            let detail = format!(
                "must be 1 to 64 characters of `A-Z a-z 0-9 . _ - %` and spaces, got `{}`",
                name.escape_debug().take(200).collect::<String>()
            );
            faults.add(pointer_to_name, detail);
        } else if !seen.insert(name) {
            faults.add(pointer_to_name, format!("two metrics are named `{name}`"));
        }
        check_measure(&pointer, metric, design, faults);
    }
}

fn check_measure(pointer: &str, metric: &Metric, design: &Design, faults: &mut Faults) {
    let of = |field: &str| format!("{pointer}/of/{field}");
    match &metric.of {
        Measure::Slow { over_ms } if !(*over_ms > 0.0 && over_ms.is_finite()) => {
            faults.add(of("over_ms"), format!("must be above 0, got `{over_ms}`"));
        }
        Measure::LowConfidence { below } if !(*below > 0.0 && *below <= 1.0) => {
            faults.add(of("below"), format!("must be above 0 to 1, got `{below}`"));
        }
        Measure::LabelIs { label } if label.is_empty() => {
            faults.add(of("label"), "must not be empty");
        }
        Measure::Named { metric, missing } => {
            if let Err(error) = metric.parse::<MetricName>() {
                faults.add(of("metric"), error.to_string());
            }
            if missing.is_some_and(|value| !value.is_finite()) {
                faults.add(of("missing"), "must be a finite number");
            } else if missing.is_some() && design.outcome_window_s == 0 {
                let detail = "needs `outcome_window_s` above 0: only when the time for an outcome is over is it missing";
                faults.add(of("missing"), detail);
            }
        }
        _ => {}
    }
}

fn check_numbers(design: &Design, limits: &Limits, faults: &mut Faults) {
    if !(design.alpha > 0.0 && design.alpha < 0.5) {
        faults.add("#/alpha", format!("must be above 0 and below 0.5, got `{}`", design.alpha));
    }
    if !(design.minimum_effect > 0.0 && design.minimum_effect.is_finite()) {
        let detail = format!(
            "must be above 0 (the smallest difference worth having, in the primary metric's unit), got `{}`",
            design.minimum_effect
        );
        faults.add("#/minimum_effect", detail);
    }
    if design.planned_units < 10 {
        faults
            .add("#/planned_units", format!("must be 10 or more, got `{}`", design.planned_units));
    }
    let most = limits.runtime_s;
    if design.maximum_runtime_s == 0 || design.maximum_runtime_s > most {
        let detail = format!(
            "must be 1 to {most} (`router.experiments.max_runtime_s`), got `{}`",
            design.maximum_runtime_s
        );
        faults.add("#/maximum_runtime_s", detail);
    } else if design.minimum_runtime_s > design.maximum_runtime_s {
        let detail = format!(
            "must be at most `maximum_runtime_s`, which is {}, got `{}`",
            design.maximum_runtime_s, design.minimum_runtime_s
        );
        faults.add("#/minimum_runtime_s", detail);
    }
    if design.outcome_window_s > most {
        let detail = format!(
            "must be at most {most} (`router.experiments.max_runtime_s`), got `{}`",
            design.outcome_window_s
        );
        faults.add("#/outcome_window_s", detail);
    }
    if design.cuped && design.allocation != Allocation::Fixed {
        let detail =
            "goes with fixed weights only: a bandit's units are weighted by their chances instead";
        faults.add("#/cuped", detail);
    }
}

fn check_allocation(design: &Design, limits: &Limits, faults: &mut Faults) {
    let Allocation::Bandit { epoch_s, minimum_outcomes, floor, top_two, discount } =
        &design.allocation
    else {
        return;
    };
    let of = |field: &str| format!("#/allocation/{field}");
    let (least, most) = (limits.least_epoch_s, limits.runtime_s);
    if !(least..=most).contains(epoch_s) {
        let detail = format!(
            "must be {least} to {most} (`router.experiments.min_epoch_s` and `.max_runtime_s`), got `{epoch_s}`"
        );
        faults.add(of("epoch_s"), detail);
    }
    if *minimum_outcomes < 2 {
        faults.add(of("minimum_outcomes"), format!("must be 2 or more, got `{minimum_outcomes}`"));
    }
    // Below 1 % the sequence that the report needs is of no use.
    let most = 1.0 / design.arms.len().max(1) as f64;
    if !(*floor >= 0.01 && *floor <= most) {
        let detail = format!("must be 0.01 to {most} (1 by the number of arms), got `{floor}`");
        faults.add(of("floor"), detail);
    }
    if *top_two && design.arms.len() < LEAST_ARMS_FOR_TOP_TWO {
        let detail = format!("needs {LEAST_ARMS_FOR_TOP_TWO} arms: with two it is always halves");
        faults.add(of("top_two"), detail);
    }
    if !(*discount > 0.0 && *discount <= 1.0) {
        faults.add(of("discount"), format!("must be above 0 to 1, got `{discount}`"));
    }
    for (place, arm) in design.arms.iter().enumerate() {
        if arm.weight == 0.0 {
            let detail = "must be above 0: a bandit tries every arm".to_owned();
            faults.add(format!("#/arms/{place}/weight"), detail);
        }
    }
}
