//! One metric, one version against the control.
//!
//! Units whose weights were the same form a stratum. Strata are never pooled (Simpson's trap): each is compared in itself,
//! and the differences are combined by how many units each has ([`stratified`]). Where a bandit sets the weights by what
//! was earned, every unit is weighted by the chance it had instead ([`DesignBased`]), less a mean of the units before it,
//! which no assignment of its own can have moved: that makes the sequence much narrower and no less valid.

use crate::statistics::cuped;
use crate::statistics::difference::{Difference, Form, Plan, p_value, rho};
use crate::statistics::epochs::{DesignBased, Epoch, Side, stratified};
use crate::statistics::moments::Moments;

use super::fold::Sample;

/// How a difference is estimated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// Stratum by stratum.
    Stratified,
    /// The same, after the control's own prediction was taken out of the metric.
    Cuped,
    /// By the chance that each unit had; with the eta of the mixture.
    DesignBased(f64),
}

/// A version against the control.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compared {
    /// The difference; `None` until it can be said.
    pub difference: Option<Difference>,
    /// The control, over all strata.
    pub control: Moments,
    /// The version.
    pub treatment: Moments,
    /// The share of the variance within arms that CUPED took away.
    pub variance_saved: Option<f64>,
}

/// Epochs with the same weights are one stratum: the stratum of each epoch.
pub fn strata(epochs: &[Vec<f64>]) -> Vec<usize> {
    let mut kinds: Vec<&Vec<f64>> = Vec::new();
    let mut place = |shares| {
        let known = kinds.iter().position(|kind| *kind == shares);
        known.unwrap_or_else(|| {
            kinds.push(shares);
            kinds.len() - 1
        })
    };
    epochs.iter().map(&mut place).collect()
}

/// The eta of a bandit's sequence, fixed by the plan alone: tightest at the sum of squares at which `units` would just
/// show `effect`, which is in the metric's own unit.
pub fn eta(alpha: f64, units: f64, effect: f64) -> Option<f64> {
    /// Half the width of the sequence where it is tightest, in standard errors, about.
    const WIDTH: f64 = 3.5;
    rho(alpha, (effect * units / WIDTH).powi(2))
}

/// Each arm's values of one metric, by stratum and arm.
pub fn cells(sample: &Sample, strata: &[usize], metric: usize) -> Vec<Vec<Moments>> {
    let count = strata.iter().max().map_or(0, |last| last + 1);
    let mut cells = vec![vec![Moments::default(); sample.arms.len()]; count];
    for unit in &sample.units {
        let stratum = strata.get(unit.epoch).and_then(|stratum| cells.get_mut(*stratum));
        let cell = stratum.and_then(|arms| arms.get_mut(unit.arm));
        if let (Some(cell), Some(Some(value))) = (cell, unit.values.get(metric)) {
            cell.push(*value);
        }
    }
    cells
}

/// One arm over all strata: each stratum's mean counts by the rows of all arms in it, as in [`stratified`]; the spread is
/// such that the standard error of the mean is right.
pub fn over_strata(cells: &[Vec<Moments>], arm: usize) -> Moments {
    let present = |arms: &&Vec<Moments>| arms.get(arm).is_some_and(|cell| cell.count > 0);
    let parts: Vec<(f64, Moments)> = cells
        .iter()
        .filter(present)
        .filter_map(|arms| {
            let rows: u64 = arms.iter().map(|cell| cell.count).sum();
            Some((rows as f64, *arms.get(arm)?))
        })
        .collect();
    match parts.as_slice() {
        [] => Moments::default(),
        [(_, only)] => *only,
        parts => {
            let rows: f64 = parts.iter().map(|(rows, _)| rows).sum();
            let (mut count, mut mean, mut variance) = (0u64, 0.0, 0.0);
            for (part, moments) in parts {
                let weight = part / rows;
                count += moments.count;
                mean += weight * moments.mean;
                let error = moments.standard_error().unwrap_or_default();
                variance += (weight * error).powi(2);
            }
            let n = count as f64;
            Moments { count, mean, m2: variance * n * (n - 1.0) }
        }
    }
}

/// The arm at place `treatment` against the control.
pub fn compare(
    sample: &Sample,
    strata: &[usize],
    metric: usize,
    treatment: usize,
    plan: &Plan,
    method: Method,
) -> Compared {
    let mut cells = cells(sample, strata, metric);
    let mut variance_saved = None;
    if method == Method::Cuped {
        variance_saved = take_out(sample, strata, metric, treatment, &mut cells);
    }
    let cell = |arms: &Vec<Moments>, arm: usize| arms.get(arm).copied().unwrap_or_default();
    let difference = match method {
        Method::DesignBased(eta) => by_chances(sample, metric, treatment, plan.alpha, eta),
        Method::Stratified | Method::Cuped => {
            let epoch = |arms: &Vec<Moments>| Epoch {
                control: cell(arms, sample.control),
                treatment: cell(arms, treatment),
            };
            stratified(&cells.iter().map(epoch).collect::<Vec<_>>(), plan)
        }
    };
    if !matches!(method, Method::DesignBased(_)) {
        // Where one of the two has no rows the other's would weigh what nothing is compared with.
        let both = |arms: &Vec<Moments>| {
            cell(arms, sample.control).count >= 2 && cell(arms, treatment).count >= 2
        };
        cells.retain(both);
    }
    Compared {
        difference,
        control: over_strata(&cells, sample.control),
        treatment: over_strata(&cells, treatment),
        variance_saved,
    }
}

/// Takes the control's own prediction out of both arms' values, stratum by stratum; tells what share of the variance that
/// took away, if it could be done at all.
fn take_out(
    sample: &Sample,
    strata: &[usize],
    metric: usize,
    treatment: usize,
    cells: &mut [Vec<Moments>],
) -> Option<f64> {
    let mut arms = vec![[cuped::Arm::default(); 2]; cells.len()];
    for unit in &sample.units {
        let side = match unit.arm {
            arm if arm == sample.control => 0,
            arm if arm == treatment => 1,
            _ => continue,
        };
        let pair = strata.get(unit.epoch).and_then(|stratum| arms.get_mut(*stratum));
        let arm = pair.and_then(|pair| pair.get_mut(side));
        let (Some(arm), Some(Some(value))) = (arm, unit.values.get(metric)) else { continue };
        match unit.covariates.get(metric).copied().flatten() {
            Some(covariate) => arm.with.push(covariate, *value),
            None => arm.without.push(*value),
        };
    }
    let (mut before, mut after) = (0.0, 0.0);
    for ([control, other], cells) in arms.iter().zip(cells) {
        // With no covariate on one side, what is taken out of the other would be a difference of its own.
        if control.with.count < 2 || other.with.count < 2 {
            continue;
        }
        let Some(adjusted) = cuped::adjust(control, other) else { continue };
        for (arm, moments) in [(sample.control, adjusted.control), (treatment, adjusted.treatment)]
        {
            if let Some(cell) = cells.get_mut(arm) {
                before += cell.m2;
                after += moments.m2;
                *cell = moments;
            }
        }
    }
    (before > 0.0).then(|| 1.0 - after / before)
}

/// The design-based sequence over the units of both arms.
fn by_chances(
    sample: &Sample,
    metric: usize,
    treatment: usize,
    alpha: f64,
    eta: f64,
) -> Option<Difference> {
    let mut sums = DesignBased::default();
    let mut so_far = Moments::default();
    for unit in &sample.units {
        let side = match unit.arm {
            arm if arm == sample.control => Side::Control,
            arm if arm == treatment => Side::Treatment,
            _ => continue,
        };
        let Some(Some(value)) = unit.values.get(metric) else { continue };
        let chance = |arm: usize| unit.chances.get(arm).copied().unwrap_or_default();
        let (control, other) = (chance(sample.control), chance(treatment));
        sums.push(side, other / (control + other), value - so_far.mean);
        so_far.push(*value);
    }
    let interval = sums.interval(alpha, eta, Form::Safe)?;
    let variances = sums.sum_of_variances.max(sums.sum_of_pooled);
    // The evidence of the same mixture, from which the interval comes by asking what is not excluded.
    let scaled = variances * eta * eta;
    let log_e = 0.5 * (sums.sum.powi(2) * eta * eta / (scaled + 1.0) - scaled.ln_1p());
    let standard_error = variances.sqrt() / sums.count as f64;
    (standard_error > 0.0).then_some(Difference {
        difference: interval.estimate,
        standard_error,
        information: scaled,
        log_e,
        p_value: p_value(log_e),
        lower: interval.lower,
        upper: interval.upper,
        // Each end errs no more often than both together.
        one_sided_lower: interval.lower,
        one_sided_upper: interval.upper,
    })
}
