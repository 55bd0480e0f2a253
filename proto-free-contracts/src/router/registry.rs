//! The registry: models, versions, aliases; and the record of a prediction.

use domain::manifest::{Feature, Format, TensorSpec};
use domain::prediction::{Decision, Degraded, Payload};
use domain::{
    Modality, Model, ModelName, ModelPolicy, PredictionId, PredictionRecord, RequestId, Route,
    Task, Version, VersionId,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// All models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelList {
    /// By name.
    pub models: Vec<Model>,
}

/// A model with its versions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelDetail {
    /// The model.
    #[serde(flatten)]
    pub model: Model,
    /// Its versions, oldest first.
    pub versions: Vec<Version>,
    /// Its route, once it has one. The first version gets a route of its own accord.
    pub route: Option<Route>,
    /// What the model takes and gives, for who is not told of its versions: then there are no
    /// versions, route and aliases here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<Interface>,
}

/// What a model takes and gives, as its most used version has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Interface {
    /// What it answers.
    pub task: Task,
    /// What it is asked with.
    pub modality: Modality,
    /// The format of its file.
    pub format: Format,
    /// Input features, for a model of tables.
    pub features: Vec<Feature>,
    /// Input tensors.
    pub inputs: Vec<TensorSpec>,
    /// Output tensors.
    pub outputs: Vec<TensorSpec>,
    /// Class names.
    pub labels: Vec<String>,
}

/// A logged prediction, as its reader may see it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "`PredictionRecord` says what each is")]
pub struct PredictionView {
    pub prediction_id: PredictionId,
    pub request_id: RequestId,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub principal: String,
    pub model: ModelName,
    /// The version that answered; absent for who is not told of versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionId>,
    /// How the version was chosen; absent for who is not told of versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    pub input: Payload,
    pub output: Payload,
    pub rows: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    pub latency_us: u64,
    pub compute_us: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<Degraded>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl From<PredictionRecord> for PredictionView {
    fn from(record: PredictionRecord) -> Self {
        Self {
            prediction_id: record.prediction_id,
            request_id: record.request_id,
            at: record.at,
            principal: record.principal,
            model: record.model,
            version: Some(record.version),
            decision: Some(record.decision),
            input: record.input,
            output: record.output,
            rows: record.rows,
            label: record.label,
            confidence: record.confidence,
            value: record.value,
            latency_us: record.latency_us,
            compute_us: record.compute_us,
            cached: record.cached,
            degraded: record.degraded,
            error: record.error,
        }
    }
}

/// A model to be registered.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewModel {
    /// Its name.
    pub name: ModelName,
    /// What it is for.
    #[serde(default)]
    pub description: String,
}

/// A version to be registered. The payload is the files' bytes, one after the other.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NewVersion {
    /// The model it belongs to.
    pub model: ModelName,
    /// What the author says of it: any part of a manifest. The rest is read from the graph.
    #[schema(value_type = Option<Object>)]
    pub manifest: Option<Value>,
    /// The files' names and sizes, in the order of the payload.
    pub files: Vec<FilePart>,
}

/// One file of a payload.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FilePart {
    /// Its name in the package.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// An alias to be set (`version` given) or removed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SetAlias {
    /// The model.
    pub model: ModelName,
    /// The alias.
    pub alias: String,
    /// The version it is to name; `None` removes it.
    pub version: Option<VersionId>,
}

/// A policy to be put in place.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PutPolicy {
    /// The model.
    pub model: ModelName,
    /// What is asked for.
    pub policy: ModelPolicy,
}

/// Whether a version may be served.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SetEnabled {
    /// The version; `None` for all of the model's.
    pub version: Option<VersionId>,
    /// The model.
    pub model: ModelName,
    /// Served or not.
    pub enabled: bool,
}
