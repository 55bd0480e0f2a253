//! Weights that follow what the arms have earned: Thompson sampling per epoch, without drawing anything.
//!
//! Weights are set once per epoch from the outcomes joined so far, and every decision logs all of them. A decision
//! counts as a failure only after its outcome window has closed, or an arm that converts slowly looks bad.

use serde::{Deserialize, Serialize};

use super::moments::Moments;
use super::quadrature::Grid;

/// Top-two needs this many arms: with two it always gives halves.
pub const LEAST_ARMS_FOR_TOP_TWO: usize = 3;

/// What is believed of an arm's mean reward.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Posterior {
    /// Of a yes-or-no reward: 1 + successes and 1 + failures.
    Beta {
        /// Above 0.
        alpha: f64,
        /// Above 0.
        beta: f64,
    },
    /// Of any other reward.
    Normal {
        /// The mean.
        mean: f64,
        /// Its standard deviation, above 0.
        deviation: f64,
    },
}

impl Posterior {
    /// From a flat prior.
    pub fn of_counts(successes: u64, failures: u64) -> Self {
        Self::Beta { alpha: 1.0 + successes as f64, beta: 1.0 + failures as f64 }
    }

    /// Where rewards move with time: epochs of (successes, failures), the latest last, each weighing `keep` times the
    /// next one. It remembers about 1/(1 - keep) epochs.
    pub fn of_discounted_counts(epochs: &[(u64, u64)], keep: f64) -> Self {
        let fade = |(s, f): (f64, f64), (successes, failures): &(u64, u64)| {
            (s * keep + *successes as f64, f * keep + *failures as f64)
        };
        let (successes, failures) = epochs.iter().fold((0.0, 0.0), fade);
        Self::Beta { alpha: 1.0 + successes, beta: 1.0 + failures }
    }

    /// Normal(mean, s^2/n). `None` below two rewards or if all are the same.
    pub fn of_moments(moments: &Moments) -> Option<Self> {
        let deviation = moments.standard_error().filter(|error| *error > 0.0)?;
        Some(Self::Normal { mean: moments.mean, deviation })
    }

    /// One arm over epochs with different weights: the mean of the epochs' means, each weighted by the rows of *all*
    /// arms in it, since a pooled mean is biased when rewards move. `epochs` are (rows of all arms, the arm's rewards);
    /// `None` if an epoch with rows has fewer than two of the arm.
    pub fn over_epochs(epochs: &[(u64, Moments)]) -> Option<Self> {
        let rows: f64 = epochs.iter().map(|(rows, _)| *rows as f64).sum();
        let (mut mean, mut variance) = (0.0, 0.0);
        for (of_epoch, moments) in epochs.iter().filter(|(rows, _)| *rows > 0) {
            let weight = *of_epoch as f64 / rows;
            mean += weight * moments.mean;
            variance += (weight * moments.standard_error()?).powi(2);
        }
        (variance > 0.0).then(|| Self::Normal { mean, deviation: variance.sqrt() })
    }

    /// Of the reward turned round: the largest of the turned ones is the smallest of all.
    #[must_use]
    pub fn turned(self) -> Self {
        match self {
            Self::Beta { alpha, beta } => Self::Beta { alpha: beta, beta: alpha },
            Self::Normal { mean, deviation } => Self::Normal { mean: -mean, deviation },
        }
    }

    /// Middle and width in the variable of integration: a Beta is integrated over the angle whose squared sine is the
    /// rate, where it has no peak at an end and about the same width everywhere.
    fn place(self) -> Option<(f64, f64)> {
        match self {
            Self::Beta { alpha, beta } => {
                let sound = alpha > 0.0 && beta > 0.0 && (alpha + beta).is_finite();
                let middle = (alpha / (alpha + beta)).sqrt().asin();
                sound.then(|| (middle, 0.5 / (alpha + beta).sqrt()))
            }
            Self::Normal { mean, deviation } => {
                let sound = mean.is_finite() && deviation.is_finite() && deviation > 0.0;
                sound.then_some((mean, deviation))
            }
        }
    }

    /// ln of the density at t in the variable of integration, up to a constant.
    fn log_density(self, t: f64) -> f64 {
        match self {
            Self::Beta { alpha, beta } => {
                (2.0 * alpha - 1.0) * t.sin().ln() + (2.0 * beta - 1.0) * t.cos().ln()
            }
            Self::Normal { mean, deviation } => -0.5 * ((t - mean) / deviation).powi(2),
        }
    }

    fn reward_at(self, t: f64) -> f64 {
        match self {
            Self::Beta { .. } => t.sin().powi(2),
            Self::Normal { .. } => t,
        }
    }
}

/// How an arm stands among the others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The chance that its mean reward is the largest of all.
    pub best: f64,
    /// The mean reward that is lost by choosing it: E(largest of all) less its own.
    pub expected_loss: f64,
}

/// Where panels end, in widths from the middle of each posterior.
const EDGES: [f64; 12] = [0.0, 0.7, 1.4, 2.1, 2.8, 3.5, 4.2, 5.0, 6.0, 8.0, 11.0, 15.0];

/// How each arm stands, larger rewards being better, by quadrature (the error is below 1e-8; the chances sum to 1).
/// `None` without arms, if families are mixed, or if a posterior is not sound.
pub fn standings(posteriors: &[Posterior]) -> Option<Vec<Standing>> {
    let first = posteriors.first()?;
    let same = |other: &Posterior| std::mem::discriminant(first) == std::mem::discriminant(other);
    if !posteriors.iter().all(same) {
        return None;
    }
    let mut edges = Vec::new();
    for posterior in posteriors {
        let (middle, width) = posterior.place()?;
        edges.extend(EDGES.iter().flat_map(|edge| [middle - edge * width, middle + edge * width]));
    }
    if matches!(first, Posterior::Beta { .. }) {
        let end = std::f64::consts::FRAC_PI_2;
        edges.retain(|edge| (0.0..=end).contains(edge));
        edges.extend([0.0, end]);
    }
    let grid = Grid::new(edges);
    let (densities, below): (Vec<_>, Vec<_>) =
        posteriors.iter().map(|posterior| curves(*posterior, &grid)).unzip();
    let rewards: Vec<f64> = grid.nodes.iter().map(|t| first.reward_at(*t)).collect();

    let mut chances = Vec::with_capacity(posteriors.len());
    let mut means = Vec::with_capacity(posteriors.len());
    let mut mean_of_best = 0.0;
    for (arm, density) in densities.iter().enumerate() {
        let (mut chance, mut mean) = (0.0, 0.0);
        let places = grid.weights.iter().zip(density).zip(&rewards).enumerate();
        for (node, ((weight, density), reward)) in places {
            let others = below.iter().enumerate().filter(|(other, _)| *other != arm);
            let all_below: f64 = others.filter_map(|(_, below)| below.get(node)).product();
            let mass = weight * density;
            chance += mass * all_below;
            mean_of_best += mass * all_below * reward;
            mean += mass * reward;
        }
        chances.push(chance);
        means.push(mean);
    }
    let all: f64 = chances.iter().sum();
    if !all.is_finite() || all <= 0.0 {
        return None;
    }
    let standing = |(chance, mean): (f64, f64)| Standing {
        best: (chance / all).clamp(0.0, 1.0),
        expected_loss: (mean_of_best - mean).max(0.0),
    };
    Some(chances.into_iter().zip(means).map(standing).collect())
}

/// Density and cumulative distribution at the nodes, with area 1.
fn curves(posterior: Posterior, grid: &Grid) -> (Vec<f64>, Vec<f64>) {
    let logs: Vec<f64> = grid.nodes.iter().map(|t| posterior.log_density(*t)).collect();
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let density: Vec<f64> = logs.into_iter().map(|log| (log - largest).exp()).collect();
    let (below, all) = grid.integrals(&density);
    let share = |values: Vec<f64>| values.into_iter().map(|value| value / all).collect();
    (share(density), share(below))
}

/// The weights of the next epoch: floor + (1 - K floor) chance of being best, so that every arm goes on being tried.
/// `None` if the floors alone need more than all traffic.
pub fn weights(best: &[f64], floor: f64) -> Option<Vec<f64>> {
    let rest = 1.0 - best.len() as f64 * floor;
    (floor >= 0.0 && rest >= 0.0).then(|| best.iter().map(|chance| floor + rest * chance).collect())
}

/// Russo's top-two (2016) with one half for the leader: 1/2 p_i + 1/2 sum over j != i of p_j p_i/(1 - p_j). It finds
/// the best arm sooner and earns less meanwhile. With two arms it is always halves: offer it from
/// [`LEAST_ARMS_FOR_TOP_TWO`]. `None` below two arms.
pub fn top_two(best: &[f64]) -> Option<Vec<f64>> {
    if best.len() < 2 {
        return None;
    }
    let others = (best.len() - 1) as f64;
    let mut weights: Vec<f64> = best.iter().map(|chance| chance / 2.0).collect();
    for (leader, chance) in best.iter().enumerate() {
        let besides = best.iter().enumerate().filter(|(arm, _)| *arm != leader);
        // Not 1 - p_j, which is 0 for a leader that is as good as sure.
        let rest: f64 = besides.map(|(_, chance)| chance).sum();
        for (arm, (weight, second)) in weights.iter_mut().zip(best).enumerate() {
            if arm != leader {
                let share = if rest > 0.0 { second / rest } else { 1.0 / others };
                *weight += chance / 2.0 * share;
            }
        }
    }
    Some(weights)
}
