//! The record of one answered prediction.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{ModelName, PredictionId, RequestId, VersionId};

/// What was asked, what was answered, by which version and why. Written once, never changed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PredictionRecord {
    /// Names the prediction.
    pub prediction_id: PredictionId,
    /// The request that asked for it.
    pub request_id: RequestId,
    /// When it was answered.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Who asked (principal id).
    pub principal: String,
    /// The model.
    pub model: ModelName,
    /// The version that answered.
    pub version: VersionId,
    /// How the version was chosen.
    pub decision: Decision,
    /// What was asked.
    pub input: Payload,
    /// What was answered.
    pub output: Payload,
    /// Rows in the request.
    pub rows: u32,
    /// The first row's label, if the model gives labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The first row's highest class probability, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// The first row's value, for a regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// From the router's first sight of the request to the answer, microseconds.
    pub latency_us: u64,
    /// In the model itself, microseconds.
    pub compute_us: u64,
    /// Whether it was an answer kept of an earlier prediction.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
}

/// How the version was chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    /// Generation of the route that decided.
    pub generation: u64,
    /// Why this version.
    pub reason: Reason,
    /// The chance this version had, 0 to 1.
    pub propensity: f64,
    /// The unit that was assigned; absent where each request was assigned by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// Why a version was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// By the hash of the unit.
    Unit,
    /// By the hash of the prediction id, as no unit was given.
    Request,
    /// The caller named the version.
    Pinned,
}

impl Reason {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Request => "request",
            Self::Pinned => "pinned",
        }
    }
}

/// A request's or an answer's body, as logged.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Payload {
    /// Its content type.
    pub content_type: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The body itself where it is JSON within the log's size limit; otherwise absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub json: Option<Box<RawValue>>,
}
