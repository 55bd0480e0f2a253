//! Replicas merged are one replica, order does not matter, and a restart is not one.

use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};

use crate::statistics::difference::{Plan, difference};
use crate::statistics::epochs::{DesignBased, Side};
use crate::statistics::moments::{Bivariate, Moments};
use crate::statistics::off_policy::{OffPolicy, Row};
use crate::statistics::rate_ratio::{Batch, RateRatio};
use crate::statistics::srm::{CONCENTRATION, Epoch, sequential};

fn restarted<T: Serialize + DeserializeOwned>(state: &T) -> T {
    serde_json::from_str(&serde_json::to_string(state).unwrap()).unwrap()
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
}

fn batch() -> impl Strategy<Value = Batch> {
    let arm = || (0u64..500).prop_flat_map(|n| (Just(n), 0..=n));
    (arm(), arm()).prop_map(|(canary, baseline)| Batch::of_requests(canary, baseline))
}

proptest! {
    #[test]
    fn replicas_merged_give_the_same_bits_as_one(
        events in prop::collection::vec((0u64..2, any::<bool>(), 0usize..3), 4..400),
    ) {
        // Counts per replica and arm; then all as one, in another order.
        let mut replicas = [[(0u64, 0u64); 2]; 3];
        let mut one = [(0u64, 0u64); 2];
        for (arm, bad, replica) in events.iter().rev() {
            let arm = usize::try_from(*arm).unwrap();
            for cell in [&mut replicas[*replica][arm], &mut one[arm]] {
                cell.0 += 1;
                cell.1 += u64::from(*bad);
            }
        }
        let merged = [0, 1].map(|arm| {
            replicas.iter().fold((0, 0), |sum, replica| (sum.0 + replica[arm].0, sum.1 + replica[arm].1))
        });
        let plan = Plan::new(0.05, 5_000.0).unwrap();
        let look = |arms: [(u64, u64); 2]| {
            let [control, treatment] = arms.map(|(n, x)| Moments::of_events(n, x).unwrap());
            difference(&control, &treatment, &plan)
        };
        prop_assert_eq!(look(merged), look(one));
        let split = |arms: [(u64, u64); 2]| {
            let units = arms.map(|(n, _)| n).to_vec();
            sequential(&[Epoch { units, weights: vec![1.0, 1.0] }], CONCENTRATION).unwrap()
        };
        prop_assert_eq!(split(merged), split(one));

        let batch = |arms: [(u64, u64); 2]| Batch::of_requests(arms[1], arms[0]);
        let mut sum = Batch::default();
        for replica in replicas {
            sum += batch(replica);
        }
        prop_assert_eq!(sum, batch(one));
        let (mut of_replicas, mut of_one) = (RateRatio::default(), RateRatio::default());
        of_replicas.update(&sum);
        of_one.update(&batch(one));
        prop_assert_eq!(of_replicas, of_one);
    }

    #[test]
    fn moments_merge_to_those_of_all_values(
        values in prop::collection::vec((-1e6..1e6f64, -1e3..1e3f64), 0..60),
        cut in 0usize..60,
    ) {
        let (left, right) = values.split_at(cut.min(values.len()));
        let of = |pairs: &[(f64, f64)]| {
            let mut both = Bivariate::default();
            pairs.iter().for_each(|(x, y)| assert!(both.push(*x, *y)));
            both
        };
        let (all, mut merged) = (of(&values), of(left));
        merged.merge(&of(right));
        prop_assert_eq!(all.count, merged.count);
        for (a, b) in [
            (all.mean_x, merged.mean_x), (all.mean_y, merged.mean_y), (all.m2_x, merged.m2_x),
            (all.m2_y, merged.m2_y), (all.m_xy, merged.m_xy),
        ] {
            prop_assert!(near(a, b), "{a} {b}");
        }
        let alone: Moments = values.iter().map(|(x, _)| *x).collect();
        let halves = [left, right].map(|part| part.iter().map(|(x, _)| *x).collect::<Moments>());
        prop_assert!(near(alone.m2, halves[0].merged(&halves[1]).m2));
        prop_assert_eq!(alone, all.x());
    }

    #[test]
    fn the_order_of_batches_does_not_matter(mut batches in prop::collection::vec(batch(), 1..30)) {
        let of = |batches: &[Batch]| {
            let mut state = RateRatio::default();
            batches.iter().for_each(|batch| state.update(batch));
            state
        };
        let forwards = of(&batches);
        batches.reverse();
        let backwards = of(&batches);
        // Counts to the bit; the likelihoods are sums of the same numbers in another order.
        prop_assert_eq!(forwards.compared(), backwards.compared());
        prop_assert!(near(forwards.log_e_against_1(), backwards.log_e_against_1()));
    }

    #[test]
    fn a_restart_in_the_middle_changes_no_bit(
        batches in prop::collection::vec(batch(), 2..20),
        values in prop::collection::vec(-1e9..1e9f64, 2..40),
    ) {
        let (mut running, mut stopped) = (RateRatio::default(), RateRatio::default());
        for batch in &batches {
            running.update(batch);
            stopped = restarted(&stopped);
            stopped.update(batch);
        }
        prop_assert_eq!(running, stopped);

        let (mut running, mut stopped) = (Moments::default(), Moments::default());
        let (mut pairs, mut stopped_pairs) = (Bivariate::default(), Bivariate::default());
        let (mut rows, mut stopped_rows) = (DesignBased::default(), DesignBased::default());
        let (mut policy, mut stopped_policy) = (OffPolicy::default(), OffPolicy::default());
        for (index, value) in values.iter().enumerate() {
            let side = if index % 3 == 0 { Side::Treatment } else { Side::Control };
            let row = Row {
                action: index % 2,
                reward: *value,
                propensity: 0.3,
                propensities: &[],
                target: &[0.25, 0.75],
                expected: &[1.0, 2.0],
            };
            (stopped, stopped_pairs) = (restarted(&stopped), restarted(&stopped_pairs));
            (stopped_rows, stopped_policy) = (restarted(&stopped_rows), restarted(&stopped_policy));
            prop_assert!(running.push(*value) && stopped.push(*value));
            prop_assert!(pairs.push(*value, 1.0) && stopped_pairs.push(*value, 1.0));
            prop_assert!(rows.push(side, 0.3, *value) && stopped_rows.push(side, 0.3, *value));
            prop_assert!(policy.push(&row) && stopped_policy.push(&row));
        }
        prop_assert_eq!(running, stopped);
        prop_assert_eq!(pairs, stopped_pairs);
        prop_assert_eq!(rows, stopped_rows);
        prop_assert_eq!(policy, stopped_policy);
        let plan = Plan::new(0.05, 5_000.0).unwrap();
        prop_assert_eq!(plan, restarted(&plan));
    }
}

#[test]
fn a_state_of_another_grid_is_refused() {
    let mut stored = serde_json::to_value(RateRatio::default()).unwrap();
    stored["log_likelihood"].as_array_mut().unwrap().pop();
    let error = serde_json::from_value::<RateRatio>(stored).unwrap_err();
    assert!(error.to_string().contains("expected 115 log likelihoods"), "{error}");
}

#[test]
fn rows_merge_to_those_of_all() {
    let row = |action: usize, reward: f64| Row {
        action,
        reward,
        propensity: 0.4,
        propensities: &[],
        target: &[0.5, 0.5],
        expected: &[0.2, 0.3],
    };
    let (mut all, mut left, mut right) =
        (OffPolicy::default(), OffPolicy::default(), OffPolicy::default());
    let (mut rows, mut rows_left, mut rows_right) =
        (DesignBased::default(), DesignBased::default(), DesignBased::default());
    for n in 0..40 {
        let (part, design) =
            if n < 15 { (&mut left, &mut rows_left) } else { (&mut right, &mut rows_right) };
        for policy in [&mut all, part] {
            assert!(policy.push(&row(n % 2, n as f64)));
        }
        for sequence in [&mut rows, design] {
            assert!(sequence.push(Side::Control, 0.2, n as f64));
        }
    }
    left.merge(&right);
    rows_left.merge(&rows_right);
    let (one, merged) = (all.report().unwrap(), left.report().unwrap());
    assert_eq!(one.rows, merged.rows);
    for (a, b) in [(one.ips, merged.ips), (one.snips.unwrap(), merged.snips.unwrap())] {
        assert!(near(a.value, b.value));
        assert!(near(a.standard_error.unwrap(), b.standard_error.unwrap()));
    }
    assert_eq!(rows.count, rows_left.count);
    assert!(near(rows.sum_of_variances, rows_left.sum_of_variances));
}
