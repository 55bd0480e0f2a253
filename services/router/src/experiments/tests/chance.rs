//! How often the whole analysis errs: a few hundred experiments with a seed.

use contracts::router::Advice;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;

/// One experiment that is looked at again and again; whether it ever claimed something, and whether the split was ever
/// found wrong.
fn peeked(seed: u64, weights: &[f64], rates: &[f64], change: Option<&[f64]>) -> (Advice, bool) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut experiment = running(design(weights, value_metric()));
    experiment.design.minimum_units = 1;
    experiment.salt = format!("salt-{seed}");
    let mut all = Vec::new();
    let mut mismatch = false;
    for number in 1..=1500u64 {
        if let (Some(change), 700) = (change, number) {
            weigh(&mut experiment, change, moment(700));
        }
        let at = moment(number.cast_signed());
        let exposure = exposure(&experiment, number, &format!("u{number}"), at);
        let arm = (exposure.version.number() - 1) as usize;
        // A rate that moves with time, for all arms alike.
        let rate = rates[arm] + 0.1 * f64::from(u8::from(number > 700));
        let value = f64::from(u8::from(rng.random_bool(rate)));
        all.push(seen(exposure, value));
        if number % 100 == 0 {
            let sample = fold(&experiment, at, &all).sample();
            let analysis = analyse(&experiment, &sample, at);
            experiment.least_p.clone_from(&analysis.least_p);
            mismatch |= analysis.report.sample_ratio.mismatch;
            let action = analysis.report.recommendation.action;
            if matches!(action, Advice::Ship | Advice::RollBack) {
                return (action, mismatch);
            }
        }
    }
    (Advice::KeepGoing, mismatch)
}

#[test]
fn experiments_without_a_difference_rarely_claim_one_however_often_they_are_looked_at() {
    const RUNS: u64 = 300;
    for (weights, change) in [
        (vec![1.0, 1.0], None),
        (vec![9.0, 1.0], None),
        (vec![9.0, 1.0], Some(vec![1.0, 9.0])),
        (vec![2.0, 1.0, 1.0], None),
    ] {
        let rates = vec![0.1; weights.len()];
        let (mut claims, mut mismatches) = (0, 0);
        for seed in 0..RUNS {
            let (advice, mismatch) = peeked(seed, &weights, &rates, change.as_deref());
            claims += u64::from(advice != Advice::KeepGoing);
            mismatches += u64::from(mismatch);
        }
        // At 5 % of 300, 15 are expected at most; 25 would be it by chance in one of 200 tries.
        assert!(claims <= 25, "{claims} of {RUNS} with weights {weights:?}, then {change:?}");
        assert!(mismatches <= 3, "{mismatches} of {RUNS} splits found wrong");
    }
}

#[test]
fn a_difference_is_found_by_most_and_its_sign_is_right() {
    let found = |rates: &[f64]| {
        let mut counts = [0; 3];
        for seed in 0..40 {
            match peeked(seed, &[1.0, 1.0], rates, None).0 {
                Advice::Ship => counts[0] += 1,
                Advice::RollBack => counts[1] += 1,
                _ => counts[2] += 1,
            }
        }
        counts
    };
    let [better, wrong, _] = found(&[0.1, 0.25]);
    assert!(better >= 36 && wrong == 0, "{better} {wrong}");
    let [wrong, worse, _] = found(&[0.25, 0.1]);
    assert!(worse >= 36 && wrong == 0, "{worse} {wrong}");
}
