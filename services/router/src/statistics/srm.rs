//! Sample ratio mismatch: are the units split as configured?
//!
//! Count units by assignment, never requests and never outcomes. At an alarm, shipping is off until the cause is found;
//! rolling back stays allowed.

use serde::{Deserialize, Serialize};
use statrs::function::gamma::{checked_gamma_ur, ln_gamma};

use super::difference::p_value;
use super::finite;

/// A p-value below this is a mismatch.
pub const ALARM: f64 = 0.001;
/// Prior weight of the configured split in the sequential test: larger finds small mismatches later, and large ones
/// sooner.
pub const CONCENTRATION: f64 = 1_000.0;
/// A larger share of units that were seen in two arms is as bad as a mismatch.
pub const MOST_IN_TWO_ARMS: f64 = 0.01;
/// The chi-square test needs this many expected units in each arm.
const LEAST_EXPECTED: f64 = 5.0;

/// Units first assigned while the weights stood still.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Units per arm.
    pub units: Vec<u64>,
    /// Configured weights per arm, in any unit. An arm of weight 0 is left out, with its units.
    pub weights: Vec<f64>,
}

impl Epoch {
    /// Units and normalised weights of the arms that have a weight. `None` if the two do not fit together.
    fn cells(&self) -> Option<Vec<(f64, f64)>> {
        let fits = self.units.len() == self.weights.len()
            && self.weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0);
        let sum = finite(self.weights.iter().sum())?;
        if !fits || sum <= 0.0 {
            return None;
        }
        let cells = self.units.iter().zip(&self.weights).filter(|(_, weight)| **weight > 0.0);
        Some(cells.map(|(units, weight)| (*units as f64, weight / sum)).collect())
    }
}

/// Pearson's goodness of fit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ChiSquare {
    /// Sum over arms and epochs of (observed - expected)^2/expected.
    pub statistic: f64,
    /// Arms less one, summed over epochs.
    pub degrees_of_freedom: u64,
    /// The chance of such a statistic under the configured weights, at one look fixed beforehand.
    pub p_value: f64,
    /// Whether each arm has an expected count of 5, below which the p-value is rough.
    pub enough: bool,
}

impl ChiSquare {
    /// Whether to raise an alarm.
    pub fn is_mismatch(&self) -> bool {
        self.enough && self.p_value < ALARM
    }
}

/// The test for one look. Epochs (weights changed on the way) add up, statistics and degrees of freedom alike; one
/// without units is left out. `None` if nothing can be tested or an epoch's units and weights do not fit together.
pub fn chi_square(epochs: &[Epoch]) -> Option<ChiSquare> {
    let mut test = ChiSquare { statistic: 0.0, degrees_of_freedom: 0, p_value: 1.0, enough: true };
    for epoch in epochs {
        let cells = epoch.cells()?;
        let all: f64 = cells.iter().map(|(units, _)| units).sum();
        if all == 0.0 {
            continue;
        }
        for (units, weight) in &cells {
            let expected = all * weight;
            test.statistic += (units - expected).powi(2) / expected;
            test.enough &= expected >= LEAST_EXPECTED;
        }
        test.degrees_of_freedom += cells.len().saturating_sub(1) as u64;
    }
    if test.degrees_of_freedom == 0 {
        return None;
    }
    if test.statistic > 0.0 {
        let (a, x) = (test.degrees_of_freedom as f64 / 2.0, test.statistic / 2.0);
        test.p_value = checked_gamma_ur(a, x).ok().and_then(finite)?.clamp(0.0, 1.0);
    }
    Some(test)
}

/// The test for every look.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sequential {
    /// ln of the Bayes factor against the configured weights.
    pub log_bayes_factor: f64,
    /// min(1, 1/BF) at this look alone; the always-valid p-value is the least of all looks, which the caller keeps.
    pub p_value: f64,
}

/// The Dirichlet-multinomial test of Lindon and Malek (*Anytime-valid inference for multinomial count data*, NeurIPS
/// 2022), from the counts alone:
/// ln BF = lnG(A) - lnG(A + n) + sum_i (lnG(a_i + x_i) - lnG(a_i)) - sum_i x_i ln w_i, with a_i = A w_i and A the
/// `concentration`. Epochs add up. Watched for ever, a split as configured gives an alarm with probability at most
/// [`ALARM`]. `None` if an epoch's units and weights do not fit together, or none has a weight.
pub fn sequential(epochs: &[Epoch], concentration: f64) -> Option<Sequential> {
    if epochs.is_empty() || !(concentration.is_finite() && concentration > 0.0) {
        return None;
    }
    let mut log_bayes_factor = 0.0;
    for epoch in epochs {
        let cells = epoch.cells()?;
        let all: f64 = cells.iter().map(|(units, _)| units).sum();
        log_bayes_factor -= log_rising(concentration, all);
        for (units, weight) in cells {
            log_bayes_factor += log_rising(concentration * weight, units) - units * weight.ln();
        }
    }
    let log_bayes_factor = finite(log_bayes_factor)?;
    Some(Sequential { log_bayes_factor, p_value: p_value(log_bayes_factor) })
}

/// lnG(from + by) - lnG(from).
fn log_rising(from: f64, by: f64) -> f64 {
    ln_gamma(from + by) - ln_gamma(from)
}
