//! Weights and what another policy would have earned.

use crate::statistics::bandit::{Posterior, standings, top_two, weights};
use crate::statistics::moments::Moments;
use crate::statistics::off_policy::{OffPolicy, Refusal, Row};

fn best(posteriors: &[Posterior]) -> Vec<f64> {
    standings(posteriors).unwrap().iter().map(|standing| standing.best).collect()
}

fn beta(alpha: f64, beta: f64) -> Posterior {
    Posterior::Beta { alpha, beta }
}

fn normal(mean: f64, deviation: f64) -> Posterior {
    Posterior::Normal { mean, deviation }
}

#[test]
fn chances_agree_with_closed_forms() {
    // P(Beta(1, n) > Beta(1, m)) = m/(n + m); with a steep one, small and large counts, and no counts.
    for (n, m) in [(1.0, 1.0), (3.0, 40.0), (1e6, 2e6), (0.5, 0.5)] {
        let got = best(&[beta(1.0, n), beta(1.0, m)])[0];
        assert!((got - m / (n + m)).abs() < 1e-8, "{n} {m}: {got}");
    }
    // Jeffreys' prior, where the density has poles at both ends.
    let got = best(&[beta(0.5, 0.5), beta(0.5, 0.5), beta(0.5, 0.5)]);
    assert!(got.iter().all(|chance| (chance - 1.0 / 3.0).abs() < 1e-8), "{got:?}");
    // P(N(0, 1) > N(1, 2^2)) = Phi(-1/sqrt 5), and far apart, with widths that differ a thousandfold.
    let got = best(&[normal(0.0, 1.0), normal(1.0, 2.0)])[0];
    assert!((got - 0.327_360_423_009_289_2).abs() < 1e-8, "{got}");
    assert_eq!(best(&[normal(0.0, 1e-3), normal(100.0, 1.0)]), [0.0, 1.0]);
    // E(max) - mean for two standard normals is 1/sqrt(pi).
    let loss = standings(&[normal(0.0, 1.0), normal(0.0, 1.0)]).unwrap()[0].expected_loss;
    assert!((loss - 0.564_189_583_547_756_3).abs() < 1e-8, "{loss}");
    // Ten million rewards an arm, where a Beta is as good as normal: no digits are lost.
    let got = best(&[beta(5_000_000.0, 5_000_000.0), beta(5_000_500.0, 4_999_500.0)])[1];
    let z = 5e-5 / (2.0f64 * 0.25 / 1e7).sqrt();
    let phi = 0.5 * statrs::function::erf::erfc(-z / std::f64::consts::SQRT_2);
    assert!((got - phi).abs() < 1e-5, "{got} {phi}");
}

#[test]
fn lower_is_better_turned_round() {
    let arms = [beta(12.0, 90.0), beta(20.0, 85.0), beta(15.0, 88.0)];
    let lowest = best(&arms.map(Posterior::turned));
    assert!(lowest[0] > lowest[2] && lowest[2] > lowest[1]);
    assert!((lowest.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    let lowest = best(&[normal(1.0, 1.0), normal(3.0, 1.0)].map(Posterior::turned));
    assert!(lowest[0] > 0.9);
}

#[test]
fn what_is_not_sound_has_no_weights() {
    assert_eq!(standings(&[]), None);
    assert_eq!(standings(&[beta(1.0, 1.0), normal(0.0, 1.0)]), None);
    for bad in [beta(0.0, 1.0), beta(1.0, f64::NAN), normal(0.0, 0.0), normal(f64::NAN, 1.0)] {
        assert_eq!(standings(&[bad, bad]), None);
    }
    assert_eq!(Posterior::of_moments(&Moments::of_events(10, 0).unwrap()), None);
    assert_eq!(Posterior::of_moments(&Moments::of_events(1, 1).unwrap()), None);
    assert_eq!(weights(&[0.5, 0.5], 0.6), None);
    assert_eq!(top_two(&[1.0]), None);
}

#[test]
fn weights_leave_every_arm_something() {
    assert_eq!(weights(&[1.0, 0.0, 0.0, 0.0], 0.25), Some(vec![0.25; 4]));
    let got = weights(&[1.0, 0.0], 0.05).unwrap();
    assert!((got[0] - 0.95).abs() < 1e-12 && (got[1] - 0.05).abs() < 1e-12);
    assert_eq!(top_two(&[0.9, 0.1]), Some(vec![0.5, 0.5]));
    assert_eq!(top_two(&[1.0, 0.0, 0.0]), Some(vec![0.5, 0.25, 0.25]));
    let got = top_two(&[0.7, 0.2, 0.1]).unwrap();
    assert!((got.iter().sum::<f64>() - 1.0).abs() < 1e-12);
}

#[test]
fn the_past_fades_and_epochs_are_not_pooled() {
    assert_eq!(Posterior::of_discounted_counts(&[(8, 4), (2, 6)], 0.5), beta(7.0, 9.0));
    assert_eq!(
        Posterior::of_discounted_counts(&[(8, 4), (2, 6)], 1.0),
        Posterior::of_counts(10, 10)
    );
    // Rewards of 0 and then of 1 for everybody; the arm had most of its rows early.
    let epoch = |n: u64, x: u64| Moments::of_events(n, x).unwrap();
    let arm = [(1_000, epoch(900, 90)), (1_000, epoch(100, 90))];
    let Some(Posterior::Normal { mean, .. }) = Posterior::over_epochs(&arm) else { panic!() };
    assert!((mean - 0.5).abs() < 1e-12, "{mean}");
    assert_eq!(Posterior::over_epochs(&[(1_000, epoch(1, 1))]), None);
}

fn logged<'a>(action: usize, propensities: &'a [f64], target: &'a [f64]) -> Row<'a> {
    let propensity = propensities[action];
    Row { action, reward: 1.0, propensity, propensities, target, expected: &[] }
}

#[test]
fn a_log_that_cannot_answer_is_refused() {
    assert_eq!(OffPolicy::default().report(), None);
    // A route that never gave the second arm says nothing of it.
    let mut fixed = OffPolicy::default();
    for _ in 0..1_000 {
        assert!(fixed.push(&logged(0, &[1.0, 0.0], &[0.5, 0.5])));
    }
    let report = fixed.report().unwrap();
    assert_eq!(report.refusal, Some(Refusal::NoOverlap { rows: 1_000 }));
    assert!(report.refusal.unwrap().to_string().contains("in 1000 rows"));
    // All weight on one row in a hundred.
    let mut few = OffPolicy::default();
    for n in 0..1_000 {
        assert!(few.push(&logged(usize::from(n % 100 == 0), &[0.995, 0.005], &[0.0, 1.0])));
    }
    let report = few.report().unwrap();
    assert_eq!(report.refusal, Some(Refusal::FewEffectiveRows { rows: 10.0 }));
    assert!((report.small_propensities - 0.01).abs() < 1e-12);
    assert!((report.largest_weight - 200.0).abs() < 1e-9);
    assert_eq!(report.doubly_robust, None);
    let snips = report.snips.unwrap();
    let (lower, upper) = snips.interval(0.05).unwrap();
    assert!((snips.value - 1.0).abs() < 1e-12 && upper - lower < 1e-6, "{snips:?}");
    // A target that never does what was done has nothing to weigh.
    let mut never = OffPolicy::default();
    assert!(never.push(&logged(0, &[0.5, 0.5], &[0.0, 1.0])));
    assert_eq!(never.report().unwrap().snips, None);
}

#[test]
fn rows_that_make_no_sense_are_counted_as_refused() {
    let sound = logged(0, &[0.5, 0.5], &[0.5, 0.5]);
    let bad = [
        Row { propensity: 0.0, ..sound },
        Row { propensity: 1.5, ..sound },
        Row { propensity: f64::NAN, ..sound },
        Row { reward: f64::INFINITY, ..sound },
        Row { action: 2, ..sound },
        Row { target: &[0.5, 0.4], ..sound },
        Row { target: &[1.5, -0.5], ..sound },
        Row { propensities: &[1.0], ..sound },
        Row { expected: &[1.0], ..sound },
    ];
    let mut log = OffPolicy::default();
    for row in &bad {
        assert!(!log.push(row), "{row:?}");
    }
    assert!(log.push(&sound));
    let report = log.report().unwrap();
    assert_eq!((report.rows, report.refused), (1, bad.len() as u64));
}
