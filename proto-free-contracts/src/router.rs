//! The router service: the registry, the routes, and the way of a prediction to a replica.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::{Model, ModelName, PredictionId, PredictionRecord, Route, Version, VersionId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::inference::{Answered, Protocol, Target};
use crate::{ApiError, Call, Done, Endpoint, Framed};

/// What the router does.
#[async_trait]
pub trait RouterApi: Send + Sync {
    /// Chooses the version, has a replica run it, logs the prediction. For clients.
    async fn predict(
        &self,
        call: Call,
        request: Framed<PredictRequest>,
    ) -> Result<Framed<Answered>, ApiError>;
    /// A logged prediction. For analysts, and for the client that asked.
    async fn prediction(&self, call: Call, id: PredictionId) -> Result<PredictionRecord, ApiError>;
    /// All models. For every signed-in caller, as the others that only read models.
    async fn models(&self, call: Call) -> Result<ModelList, ApiError>;
    /// One model with its versions.
    async fn model(&self, call: Call, name: ModelName) -> Result<ModelDetail, ApiError>;
    /// Registers a model. For engineers. `conflict` if the name is taken.
    async fn create_model(&self, call: Call, request: NewModel) -> Result<Model, ApiError>;
    /// Registers a version from its files. For engineers. A file that does not load never becomes
    /// a version. Two at once get two numbers.
    async fn create_version(
        &self,
        call: Call,
        request: Framed<NewVersion>,
    ) -> Result<Version, ApiError>;
    /// One version.
    async fn version(&self, call: Call, target: Target) -> Result<Version, ApiError>;
    /// Sets or moves an alias, or removes it. For engineers.
    async fn set_alias(&self, call: Call, request: SetAlias) -> Result<Model, ApiError>;
    /// The model's route.
    async fn route(&self, call: Call, model: ModelName) -> Result<Route, ApiError>;
    /// Replaces the model's route. For engineers. `conflict` if `generation` is given and is not
    /// the current one.
    async fn put_route(&self, call: Call, request: PutRoute) -> Result<Route, ApiError>;
    /// Allows or forbids serving a version, and waits until replicas have followed. For engineers.
    async fn set_enabled(&self, call: Call, request: SetEnabled) -> Result<Done, ApiError>;
    /// Takes over a change that another router made, and answers once it is in force. For services.
    async fn follow(&self, call: Call, change: Change) -> Result<Done, ApiError>;
    /// Brings the predictions that wait in the spool to the log. For services.
    async fn flush(&self, call: Call) -> Result<Done, ApiError>;
    /// Which versions can answer now. For anyone: health checks carry no token.
    async fn readiness(&self, call: Call) -> Result<Readiness, ApiError>;
}

/// [`RouterApi::predict`].
pub const PREDICT: Endpoint<Framed<PredictRequest>, Framed<Answered>> =
    Endpoint::repeatable("/internal/router/predict");
/// [`RouterApi::prediction`].
pub const PREDICTION: Endpoint<PredictionId, PredictionRecord> =
    Endpoint::repeatable("/internal/router/prediction");
/// [`RouterApi::models`].
pub const MODELS: Endpoint<(), ModelList> = Endpoint::repeatable("/internal/router/models");
/// [`RouterApi::model`].
pub const MODEL: Endpoint<ModelName, ModelDetail> = Endpoint::repeatable("/internal/router/model");
/// [`RouterApi::create_model`].
pub const CREATE_MODEL: Endpoint<NewModel, Model> = Endpoint::new("/internal/router/create-model");
/// [`RouterApi::create_version`].
pub const CREATE_VERSION: Endpoint<Framed<NewVersion>, Version> =
    Endpoint::new("/internal/router/create-version");
/// [`RouterApi::version`].
pub const VERSION: Endpoint<Target, Version> = Endpoint::repeatable("/internal/router/version");
/// [`RouterApi::set_alias`].
pub const SET_ALIAS: Endpoint<SetAlias, Model> = Endpoint::repeatable("/internal/router/set-alias");
/// [`RouterApi::route`].
pub const ROUTE: Endpoint<ModelName, Route> = Endpoint::repeatable("/internal/router/route");
/// [`RouterApi::put_route`].
pub const PUT_ROUTE: Endpoint<PutRoute, Route> = Endpoint::new("/internal/router/put-route");
/// [`RouterApi::set_enabled`].
pub const SET_ENABLED: Endpoint<SetEnabled, Done> =
    Endpoint::repeatable("/internal/router/set-enabled");
/// [`RouterApi::follow`].
pub const FOLLOW: Endpoint<Change, Done> = Endpoint::repeatable("/internal/router/follow");
/// [`RouterApi::flush`].
pub const FLUSH: Endpoint<(), Done> = Endpoint::repeatable("/internal/router/flush");
/// [`RouterApi::readiness`].
pub const READINESS: Endpoint<(), Readiness> = Endpoint::repeatable("/internal/router/readiness");

/// A prediction asked for. What is needed to choose a version travels beside the payload.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PredictRequest {
    /// The model.
    pub model: ModelName,
    /// The version, where the caller names one (V2 protocol).
    pub version: Option<VersionId>,
    /// Who is to keep the same arm; `None` assigns each request by itself.
    pub unit: Option<String>,
    /// The payload's language.
    pub protocol: Protocol,
    /// The payload's content type, as the client sent it.
    pub content_type: String,
}

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

/// A route to be put in place.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PutRoute {
    /// The model.
    pub model: ModelName,
    /// What is asked for.
    pub route: NewRoute,
}

/// The arms of a route.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRoute {
    /// Versions with their weights, in any unit: only the ratio counts.
    pub arms: Vec<NewArm>,
    /// The generation this change is based on; refused if another change came first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// A version with its weight.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewArm {
    /// The version.
    pub version: VersionId,
    /// Zero or more.
    pub weight: f64,
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

/// Models or routes were changed in the store.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// The router that did it, which has no need to be told.
    pub by: String,
}

/// What can answer now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Whether every routed version is loaded on a replica.
    pub ready: bool,
    /// Whether something that predictions do not need is down.
    pub degraded: bool,
    /// Each check with its result: `ok`, or what is wrong.
    pub checks: BTreeMap<String, String>,
    /// Every registered version with its state.
    pub versions: Vec<VersionState>,
}

/// A version and whether it can answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VersionState {
    /// Which.
    #[serde(flatten)]
    pub target: Target,
    /// Whether it can answer now.
    pub state: ServingState,
    /// Why not, where it cannot.
    pub reason: String,
}

/// Whether a version can answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ServingState {
    /// Loaded, or loaded as soon as it is asked for.
    Ready,
    /// Being loaded.
    Loading,
    /// Switched off, or it failed to load.
    Unavailable,
}
