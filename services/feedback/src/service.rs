//! Takes ground truth, and tells what is known of a prediction.

use async_trait::async_trait;
use contracts::feedback::{FeedbackList, NewFeedback, Submitted};
use contracts::{ApiError, Call, FeedbackApi};
use domain::{Feedback, Outcome, PredictionId, Principal, Role};

use crate::{Deps, FeedbackError, Settings};

/// The feedback service.
pub struct FeedbackService {
    pub(crate) settings: Settings,
    pub(crate) deps: Deps,
}

impl FeedbackService {
    async fn try_submit(
        &self,
        call: Call,
        request: NewFeedback,
    ) -> Result<Submitted, FeedbackError> {
        let source = call.require(&[Role::Client])?.id.clone();
        let prediction_id = request.prediction_id;
        self.check_scope(&call, prediction_id).await?;
        let outcome = self.outcome(request)?;
        let received_at = self.deps.clock.now();
        let feedback = Feedback { prediction_id, outcome, source, received_at };
        // Kept first: should the second question fail, the same request may be sent again.
        let new = self.deps.feedback.add(feedback).await?;
        let prediction_known = self.deps.predictions.get(prediction_id).await?.is_some();
        Ok(Submitted { prediction_known, new })
    }

    /// Refuses a prediction of a model that the caller may not use.
    async fn check_scope(&self, call: &Call, id: PredictionId) -> Result<(), FeedbackError> {
        let is_free = |caller: &Principal| caller.scope.models.is_empty();
        if call.principal.as_ref().is_none_or(is_free) {
            return Ok(());
        }
        match self.deps.predictions.get(id).await? {
            Some(record) => Ok(call.require_model(&record.model)?),
            None => Ok(()),
        }
    }

    fn outcome(&self, request: NewFeedback) -> Result<Outcome, ApiError> {
        match (request.label, request.value) {
            (Some(label), None) => {
                let longest = self.settings.max_label_chars;
                let length = label.chars().count();
                if (1..=longest).contains(&length) {
                    return Ok(Outcome::Label(label));
                }
                let detail = format!("must be 1 to {longest} characters, got {length}");
                Err(ApiError::at("#/label", detail))
            }
            (None, Some(value)) if value.is_finite() => Ok(Outcome::Value(value)),
            (None, Some(value)) => {
                Err(ApiError::at("#/value", format!("must be finite, got `{value}`")))
            }
            (None, None) => Err(ApiError::at("#", "must have a `label` or a `value`")),
            (Some(_), Some(_)) => {
                Err(ApiError::at("#", "must have a `label` or a `value`, not both"))
            }
        }
    }
}

#[async_trait]
impl FeedbackApi for FeedbackService {
    async fn submit(&self, call: Call, request: NewFeedback) -> Result<Submitted, ApiError> {
        Ok(self.try_submit(call, request).await?)
    }

    async fn of_prediction(&self, call: Call, id: PredictionId) -> Result<FeedbackList, ApiError> {
        call.require(&[Role::Analyst])?;
        self.check_scope(&call, id).await?;
        let feedback = self.deps.feedback.of_prediction(id).await.map_err(FeedbackError::from)?;
        Ok(FeedbackList { feedback })
    }
}
