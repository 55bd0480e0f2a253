//! Bandits, and what other weights would have earned.

use domain::experiment::UnitKind;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;

fn bandit(arms: usize, floor: f64, more: serde_json::Value) -> Experiment {
    let mut design = design(&vec![1.0; arms], value_metric());
    let mut allocation = json!({"by": "bandit", "floor": floor, "minimum_outcomes": 50});
    allocation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    design.allocation = serde_json::from_value(allocation).unwrap();
    design.unit = UnitKind::Request;
    running(design)
}

fn next(experiment: &Experiment, now: i64, all: &[Observation]) -> Option<bandit::Next> {
    bandit::next_weights(&experiment.design, &fold(experiment, moment(now), all).sample())
}

#[test]
fn weights_follow_what_was_earned_above_the_floor() {
    let experiment = bandit(3, 0.05, json!({}));
    let all = events(&experiment, &[(100, 10), (100, 50), (100, 12)]);
    let next = next(&experiment, 5000, &all).unwrap();
    assert!((next.weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    assert!(next.weights.iter().all(|weight| *weight >= 0.05 - 1e-12), "{next:?}");
    assert!(next.weights[1] > 0.89, "{next:?}");
    assert!(next.reason.contains("version 2 is the best with a chance of 100.0 %"), "{next:?}");
}

#[test]
fn too_few_outcomes_and_open_windows_change_nothing() {
    let mut experiment = bandit(2, 0.05, json!({}));
    assert_eq!(next(&experiment, 5000, &events(&experiment, &[(49, 9), (80, 70)])), None);
    let all = events(&experiment, &[(60, 9), (60, 50)]);
    assert!(next(&experiment, 5000, &all).is_some());
    experiment.design.outcome_window_s = 10_000;
    assert_eq!(next(&experiment, 5000, &all), None, "no window has closed yet");
    assert!(next(&experiment, 20_000, &all).is_some());
}

#[test]
fn top_two_shares_between_the_best_two() {
    let experiment = bandit(3, 0.01, json!({"top_two": true}));
    let all = events(&experiment, &[(100, 10), (100, 60), (100, 50)]);
    let next = next(&experiment, 5000, &all).unwrap();
    assert!(next.weights[1] < 0.6 && next.weights[2] > 0.35, "{next:?}");
}

#[test]
fn less_is_better_where_it_is_said_so() {
    let mut experiment = bandit(2, 0.05, json!({}));
    experiment.design.primary.better = domain::experiment::Better::Lower;
    let all = events(&experiment, &[(100, 10), (100, 50)]);
    assert!(next(&experiment, 5000, &all).unwrap().weights[0] > 0.9);
}

/// A bandit that learns every 200 requests, with rates that move for all alike: its log.
fn run(rates: &[f64], seed: u64) -> (Experiment, Vec<Observation>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut experiment = bandit(rates.len(), 0.1, json!({}));
    experiment.salt = format!("salt-{seed}");
    let mut all: Vec<Observation> = Vec::new();
    for number in 1..=4000u64 {
        if number % 200 == 0
            && let Some(next) = next(&experiment, number.cast_signed(), &all)
        {
            weigh(&mut experiment, &next.weights, moment(number.cast_signed()));
        }
        let at = moment(number.cast_signed());
        let name = id(number).to_string();
        let one = exposure(&experiment, number, &name, at);
        let arm = (one.version.number() - 1) as usize;
        let rate = rates[arm] + if number > 2000 { 0.2 } else { 0.0 };
        all.push(seen(one, f64::from(u8::from(rng.random_bool(rate)))));
    }
    (experiment, all)
}

#[test]
fn a_bandit_learns_and_its_report_is_not_misled_by_its_own_weights() {
    let (experiment, all) = run(&[0.2, 0.5], 7);
    let report = report(&experiment, moment(5000), &all);
    assert!(report.arms[1].share > 0.8, "{:?}", report.arms);
    assert!(report.arms[1].chance_best.unwrap() > 0.99);
    let comparison = &report.metrics[0].comparisons[0];
    assert!(comparison.lower.unwrap() < 0.3 && comparison.upper.unwrap() > 0.3, "{comparison:?}");
    assert!(comparison.lower.unwrap() > 0.0, "and it is shown: {comparison:?}");
    assert!(report.notes.iter().any(|note| note.contains("design-based")));
    assert!(!report.sample_ratio.mismatch, "{:?}", report.sample_ratio);
}

#[test]
fn bandits_without_a_difference_rarely_claim_one() {
    let mut claims = 0;
    for seed in 0..60 {
        let (experiment, all) = run(&[0.3, 0.3], seed);
        let report = report(&experiment, moment(5000), &all);
        let comparison = &report.metrics[0].comparisons[0];
        claims += u32::from(comparison.lower.unwrap() > 0.0 || comparison.upper.unwrap() < 0.0);
    }
    assert!(claims <= 6, "{claims} of 60");
}

#[test]
fn what_a_version_would_have_earned_is_found_in_the_log() {
    let (experiment, all) = run(&[0.2, 0.5], 3);
    let sample = fold(&experiment, moment(5000), &all).sample();
    // Half of the time 0.1 + the rate: 0.3 and 0.6 in truth.
    for (policy, truth) in [([1.0, 0.0], 0.3), ([0.0, 1.0], 0.6), ([0.5, 0.5], 0.45)] {
        let answer = what_if::what_if(&sample, &policy);
        assert_eq!(answer.refused, None, "{answer:?}");
        for estimate in [answer.ips, answer.snips, answer.doubly_robust].map(Option::unwrap) {
            assert!((estimate.value - truth).abs() < 0.08, "{policy:?}: {answer:?}");
            assert!(estimate.lower < truth && truth < estimate.upper, "{policy:?}: {answer:?}");
        }
        assert_eq!(answer.decisions, 4000);
    }
}

#[test]
fn without_overlap_or_with_few_rows_nothing_is_said() {
    let mut experiment = running(design(&[1.0, 0.0], value_metric()));
    let all = events(&experiment, &[(500, 100)]);
    let sample = fold(&experiment, moment(5000), &all).sample();
    let answer = what_if::what_if(&sample, &[0.0, 1.0]);
    assert!(answer.refused.unwrap().contains("had no chance"), "never tried");
    assert_eq!((answer.ips, answer.snips, answer.doubly_robust), (None, None, None));
    experiment = running(design(&[1.0, 1.0], value_metric()));
    let few = fold(&experiment, moment(5000), &events(&experiment, &[(40, 10), (40, 10)])).sample();
    assert!(what_if::what_if(&few, &[0.0, 1.0]).refused.unwrap().contains("it takes 100"));
    let none = fold(&experiment, moment(5000), &[]).sample();
    let answer = what_if::what_if(&none, &[0.0, 1.0]);
    assert!(answer.refused.is_some() && answer.earned.is_none());
}

#[test]
fn fixed_weights_are_no_bandit() {
    let mut experiment = bandit(2, 0.05, json!({}));
    experiment.design.allocation = Allocation::Fixed;
    let all = events(&experiment, &[(100, 10), (100, 50)]);
    assert_eq!(next(&experiment, 5000, &all), None);
}
