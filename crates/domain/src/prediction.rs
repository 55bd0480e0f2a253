//! The record of one answered prediction.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::plan::PlanId;
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
    /// Why the chosen version did not answer, where something else did in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<Degraded>,
    /// The code of the failure, where nothing answered. The output is empty then, and nobody was told
    /// the prediction's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What answered in the place of the chosen version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Degraded {
    /// What stood in.
    pub by: StandIn,
    /// The code of the chosen version's failure.
    pub error: String,
}

/// What stands in for a version that cannot answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StandIn {
    /// Another version.
    Version,
    /// The last good answer to the same input.
    LastGood,
    /// The route's safe default.
    Default,
}

impl StandIn {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::LastGood => "last_good",
            Self::Default => "default",
        }
    }
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
    /// The version that was chosen; absent where it is the one that answered. Analyse by this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<VersionId>,
    /// The rule of the route that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The experiment or the rollout that the request was part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanId>,
    /// The experiment's epoch, or the rollout's step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// Whether the unit kept an arm that it was assigned earlier; the propensity is that of then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sticky: bool,
    /// The chance of every version that could have been chosen, where chance chose among several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chances: Vec<Chance>,
}

impl Decision {
    /// One that no rule, plan or fallback had a part in.
    pub fn new(generation: u64, reason: Reason, propensity: f64, unit: Option<String>) -> Self {
        Self {
            generation,
            reason,
            propensity,
            unit,
            chosen: None,
            rule: None,
            plan: None,
            epoch: None,
            sticky: false,
            chances: Vec::new(),
        }
    }
}

/// The chance that a version had.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Chance {
    /// The version.
    pub version: VersionId,
    /// 0 to 1.
    pub probability: f64,
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

/// What analyses read of a logged prediction: all but the bodies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "`PredictionRecord` says it")]
pub struct Exposure {
    pub prediction_id: PredictionId,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub version: VersionId,
    pub decision: Decision,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    pub latency_us: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<Degraded>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Exposure {
    /// The version that the decision chose, whatever answered.
    pub fn chosen(&self) -> VersionId {
        self.decision.chosen.unwrap_or(self.version)
    }
}

impl From<&PredictionRecord> for Exposure {
    fn from(record: &PredictionRecord) -> Self {
        Self {
            prediction_id: record.prediction_id,
            at: record.at,
            version: record.version,
            decision: record.decision.clone(),
            label: record.label.clone(),
            confidence: record.confidence,
            value: record.value,
            latency_us: record.latency_us,
            cached: record.cached,
            degraded: record.degraded.clone(),
            error: record.error.clone(),
        }
    }
}
