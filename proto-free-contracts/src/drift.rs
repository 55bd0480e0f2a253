//! The drift service: what the live predictions look like.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::{ModelName, VersionId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ApiError, Call, Endpoint};

/// What the drift service does.
#[async_trait]
pub trait DriftApi: Send + Sync {
    /// Counts, confidence and latency per version over a window of the prediction log. For
    /// analysts.
    async fn summary(&self, call: Call, request: SummaryRequest) -> Result<Summary, ApiError>;
}

/// [`DriftApi::summary`].
pub const SUMMARY: Endpoint<SummaryRequest, Summary> =
    Endpoint::repeatable("/internal/drift/summary");

/// Which predictions to sum up.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SummaryRequest {
    /// The model.
    pub model: ModelName,
    /// How far back to look, seconds.
    pub window_s: u64,
}

/// What a model's predictions looked like in a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Summary {
    /// The model.
    pub model: ModelName,
    /// How far back it looks, seconds.
    pub window_s: u64,
    /// Whether the window held more predictions than the setting `drift.max_records`; the newest
    /// were then used.
    pub truncated: bool,
    /// By version.
    pub versions: Vec<VersionSummary>,
}

/// What one version's predictions looked like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VersionSummary {
    /// The version.
    pub version: VersionId,
    /// Predictions.
    pub predictions: u64,
    /// Rows in them.
    pub rows: u64,
    /// Mean of the first rows' confidence, 0 to 1; absent where the model gives none.
    pub mean_confidence: Option<f64>,
    /// Mean of the first rows' value; absent where the model gives none.
    pub mean_value: Option<f64>,
    /// How often each label came first.
    pub labels: BTreeMap<String, u64>,
    /// Latency quantiles, milliseconds: nearest rank.
    pub latency_ms: Quantiles,
}

/// Three quantiles.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Quantiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}
