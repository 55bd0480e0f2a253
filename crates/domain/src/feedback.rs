//! What really happened: ground truth for a prediction.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::PredictionId;

/// One piece of ground truth. The same feedback sent twice is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Feedback {
    /// The prediction it speaks of. May be unknown yet: the log is filled after the answer.
    pub prediction_id: PredictionId,
    /// What happened.
    pub outcome: Outcome,
    /// Who says so (principal id).
    pub source: String,
    /// When it was received.
    #[serde(with = "time::serde::rfc3339")]
    pub received_at: OffsetDateTime,
}

/// What happened: the true label, or the true number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The true class.
    Label(String),
    /// The true value.
    Value(f64),
}
