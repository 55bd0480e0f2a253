//! The statistics that the router decides by.
//!
//! Reading order: [`moments`] (what is kept per arm), [`difference`] (may be looked at any time), [`epochs`] (the
//! same when weights change), [`srm`] (is the split as configured?), [`rate_ratio`] and [`canary`] (guardrails of a
//! rollout), [`correction`] (many metrics and arms), [`cuped`], [`power`], [`bandit`], [`off_policy`], and last
//! [`verdict`] (what to say).
//!
//! Invariants: no IO, no clock, no chance. Everything is `f64`, evidence is kept as logarithms so that it cannot
//! overflow, and what is undefined is `None`, never 0 or NaN.

pub mod bandit;
pub mod canary;
pub mod correction;
pub mod cuped;
pub mod difference;
pub mod epochs;
pub mod moments;
mod normal;
pub mod off_policy;
pub mod power;
mod quadrature;
pub mod rate_ratio;
pub mod srm;
pub mod verdict;

/// The value, if it is a number that can be reported.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Whether a value can be counted: it is a number, and small enough that no sum of squares overflows.
fn countable(value: f64) -> bool {
    value.abs() <= 1e100
}

#[cfg(test)]
mod tests;
