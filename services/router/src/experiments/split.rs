//! Whether units fell to the arms as the weights say.

use contracts::router::SampleRatio;

use crate::statistics::srm::{ALARM, CONCENTRATION, Epoch, MOST_IN_TWO_ARMS, sequential};

use super::fold::Sample;

/// Fewer units in several arms than this are no reason for an alarm.
const LEAST_IN_TWO_ARMS: u64 = 5;

/// The check at this look. `least_p` is the least p-value of all looks before.
pub fn sample_ratio(sample: &Sample, strata: &[usize], least_p: Option<f64>) -> SampleRatio {
    let arms = sample.arms.len();
    let mut epochs: Vec<Epoch> = Vec::new();
    for (shares, stratum) in sample.epochs.iter().zip(strata) {
        if *stratum == epochs.len() {
            epochs.push(Epoch { units: vec![0; arms], weights: shares.clone() });
        }
    }
    let mut in_several_arms = 0;
    for unit in &sample.units {
        in_several_arms += u64::from(unit.in_several_arms);
        let epoch = strata.get(unit.epoch).and_then(|stratum| epochs.get_mut(*stratum));
        if let Some(units) = epoch.and_then(|epoch| epoch.units.get_mut(unit.arm)) {
            *units += 1;
        }
    }
    let (mut expected, mut observed) = (vec![0.0; arms], vec![0u64; arms]);
    for epoch in &epochs {
        let all: u64 = epoch.units.iter().sum();
        for (sum, share) in expected.iter_mut().zip(&epoch.weights) {
            *sum += all as f64 * share;
        }
        for (sum, units) in observed.iter_mut().zip(&epoch.units) {
            *sum += units;
        }
    }
    let now = sequential(&epochs, CONCENTRATION).map_or(1.0, |test| test.p_value);
    let p_value = now.min(least_p.unwrap_or(1.0));
    let share = in_several_arms as f64 / sample.units.len().max(1) as f64;
    let many = share > MOST_IN_TWO_ARMS && in_several_arms >= LEAST_IN_TWO_ARMS;
    SampleRatio { expected, observed, p_value, in_several_arms, mismatch: p_value < ALARM || many }
}
