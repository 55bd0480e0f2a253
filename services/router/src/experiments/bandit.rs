//! Weights that follow what the arms have earned: Thompson sampling, epoch by epoch.
//!
//! An arm's reward is its mean over epochs, each weighted by the rows of *all* arms in it: pooled, an arm that got its
//! traffic in a good hour would look good. Only rewards whose window has closed count.

use domain::experiment::{Allocation, Better, Design, PerUnit, UnitKind};

use crate::statistics::bandit::{LEAST_ARMS_FOR_TOP_TWO, Posterior, standings, top_two, weights};
use crate::statistics::moments::Moments;

use super::fold::Sample;

/// The weights of the next epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Next {
    /// By arm, summing to 1.
    pub weights: Vec<f64>,
    /// Why, in a sentence with the figures.
    pub reason: String,
}

/// Rewards of the primary metric by epoch and arm, oldest epoch first.
pub fn rewards(sample: &Sample) -> Vec<Vec<Moments>> {
    let mut epochs = vec![vec![Moments::default(); sample.arms.len()]; sample.epochs.len()];
    for (epoch, arm, reward) in sample.units.iter().flat_map(|unit| &unit.rewards) {
        let cell = epochs.get_mut(*epoch).and_then(|arms| arms.get_mut(*arm));
        if let Some(cell) = cell {
            cell.push(*reward);
        }
    }
    epochs
}

/// The chance of each arm to be the best, by what is known so far. `None` if it is no bandit, or too little is known.
pub fn chances_best(design: &Design, sample: &Sample) -> Option<Vec<f64>> {
    let Allocation::Bandit { discount, .. } = &design.allocation else { return None };
    let rewards = rewards(sample);
    let yes_or_no = design.primary.of.is_yes_or_no() && is_one_each(design);
    let posterior = |arm| {
        let posterior = posterior(&rewards, arm, *discount, yes_or_no)?;
        Some(match design.primary.better {
            Better::Higher => posterior,
            Better::Lower => posterior.turned(),
        })
    };
    let posteriors = (0..sample.arms.len()).map(posterior).collect::<Option<Vec<_>>>()?;
    Some(standings(&posteriors)?.into_iter().map(|standing| standing.best).collect())
}

/// The weights of the next epoch. `None` if it is no bandit, or the planned weights have to bring more outcomes first.
pub fn next_weights(design: &Design, sample: &Sample) -> Option<Next> {
    let Allocation::Bandit { minimum_outcomes, floor, top_two: two, .. } = &design.allocation
    else {
        return None;
    };
    let rewards = rewards(sample);
    let outcomes = |arm: usize| -> u64 {
        rewards.iter().filter_map(|arms| arms.get(arm)).map(|cell| cell.count).sum()
    };
    if (0..sample.arms.len()).any(|arm| outcomes(arm) < *minimum_outcomes) {
        return None;
    }
    let best = chances_best(design, sample)?;
    let shares =
        if *two && best.len() >= LEAST_ARMS_FOR_TOP_TWO { top_two(&best)? } else { best.clone() };
    let weights = weights(&shares, *floor)?;
    let told = sample.arms.iter().zip(&best).map(|(version, chance)| {
        format!("version {version} is the best with a chance of {:.1} %", chance * 100.0)
    });
    let reason = told.collect::<Vec<_>>().join(", ");
    Some(Next { weights, reason })
}

/// The share of the units that another arm is to get.
pub fn moved(before: &[f64], after: &[f64]) -> f64 {
    before.iter().zip(after).map(|(a, b)| (a - b).abs()).sum::<f64>() / 2.0
}

/// Whether each unit gives one value of 0 or 1, and not a mean of many.
fn is_one_each(design: &Design) -> bool {
    design.unit == UnitKind::Request || design.primary.per_unit == PerUnit::Max
}

/// What is believed of an arm: its mean over epochs with the weights w_e (rows of all arms in the epoch, fading by
/// `discount` with each later epoch), and as many rows as would tell that much: 1/sum(w_e^2/n_e), but no more than the
/// arm's own faded rows. One epoch gives Beta(1 + successes, 1 + failures), or Normal(mean, s^2/n). Epochs that lack an
/// arm are left out for all arms.
fn posterior(
    epochs: &[Vec<Moments>],
    arm: usize,
    discount: f64,
    yes_or_no: bool,
) -> Option<Posterior> {
    let whole = |arms: &&Vec<Moments>| arms.iter().all(|cell| cell.count > 0);
    // The latest first: what is left of older ones is less.
    let mut left = 1.0;
    let mut parts: Vec<(f64, f64, Moments)> = Vec::new();
    for arms in epochs.iter().rev().filter(whole) {
        let rows: u64 = arms.iter().map(|cell| cell.count).sum();
        let cell = *arms.get(arm)?;
        parts.push((rows as f64 * left, cell.count as f64 * left, cell));
        left *= discount;
    }
    let all: f64 = parts.iter().map(|(weight, _, _)| weight).sum();
    let (mut mean, mut inverse, mut own, mut spread, mut free) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (weight, faded, cell) in &parts {
        let (weight, n) = (weight / all, cell.count as f64);
        mean += weight * cell.mean;
        inverse += weight * weight / n;
        own += faded;
        spread += cell.m2;
        free += n - 1.0;
    }
    if parts.is_empty() || inverse <= 0.0 {
        return None;
    }
    let rows = own.min(1.0 / inverse);
    if yes_or_no {
        let mean = mean.clamp(0.0, 1.0);
        return Some(Posterior::Beta { alpha: 1.0 + mean * rows, beta: 1.0 + (1.0 - mean) * rows });
    }
    let deviation = (spread / free / rows).sqrt();
    (deviation.is_finite() && deviation > 0.0).then_some(Posterior::Normal { mean, deviation })
}
