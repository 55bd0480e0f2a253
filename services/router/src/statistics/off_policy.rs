//! What another policy would have earned, from the log of this one.
//!
//! w = target's probability of the logged action over the logged one. Estimators as in the Open Bandit Pipeline; doubly
//! robust after Dudik, Langford and Li (2011).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::moments::Moments;
use super::{countable, finite, normal};

/// Below this many effective rows nothing is said.
pub const LEAST_EFFECTIVE_ROWS: f64 = 100.0;
/// Weights above this are cut in the clipped estimate.
const CLIP: f64 = 10.0;
/// Rows logged with less chance than this are counted.
const SMALL_PROPENSITY: f64 = 0.01;

/// A logged decision with its outcome.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The arm that was chosen (not the one that answered in its place), from 0.
    pub action: usize,
    /// What it earned.
    pub reward: f64,
    /// The chance that the log gave that arm: for a sticky unit, the one at its first assignment.
    pub propensity: f64,
    /// The chance of every arm in the log; empty if the log does not have it.
    pub propensities: &'a [f64],
    /// The chance of every arm under the policy in question.
    pub target: &'a [f64],
    /// The reward that a model expects of every arm, from a model that did not see this row; empty without one.
    pub expected: &'a [f64],
}

/// Sums over rows; they merge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct OffPolicy {
    weighted: Moments,
    clipped: Moments,
    direct: Moments,
    doubly_robust: Moments,
    weight: f64,
    weight_squared: f64,
    weight_squared_reward: f64,
    weight_squared_reward_squared: f64,
    largest_weight: f64,
    small_propensities: u64,
    without_overlap: u64,
    refused: u64,
}

/// A point and its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Mean reward per decision.
    pub value: f64,
    /// `None` below two rows.
    pub standard_error: Option<f64>,
}

impl Estimate {
    fn of(moments: &Moments) -> Self {
        Self { value: moments.mean, standard_error: moments.standard_error() }
    }

    /// value -+ z se, for many rows and one look.
    pub fn interval(&self, alpha: f64) -> Option<(f64, f64)> {
        let half = normal::quantile(1.0 - alpha / 2.0)? * self.standard_error?;
        Some((self.value - half, self.value + half))
    }
}

/// What the log says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Rows used.
    pub rows: u64,
    /// Rows that could not be used: a chance of 0 or above 1, arms that do not fit, a number that is not finite.
    pub refused: u64,
    /// mean(w r): unbiased, and wild.
    pub ips: Estimate,
    /// sum(w r)/sum(w): the one to show, it stays within the rewards. `None` if all weights are 0.
    pub snips: Option<Estimate>,
    /// mean of what the model expects: as good as the model. `None` unless every row has one.
    pub direct: Option<Estimate>,
    /// Direct plus mean(w (r - expected)): right if either the model or the chances are. `None` like `direct`.
    pub doubly_robust: Option<Estimate>,
    /// mean(min(w, 10) r): calmer, and biased.
    pub ips_clipped: Estimate,
    /// (sum w)^2/sum w^2.
    pub effective_rows: f64,
    /// The largest w.
    pub largest_weight: f64,
    /// The share of rows logged with a chance below 1 %.
    pub small_propensities: f64,
    /// Why no verdict may be based on it.
    pub refusal: Option<Refusal>,
}

/// Why the log cannot answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The policy chooses arms that the log never could.
    NoOverlap {
        /// In so many rows.
        rows: u64,
    },
    /// The rows that weigh are too few.
    FewEffectiveRows {
        /// So many.
        rows: f64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoOverlap { rows } => write!(
                f,
                "in {rows} rows the policy chooses an arm that had no chance in the log, so the log cannot say what it \
                 would have earned"
            ),
            Self::FewEffectiveRows { rows } => write!(
                f,
                "the rows weigh as much as {rows:.0} rows of the policy itself, and it takes {LEAST_EFFECTIVE_ROWS:.0}"
            ),
        }
    }
}

impl OffPolicy {
    /// Counts a row in. One that cannot be used is only counted as refused; the answer says whether it was used.
    pub fn push(&mut self, row: &Row<'_>) -> bool {
        let used = self.try_push(row).is_some();
        self.refused += u64::from(!used);
        used
    }

    fn try_push(&mut self, row: &Row<'_>) -> Option<()> {
        let target = row.target.get(row.action)?;
        let sum: f64 = row.target.iter().sum();
        let sound = row.propensity > 0.0
            && row.propensity <= 1.0
            && row.target.iter().all(|chance| *chance >= 0.0)
            // Logged chances may be rounded.
            && (sum - 1.0).abs() < 0.01
            && [row.propensities.len(), row.expected.len()]
                .iter()
                .all(|arms| [0, row.target.len()].contains(arms));
        let weight = target / row.propensity;
        let terms = [row.reward, weight, weight * row.reward];
        if !sound || !terms.iter().all(|term| countable(*term)) {
            return None;
        }
        let correction = match row.expected.get(row.action) {
            None => None,
            Some(expected) => {
                let chances = row.target.iter().zip(row.expected);
                let direct = finite(chances.map(|(chance, reward)| chance * reward).sum())?;
                Some((direct, direct + weight * (row.reward - expected)))
            }
        };
        if let Some((direct, robust)) = correction {
            self.direct.push(direct);
            self.doubly_robust.push(robust);
        }
        self.weighted.push(weight * row.reward);
        self.clipped.push(weight.min(CLIP) * row.reward);
        self.weight += weight;
        self.weight_squared += weight * weight;
        self.weight_squared_reward += weight * weight * row.reward;
        self.weight_squared_reward_squared += (weight * row.reward).powi(2);
        self.largest_weight = self.largest_weight.max(weight);
        self.small_propensities += u64::from(row.propensity < SMALL_PROPENSITY);
        let mut arms = row.target.iter().zip(row.propensities);
        let uncovered = arms.any(|(target, logged)| *target > 0.0 && *logged <= 0.0);
        self.without_overlap += u64::from(uncovered);
        Some(())
    }

    /// Adds what another pass over other rows has seen.
    pub fn merge(&mut self, other: &Self) {
        self.weighted.merge(&other.weighted);
        self.clipped.merge(&other.clipped);
        self.direct.merge(&other.direct);
        self.doubly_robust.merge(&other.doubly_robust);
        self.weight += other.weight;
        self.weight_squared += other.weight_squared;
        self.weight_squared_reward += other.weight_squared_reward;
        self.weight_squared_reward_squared += other.weight_squared_reward_squared;
        self.largest_weight = self.largest_weight.max(other.largest_weight);
        self.small_propensities += other.small_propensities;
        self.without_overlap += other.without_overlap;
        self.refused += other.refused;
    }

    /// What the rows say. `None` without any.
    pub fn report(&self) -> Option<Report> {
        let rows = self.weighted.count;
        if rows == 0 {
            return None;
        }
        let modelled = self.direct.count == rows;
        let effective_rows = if self.weight_squared > 0.0 {
            self.weight * self.weight / self.weight_squared
        } else {
            0.0
        };
        let refusal = if self.without_overlap > 0 {
            Some(Refusal::NoOverlap { rows: self.without_overlap })
        } else if effective_rows < LEAST_EFFECTIVE_ROWS {
            Some(Refusal::FewEffectiveRows { rows: effective_rows })
        } else {
            None
        };
        Some(Report {
            rows,
            refused: self.refused,
            ips: Estimate::of(&self.weighted),
            snips: self.snips(),
            direct: modelled.then(|| Estimate::of(&self.direct)),
            doubly_robust: modelled.then(|| Estimate::of(&self.doubly_robust)),
            ips_clipped: Estimate::of(&self.clipped),
            effective_rows,
            largest_weight: self.largest_weight,
            small_propensities: self.small_propensities as f64 / rows as f64,
            refusal,
        })
    }

    /// With se^2 = sum w^2 (r - value)^2/(sum w)^2, the ratio's by the delta method.
    fn snips(&self) -> Option<Estimate> {
        let value = finite(self.weighted.sum() / self.weight)?;
        let squares = self.weight_squared_reward_squared - 2.0 * value * self.weight_squared_reward
            + value * value * self.weight_squared;
        let standard_error = finite(squares).map(|squares| squares.max(0.0).sqrt() / self.weight);
        let standard_error = standard_error.filter(|_| self.weighted.count >= 2);
        Some(Estimate { value, standard_error })
    }
}
