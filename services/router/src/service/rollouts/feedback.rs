//! How feedback comes to be evidence: each prediction of a rollout is judged once, when the time has
//! passed in which its feedback had to come.

use std::collections::{BTreeMap, HashMap};

use domain::prediction::Exposure;
use domain::rollout::{Guardrail, Rollout};
use domain::{PredictionId, VersionId};
use time::OffsetDateTime;

use super::Service;
use crate::counting::unit_key;
use crate::error::RouterError;
use crate::rollouts::evidence::{Counted, Evidence};

/// Records judged at once.
const PAGE: u32 = 1_000;
/// Pages judged in one look at a rollout.
const PAGES: usize = 5;

impl Service {
    /// Judges the predictions whose time has passed; tells whether there were any.
    pub(super) async fn judge_feedback(
        &self,
        rollout: &Rollout,
        evidence: &mut Evidence,
    ) -> Result<bool, RouterError> {
        let mut any = false;
        let watched = rollout.plan.guardrails.iter().zip(&mut evidence.guardrails);
        for (guardrail, watch) in watched {
            let Guardrail::Feedback { metric, at_most, within_s } = guardrail else { continue };
            let within = time::Duration::seconds(i64::try_from(*within_s).unwrap_or(i64::MAX));
            let until = (self.deps.clock.now() - within).min(self.settled());
            for _ in 0..PAGES {
                let page = self
                    .deps
                    .documents
                    .predictions
                    .exposures(&rollout.id, watch.judged_to, PAGE)
                    .await?;
                let full = page.len() == PAGE as usize;
                let due: Vec<Exposure> =
                    page.into_iter().take_while(|exposure| exposure.at <= until).collect();
                let Some(last) = due.last() else { break };
                let (judged_to, due_all) = (last.prediction_id, due.len() == PAGE as usize);
                let values = self.values_of(&due, metric).await?;
                for (step, counted) in counted(&due, &values, rollout.canary, *at_most) {
                    let most = self.settings.rollouts.max_units;
                    watch.take_in(step, rollout.step, &counted, until, most);
                }
                watch.judged_to = Some(judged_to);
                any = true;
                if !(full && due_all) {
                    break;
                }
            }
        }
        Ok(any)
    }

    /// What feedback says of a metric for these predictions: the latest, where it says several
    /// things.
    async fn values_of(
        &self,
        exposures: &[Exposure],
        metric: &str,
    ) -> Result<HashMap<PredictionId, f64>, RouterError> {
        let ids: Vec<PredictionId> = exposures.iter().map(|one| one.prediction_id).collect();
        let mut values: HashMap<PredictionId, (OffsetDateTime, f64)> = HashMap::new();
        for feedback in self.deps.documents.feedback.of_predictions(&ids).await? {
            let Some(value) = feedback.outcome.number() else { continue };
            let Some(id) = feedback.subject.prediction_id() else { continue };
            let (at, fits) = (feedback.at(), feedback.outcome.kind() == metric);
            if fits && values.get(&id).is_none_or(|(known, _)| at >= *known) {
                values.insert(id, (at, value));
            }
        }
        Ok(values.into_iter().map(|(id, (_, value))| (id, value)).collect())
    }
}

/// Counts the predictions that have feedback, by step.
fn counted(
    exposures: &[Exposure],
    values: &HashMap<PredictionId, f64>,
    canary: VersionId,
    at_most: f64,
) -> BTreeMap<u32, Counted> {
    let mut steps: BTreeMap<u32, Counted> = BTreeMap::new();
    for exposure in exposures {
        let Some(value) = values.get(&exposure.prediction_id) else { continue };
        let Counted { batch, units } =
            steps.entry(exposure.decision.epoch.unwrap_or_default()).or_default();
        let (requests, events) = if exposure.chosen() == canary {
            (&mut batch.canary_requests, &mut batch.canary_events)
        } else {
            (&mut batch.baseline_requests, &mut batch.baseline_events)
        };
        *requests += 1;
        if *value <= at_most {
            *events += 1;
            if let Some(unit) = &exposure.decision.unit {
                *units.entry(unit_key(unit)).or_default() += 1;
            }
        }
    }
    steps
}
