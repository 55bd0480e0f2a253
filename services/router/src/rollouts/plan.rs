//! What a rollout's plan may ask for.

use std::collections::HashSet;
use std::hash::Hash;

use contracts::{ApiError, Faults};
use domain::feedback::MetricName;
use domain::rollout::{Guardrail, RolloutPlan};

use super::ppm;
use crate::settings::RolloutSettings;

/// The longest name of a metric or a gate, characters.
const MAX_NAME: usize = 100;
/// The longest time, seconds: a year.
const MAX_SECONDS: u64 = 366 * 86_400;
/// The greatest ratio that evidence tells apart.
const MAX_RATIO: f64 = 30.0;

/// Whether a plan can be kept.
///
/// # Errors
/// `unprocessable` with every value that cannot be.
pub(crate) fn check(plan: &RolloutPlan, limits: &RolloutSettings) -> Result<(), ApiError> {
    let mut faults = Faults::default();
    check_steps(plan, limits, &mut faults);
    let mut number = |name: &str, value: f64, fits: bool, rule: &str| {
        if !fits {
            faults.add(format!("#/plan/{name}"), format!("must be {rule}, got `{value}`"));
        }
    };
    let above = |value: f64, most: f64| value > 0.0 && value <= most;
    number("harm_budget", plan.harm_budget, above(plan.harm_budget, 1.0), "above 0 to 1");
    number("alpha", plan.alpha, above(plan.alpha, 0.5), "above 0 to 0.5");
    let tolerated = plan.tolerated_ratio;
    number("tolerated_ratio", tolerated, (1.0..MAX_RATIO).contains(&tolerated), "1 to below 30");
    let excess = plan.minimum_excess;
    number("minimum_excess", excess, (0.0..1.0).contains(&excess), "0 to below 1");
    for (name, value) in [
        ("minimum_step_s", plan.minimum_step_s),
        ("warm_up_s", plan.warm_up_s),
        ("step_timeout_s", plan.step_timeout_s),
    ] {
        if value > MAX_SECONDS {
            let detail = format!("must be at most {MAX_SECONDS}, a year, got {value}");
            faults.add(format!("#/plan/{name}"), detail);
        }
    }
    if plan.step_timeout_s <= plan.minimum_step_s {
        faults.add(
            "#/plan/step_timeout_s",
            format!(
                "must be more than `minimum_step_s`, which is {}, got {}",
                plan.minimum_step_s, plan.step_timeout_s
            ),
        );
    }
    check_guardrails(plan, limits, &mut faults);
    check_gates(plan, limits, &mut faults);
    faults.check()
}

fn check_steps(plan: &RolloutPlan, limits: &RolloutSettings, faults: &mut Faults) {
    let (steps, most) = (&plan.steps, limits.max_steps);
    if steps.is_empty() || steps.len() > most {
        faults.add("#/plan/steps", format!("must hold 1 to {most} shares, got {}", steps.len()));
        return;
    }
    let mut before = 0;
    for (index, share) in steps.iter().enumerate() {
        let place = format!("#/plan/steps/{index}");
        if !(*share > 0.0 && *share <= 1.0) {
            faults.add(place, format!("must be above 0 to 1, got `{share}`"));
        } else if ppm(*share) <= before {
            let detail = format!("must be more than the share before, got `{share}`");
            faults.add(place, format!("{detail} (shares are whole millionths)"));
        }
        before = ppm(*share);
    }
    if before != ppm(1.0) {
        faults.add("#/plan/steps", "must end with `1`: everything is what a rollout leads to");
    }
    for (index, share) in plan.approve.iter().enumerate() {
        let place = format!("#/plan/approve/{index}");
        let at = steps.iter().position(|step| ppm(*step) == ppm(*share));
        match at {
            None => faults.add(place, format!("must be one of the steps, got `{share}`")),
            Some(0) => faults.add(
                place,
                format!("must not be the first step, got `{share}`: it begins with the rollout"),
            ),
            Some(_) => {}
        }
    }
    each_once(&plan.approve.iter().map(|share| ppm(*share)).collect::<Vec<_>>(), |index| {
        faults.add(format!("#/plan/approve/{index}"), "names a step that was named before");
    });
}

fn check_guardrails(plan: &RolloutPlan, limits: &RolloutSettings, faults: &mut Faults) {
    let (guardrails, most) = (&plan.guardrails, limits.max_guardrails);
    if guardrails.is_empty() || guardrails.len() > most {
        let count = guardrails.len();
        faults.add("#/plan/guardrails", format!("must hold 1 to {most} guardrails, got {count}"));
        return;
    }
    for (index, guardrail) in guardrails.iter().enumerate() {
        let place = |field: &str| format!("#/plan/guardrails/{index}/{field}");
        match guardrail {
            Guardrail::Slow { over_ms: Some(most) } if !(most.is_finite() && *most > 0.0) => {
                faults.add(place("over_ms"), format!("must be above 0, got `{most}`"));
            }
            Guardrail::LowConfidence { below } if !(*below > 0.0 && *below <= 1.0) => {
                faults.add(place("below"), format!("must be above 0 to 1, got `{below}`"));
            }
            Guardrail::Feedback { metric, at_most, within_s } => {
                if metric != "value"
                    && let Err(error) = metric.parse::<MetricName>()
                {
                    faults.add(place("metric"), format!("must be `value` or a name: {error}"));
                }
                if !at_most.is_finite() {
                    faults.add(place("at_most"), format!("must be a number, got `{at_most}`"));
                }
                if *within_s == 0 || *within_s > limits.max_feedback_s {
                    let most = limits.max_feedback_s;
                    faults.add(
                        place("within_s"),
                        format!(
                            "must be 1 to {most} (`router.rollouts.max_feedback_s`), got {within_s}"
                        ),
                    );
                }
            }
            _ => {}
        }
    }
    each_once(&guardrails.iter().map(Guardrail::name).collect::<Vec<_>>(), |index| {
        faults.add(format!("#/plan/guardrails/{index}"), "is of a kind that was named before");
    });
}

fn check_gates(plan: &RolloutPlan, limits: &RolloutSettings, faults: &mut Faults) {
    let (gates, most) = (&plan.gates, limits.max_gates);
    if gates.len() > most {
        faults.add("#/plan/gates", format!("must hold at most {most} gates, got {}", gates.len()));
        return;
    }
    for (index, gate) in gates.iter().enumerate() {
        if gate.name.is_empty() || gate.name.chars().count() > MAX_NAME {
            let detail = format!("must have 1 to {MAX_NAME} characters");
            faults.add(format!("#/plan/gates/{index}/name"), detail);
        }
    }
    each_once(&gates.iter().map(|gate| gate.name.as_str()).collect::<Vec<_>>(), |index| {
        faults.add(format!("#/plan/gates/{index}/name"), "was given before");
    });
}

/// Tells the places of those that came before.
fn each_once<T: Eq + Hash>(items: &[T], mut again: impl FnMut(usize)) {
    let mut known = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        if !known.insert(item) {
            again(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::rollout::Gate;

    use super::*;

    fn pointers(plan: &RolloutPlan) -> Vec<String> {
        let limits = RolloutSettings::for_tests();
        let faults = check(plan, &limits).err().map(|error| error.errors).unwrap_or_default();
        faults.into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn the_defaults_can_be_kept() {
        assert_eq!(pointers(&RolloutPlan::default()), Vec::<String>::new());
        let one = RolloutPlan { steps: vec![1.0], ..RolloutPlan::default() };
        assert_eq!(pointers(&one), Vec::<String>::new());
    }

    #[test]
    fn each_value_that_cannot_be_kept_is_pointed_at() {
        let feedback = |metric: &str, at_most, within_s| Guardrail::Feedback {
            metric: metric.to_owned(),
            at_most,
            within_s,
        };
        let gate = |name: &str| Gate { name: name.to_owned(), url: "http://a.example".to_owned() };
        let plan = RolloutPlan {
            steps: vec![0.1, 0.05, f64::NAN, 0.5],
            harm_budget: 0.0,
            alpha: 0.6,
            tolerated_ratio: 0.9,
            minimum_excess: f64::NAN,
            guardrails: vec![
                Guardrail::Slow { over_ms: Some(0.0) },
                Guardrail::LowConfidence { below: 1.5 },
                feedback("", f64::INFINITY, 0),
                Guardrail::Errors {},
                Guardrail::Errors {},
            ],
            minimum_step_s: 10,
            step_timeout_s: 10,
            warm_up_s: u64::MAX,
            approve: vec![0.1, 0.3, 0.5, 0.5],
            gates: vec![gate("a"), gate("a"), gate("")],
            ..RolloutPlan::default()
        };
        let at = |name: &str| format!("#/plan/{name}");
        let expected = [
            "steps/1",
            "steps/2",
            "steps",
            "approve/0",
            "approve/1",
            "approve/3",
            "harm_budget",
            "alpha",
            "tolerated_ratio",
            "minimum_excess",
            "warm_up_s",
            "step_timeout_s",
            "guardrails/0/over_ms",
            "guardrails/1/below",
            "guardrails/2/metric",
            "guardrails/2/at_most",
            "guardrails/2/within_s",
            "guardrails/4",
            "gates/2/name",
            "gates/1/name",
        ];
        assert_eq!(pointers(&plan), expected.map(at));
        let none = RolloutPlan { steps: vec![], guardrails: vec![], ..RolloutPlan::default() };
        assert_eq!(pointers(&none), ["#/plan/steps", "#/plan/guardrails"]);
        let two = RolloutPlan { steps: vec![0.000_000_1, 1.0], ..RolloutPlan::default() };
        assert_eq!(pointers(&two), ["#/plan/steps/0"]);
    }
}
