//! Whether units are split as configured: by assignment, never by requests and never by outcome.

use std::collections::{BTreeMap, HashSet};

use domain::prediction::Exposure;
use domain::rollout::Rollout;
use domain::{PredictionId, VersionId};
use time::OffsetDateTime;

use super::words::percent;
use crate::counting::unit_key;
use crate::statistics::srm::{self, Epoch};

/// The units of a rollout, each counted at the step and in the arm in which it was first seen. Not
/// kept: whoever drives next reads the log again.
#[derive(Debug, Default)]
pub(crate) struct Units {
    /// The last record that was read.
    pub(crate) after: Option<PredictionId>,
    seen: HashSet<u64>,
    /// Of each step: units of the canary, units of the baseline.
    steps: BTreeMap<u32, (u64, u64)>,
    /// The least p-value of all looks, once there was one.
    least: Option<f64>,
}

impl Units {
    /// Counts records, in the order of the log, and returns whether all of them were settled: later
    /// than `until` others may still come in between.
    pub(crate) fn count(
        &mut self,
        exposures: &[Exposure],
        canary: VersionId,
        until: OffsetDateTime,
    ) -> bool {
        for exposure in exposures {
            if exposure.at > until {
                return false;
            }
            self.after = Some(exposure.prediction_id);
            let unit = match &exposure.decision.unit {
                Some(unit) => unit_key(unit),
                None => unit_key(&exposure.prediction_id.to_string()),
            };
            if self.seen.insert(unit) {
                let (of_canary, of_baseline) =
                    self.steps.entry(exposure.decision.epoch.unwrap_or_default()).or_default();
                *(if exposure.chosen() == canary { of_canary } else { of_baseline }) += 1;
            }
        }
        true
    }

    /// Units that were counted.
    pub(crate) fn len(&self) -> usize {
        self.seen.len()
    }

    /// What is wrong with the split, if it is not as the steps have it.
    pub(crate) fn mismatch(&mut self, rollout: &Rollout) -> Option<String> {
        let epochs: Vec<Epoch> = self
            .steps
            .iter()
            .filter_map(|(step, (canary, baseline))| {
                let share = *rollout.plan.steps.get(*step as usize)?;
                let (units, weights) = (vec![*canary, *baseline], vec![share, 1.0 - share]);
                Some(Epoch { units, weights })
            })
            .collect();
        let test = srm::sequential(&epochs, srm::CONCENTRATION)?;
        let least = self.least.map_or(test.p_value, |least| least.min(test.p_value));
        self.least = Some(least);
        if least >= srm::ALARM {
            return None;
        }
        let canary: u64 = self.steps.values().map(|(canary, _)| canary).sum();
        let all = self.seen.len() as u64;
        Some(format!(
            "the split of units is not as configured: {canary} of {all} units ({}) first came to the canary, a chance of less than {least:.0e}: look for requests that are lost or sent twice in one arm",
            percent(canary as f64 / all.max(1) as f64),
        ))
    }
}
