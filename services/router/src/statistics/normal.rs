//! The normal distribution.

use statrs::function::erf::{erfc, erfc_inv};

/// P(Z <= z).
pub(super) fn cumulative(z: f64) -> f64 {
    0.5 * erfc(-z / std::f64::consts::SQRT_2)
}

/// The z with P(Z <= z) = `p`; `None` unless 0 < p < 1.
pub(super) fn quantile(p: f64) -> Option<f64> {
    (p > 0.0 && p < 1.0).then(|| -std::f64::consts::SQRT_2 * erfc_inv(2.0 * p))
}
