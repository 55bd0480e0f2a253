//! What shadow versions would have answered.

use domain::{ModelName, PredictionId, VersionId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Which comparisons.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ShadowQuery {
    /// The model.
    pub model: ModelName,
    /// The shadow version.
    pub version: VersionId,
    /// How far back, seconds.
    pub window_s: u64,
}

/// A shadow version compared with the versions that answered, request by request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ShadowReport {
    /// The shadow version.
    pub version: VersionId,
    /// Comparisons in the window.
    pub compared: u64,
    /// Those that agreed: the same label, or values within the tolerance.
    pub agreed: u64,
    /// Agreement, 0 to 1.
    pub agreement: Option<f64>,
    /// Lower end of its always-valid 95 % confidence sequence.
    pub agreement_lower: Option<f64>,
    /// Upper end.
    pub agreement_upper: Option<f64>,
    /// The shadow's confidence, or value, less the answer's: mean with its confidence sequence.
    pub difference: Option<Paired>,
    /// The shadow's time in the model less the answer's, milliseconds. Waiting is left out: a shadow
    /// waits for all others.
    pub compute_ms: Option<Paired>,
    /// Times that the shadow failed where the version that answered did not.
    pub failed: u64,
    /// Comparisons that were left out, since too many were under way or the store did not take them.
    pub dropped: u64,
    /// The worst disagreements, worst first.
    pub worst: Vec<Disagreement>,
    /// The moment of the oldest comparison.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<OffsetDateTime>,
}

/// A mean of paired differences.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Paired {
    /// The mean.
    pub mean: f64,
    /// Lower end of its always-valid 95 % confidence sequence.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// A request on which the shadow disagreed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Disagreement {
    /// The prediction.
    pub prediction_id: PredictionId,
    /// What was asked, if the log holds it.
    pub input: Option<Value>,
    /// The version that answered.
    pub live_version: VersionId,
    /// What it said: the label, or the value.
    pub live: Value,
    /// What the shadow said.
    pub shadow: Value,
    /// How far apart: for labels, the sum of both confidences; for values, the distance.
    pub distance: f64,
}
