//! What other weights would have earned, by the log of these.

use contracts::router::{Estimate, WhatIfAnswer};

use crate::statistics::moments::Moments;
use crate::statistics::off_policy::{self, OffPolicy, Row};

use super::comparison::{cells, strata};
use super::fold::Sample;

/// The level at which intervals err; for one look.
const ALPHA: f64 = 0.05;

/// Estimates the mean of the primary metric by unit, had each unit got the arms by these chances, which sum to 1.
///
/// The model of the doubly robust form is each arm's mean between the changes of weights, without the unit itself.
pub fn what_if(sample: &Sample, policy: &[f64]) -> WhatIfAnswer {
    let strata = strata(&sample.epochs);
    let cells = cells(sample, &strata, 0);
    let mut sums = OffPolicy::default();
    let mut earned = Moments::default();
    for unit in &sample.units {
        let Some(Some(reward)) = unit.values.first() else { continue };
        earned.push(*reward);
        let means = strata.get(unit.epoch).and_then(|stratum| cells.get(*stratum));
        let expected = means.map(|means| expected(means, unit.arm, *reward)).unwrap_or_default();
        sums.push(&Row {
            action: unit.arm,
            reward: *reward,
            propensity: unit.propensity,
            propensities: &unit.chances,
            target: policy,
            expected: &expected,
        });
    }
    let Some(report) = sums.report() else {
        return WhatIfAnswer {
            earned: None,
            ips: None,
            snips: None,
            doubly_robust: None,
            decisions: 0,
            effective_sample_size: 0.0,
            largest_weight: 0.0,
            refused: Some("no outcome of the primary metric is known yet".to_owned()),
        };
    };
    let is_refused = report.refusal.is_some();
    let told = |estimate: Option<off_policy::Estimate>| {
        let estimate = estimate.filter(|_| !is_refused)?;
        let (lower, upper) = estimate.interval(ALPHA)?;
        Some(Estimate { value: estimate.value, lower, upper })
    };
    WhatIfAnswer {
        earned: Some(earned.mean),
        ips: told(Some(report.ips)),
        snips: told(report.snips),
        doubly_robust: told(report.doubly_robust),
        decisions: report.rows,
        effective_sample_size: report.effective_rows,
        largest_weight: report.largest_weight,
        refused: report.refusal.map(|refusal| refusal.to_string()),
    }
}

/// Each arm's mean; of the unit's own arm without the unit.
fn expected(means: &[Moments], arm: usize, reward: f64) -> Vec<f64> {
    let mean = |(place, cell): (usize, &Moments)| {
        let others = cell.count.saturating_sub(1) as f64;
        if place == arm && others > 0.0 {
            (cell.sum() - reward) / others
        } else if place == arm {
            0.0
        } else {
            cell.mean
        }
    };
    means.iter().enumerate().map(mean).collect()
}
