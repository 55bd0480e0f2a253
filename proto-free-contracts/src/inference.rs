//! The inference service: holds loaded versions and runs them.

use std::sync::Arc;

use async_trait::async_trait;
use domain::policy::Rules;
use domain::{ModelName, PredictionId, Version, VersionId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ApiError, Call, Done, Endpoint, Framed};

/// What an inference replica does.
#[async_trait]
pub trait InferenceApi: Send + Sync {
    /// Runs a version on a payload and writes the final answer. `not_found` if the version is not
    /// loaded here; `unavailable` with a time to try again if too much is waiting.
    async fn predict(
        &self,
        call: Call,
        request: Framed<PredictTask>,
    ) -> Result<Framed<Answered>, ApiError>;
    /// Loads, verifies and warms a version that is not registered yet, then frees it: proof that
    /// it can be served. `unprocessable` says why it cannot.
    async fn check(&self, call: Call, version: Version) -> Result<Loaded, ApiError>;
    /// Loads, verifies and warms a version, then serves it. Done again it only counts as a use, so
    /// that a version asked for in time is never idle.
    async fn load(&self, call: Call, version: Version) -> Result<Loaded, ApiError>;
    /// Drains and frees a version. Done again it changes nothing.
    async fn unload(&self, call: Call, target: Target) -> Result<Done, ApiError>;
    /// The versions loaded here.
    async fn loaded(&self, call: Call) -> Result<LoadedList, ApiError>;
}

/// [`InferenceApi::predict`].
pub const PREDICT: Endpoint<Framed<PredictTask>, Framed<Answered>> =
    Endpoint::repeatable("/internal/inference/predict");
/// [`InferenceApi::check`].
pub const CHECK: Endpoint<Version, Loaded> = Endpoint::repeatable("/internal/inference/check");
/// [`InferenceApi::load`].
pub const LOAD: Endpoint<Version, Loaded> = Endpoint::repeatable("/internal/inference/load");
/// [`InferenceApi::unload`].
pub const UNLOAD: Endpoint<Target, Done> = Endpoint::repeatable("/internal/inference/unload");
/// [`InferenceApi::loaded`].
pub const LOADED: Endpoint<(), LoadedList> = Endpoint::repeatable("/internal/inference/loaded");

/// How the failure begins of an answer that a rule of the output withheld.
pub const WITHHELD: &str = "the answer was withheld by the output rule";

/// A version of a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Target {
    /// The model.
    pub model: ModelName,
    /// The version.
    pub version: VersionId,
}

/// What language a payload is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Ours: the natural forms of the public API, chosen by content type.
    Natural,
    /// Open Inference Protocol V2.
    V2 {
        /// `Inference-Header-Content-Length`, where the binary extension is used.
        header_length: Option<u64>,
    },
}

/// What the router tells the replica beside the payload.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PredictTask {
    /// Which version runs.
    pub target: Target,
    /// Goes into the answer.
    pub prediction_id: PredictionId,
    /// The payload's language.
    pub protocol: Protocol,
    /// The payload's content type, as the client sent it.
    pub content_type: String,
    /// Whether the answer names the version.
    pub show_version: bool,
    /// Whether the answer is marked `degraded`.
    pub degraded: bool,
    /// What is ruled for what goes in and comes out, if anything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Rules>)]
    pub rules: Option<Arc<Rules>>,
    /// Whether nobody waits for the answer: it then runs when nothing else wants to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub background: bool,
}

/// What the replica says of its answer, for the log and the metrics.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Answered {
    /// The answer's content type.
    pub content_type: String,
    /// `Inference-Header-Content-Length` of a binary answer.
    pub header_length: Option<u64>,
    /// Rows in the request.
    pub rows: u32,
    /// The first row's label.
    pub label: Option<String>,
    /// The first row's highest class probability, 0 to 1.
    pub confidence: Option<f64>,
    /// The first row's value, for a regression.
    pub value: Option<f64>,
    /// In the model itself, microseconds.
    pub compute_us: u64,
    /// Whether a rule of the output found something in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub output_rule: bool,
    /// What the router's kept answers had to do with it, for a model that has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheUse>,
}

/// What kept answers had to do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CacheUse {
    /// It is one.
    Hit,
    /// There was none.
    Miss,
    /// The caller wanted none.
    Request,
    /// It is of a kind that is not kept, or the store did not answer.
    Bypass,
}

/// A version that is loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Loaded {
    /// Which.
    pub target: Target,
    /// Memory it is taken to need, bytes.
    pub memory_bytes: u64,
    /// One row, measured while warming, microseconds.
    pub row_us: u64,
    /// Requests it has answered.
    pub requests: u64,
}

/// What an inference replica holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LoadedList {
    /// By model and version.
    pub versions: Vec<Loaded>,
    /// Memory all of them are taken to need, bytes.
    pub memory_bytes: u64,
    /// Memory they may need together, bytes.
    pub memory_limit_bytes: u64,
}
