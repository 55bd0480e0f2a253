//! The feedback service: ground truth for predictions and units.

use async_trait::async_trait;
use domain::{Feedback, MetricName, ModelName, Pending, PredictionId, Tally};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{ApiError, Call, Endpoint, Framed};

/// What the feedback service does.
#[async_trait]
pub trait FeedbackApi: Send + Sync {
    /// Takes ground truth, one or many. For clients. The same again changes nothing. Of many, each is
    /// taken or refused by itself; the call fails if none was taken.
    async fn submit(
        &self,
        call: Call,
        request: Framed<FeedbackForm>,
    ) -> Result<SubmitAnswer, ApiError>;
    /// The ground truth known of one prediction. For analysts.
    async fn of_prediction(&self, call: Call, id: PredictionId) -> Result<FeedbackList, ApiError>;
    /// How much was received, and how much of it speaks of predictions that the log knows. For
    /// analysts.
    async fn summary(&self, call: Call, query: FeedbackQuery) -> Result<FeedbackSummary, ApiError>;
    /// Predictions that feedback speaks of, and the log does not know. For analysts.
    async fn pending(&self, call: Call, query: PendingQuery) -> Result<PendingList, ApiError>;
}

/// [`FeedbackApi::submit`]. The payload is what the client sent.
pub const SUBMIT: Endpoint<Framed<FeedbackForm>, SubmitAnswer> =
    Endpoint::new("/internal/feedback/submit");
/// [`FeedbackApi::of_prediction`].
pub const OF_PREDICTION: Endpoint<PredictionId, FeedbackList> =
    Endpoint::repeatable("/internal/feedback/of-prediction");
/// [`FeedbackApi::summary`].
pub const SUMMARY: Endpoint<FeedbackQuery, FeedbackSummary> =
    Endpoint::repeatable("/internal/feedback/summary");
/// [`FeedbackApi::pending`].
pub const PENDING: Endpoint<PendingQuery, PendingList> =
    Endpoint::repeatable("/internal/feedback/pending");

/// What form the payload has.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FeedbackForm {
    /// `application/json` (one, a list, or `{"items": [...]}`), `application/x-ndjson` or `text/csv`.
    pub content_type: String,
}

/// Ground truth for one prediction, or for one unit of a model: a `label`, a `value`, or a `metric`
/// with its `value`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFeedback {
    /// The prediction it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction_id: Option<PredictionId>,
    /// Instead of a prediction: the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// Instead of a prediction: the unit, as it was given with its requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The true class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The true value, or the metric's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Names what the value measures, if it is not what was predicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<MetricName>,
    /// When it happened (RFC 3339). Left out, when it is received.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<OffsetDateTime>,
}

/// What a client may send as JSON: one, a list, or a list in an object.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum GivenFeedback {
    /// One.
    One(NewFeedback),
    /// Many.
    Many(Vec<OneOfMany>),
    /// Many, too.
    Items {
        /// They.
        items: Vec<OneOfMany>,
    },
}

/// One of many. What is no feedback is refused alone.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum OneOfMany {
    /// As it should be.
    Feedback(NewFeedback),
    /// Anything else.
    Other(serde_json::Value),
}

/// The answer to one, or to many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum SubmitAnswer {
    /// To many.
    Many(SubmittedMany),
    /// To one.
    One(Submitted),
}

/// What became of submitted feedback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Submitted {
    /// Whether the prediction is in the log already. Absent for a unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction_known: Option<bool>,
    /// Whether it was new; false where the same was known.
    pub new: bool,
}

/// What became of many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubmittedMany {
    /// Taken, new or known.
    pub accepted: u64,
    /// Refused.
    pub refused: u64,
    /// One for each, in the order given.
    pub items: Vec<ItemAnswer>,
}

/// What became of one of many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum ItemAnswer {
    /// Taken.
    Accepted(Submitted),
    /// Refused.
    Refused {
        /// Why.
        error: ApiError,
    },
}

/// What is known of one prediction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FeedbackList {
    /// In the order it was received.
    pub feedback: Vec<Feedback>,
}

/// Which feedback is counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FeedbackQuery {
    /// Of one model; what is pending belongs to none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// Received in the last so many seconds.
    pub window_s: u64,
}

/// How much feedback there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FeedbackSummary {
    /// Outcomes received: the sum of the next three.
    pub received: u64,
    /// For predictions that the log knows.
    pub matched: u64,
    /// For predictions that the log does not know (yet).
    pub pending: u64,
    /// For units.
    pub of_units: u64,
    /// The same, kind by kind.
    pub kinds: Vec<Tally>,
    /// When the oldest that still waits for its prediction was received, whatever the window. Absent
    /// if nothing waits, and where one model is asked for.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest_pending: Option<OffsetDateTime>,
}

/// Which page of what is pending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PendingQuery {
    /// Only predictions after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<PredictionId>,
    /// At most so many, 1 to 1000.
    pub limit: u32,
}

/// Predictions that feedback speaks of, and the log does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PendingList {
    /// In the order of their ids.
    pub pending: Vec<Pending>,
    /// Ask for what comes after this one; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<PredictionId>,
}
