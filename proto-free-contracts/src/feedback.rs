//! The feedback service: ground truth for predictions.

use async_trait::async_trait;
use domain::{Feedback, PredictionId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ApiError, Call, Endpoint};

/// What the feedback service does.
#[async_trait]
pub trait FeedbackApi: Send + Sync {
    /// Takes ground truth. For clients. The same feedback again changes nothing.
    async fn submit(&self, call: Call, request: NewFeedback) -> Result<Submitted, ApiError>;
    /// The ground truth known of one prediction. For analysts.
    async fn of_prediction(&self, call: Call, id: PredictionId) -> Result<FeedbackList, ApiError>;
}

/// [`FeedbackApi::submit`].
pub const SUBMIT: Endpoint<NewFeedback, Submitted> = Endpoint::new("/internal/feedback/submit");
/// [`FeedbackApi::of_prediction`].
pub const OF_PREDICTION: Endpoint<PredictionId, FeedbackList> =
    Endpoint::repeatable("/internal/feedback/of-prediction");

/// Ground truth for one prediction: a `label` or a `value`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFeedback {
    /// The prediction it speaks of.
    pub prediction_id: PredictionId,
    /// The true class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The true value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

/// What became of submitted feedback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Submitted {
    /// Whether the prediction is in the log already.
    pub prediction_known: bool,
    /// Whether it was new; false where the same was known.
    pub new: bool,
}

/// What is known of one prediction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FeedbackList {
    /// Oldest first.
    pub feedback: Vec<Feedback>,
}
