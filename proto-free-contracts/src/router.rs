//! The router service: the registry, the routes, and the way of a prediction to a replica.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::manifest::{Feature, Format, TensorSpec};
use domain::prediction::{Decision, Payload};
use domain::{
    Delivery, DeliveryId, Modality, Model, ModelName, ModelPolicy, PredictionId, PredictionRecord,
    RequestId, Route, Task, Version, VersionId, WebhookId,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::inference::{Answered, Protocol, Target};
use crate::{ApiError, Call, Done, Endpoint, Framed};

mod events;

pub use events::{
    ChangeWebhook, DeliveryPage, DeliveryQuery, EventPage, EventQuery, NewWebhook, ShownWebhook,
    WebhookList, WebhookPatch, WebhookTested, WebhookView,
};

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
    async fn prediction(&self, call: Call, id: PredictionId) -> Result<PredictionView, ApiError>;
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
    /// The model's policy. For analysts.
    async fn policy(&self, call: Call, model: ModelName) -> Result<ModelPolicy, ApiError>;
    /// Replaces the model's policy; it is in force in every router when this returns. For
    /// engineers. `conflict` if a revision is given and is not the current one.
    async fn put_policy(&self, call: Call, request: PutPolicy) -> Result<ModelPolicy, ApiError>;
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
    /// What happened. For analysts; of models whose versions they are not told of, nothing.
    async fn events(&self, call: Call, query: EventQuery) -> Result<EventPage, ApiError>;
    /// All webhooks. For engineers, as all that has to do with webhooks.
    async fn webhooks(&self, call: Call) -> Result<WebhookList, ApiError>;
    /// Makes a webhook; its secret is shown this once.
    async fn create_webhook(
        &self,
        call: Call,
        request: NewWebhook,
    ) -> Result<ShownWebhook, ApiError>;
    /// Changes a webhook. `conflict` if a revision is given and is not the current one.
    async fn change_webhook(
        &self,
        call: Call,
        request: ChangeWebhook,
    ) -> Result<WebhookView, ApiError>;
    /// Removes a webhook with its deliveries.
    async fn remove_webhook(&self, call: Call, id: WebhookId) -> Result<Done, ApiError>;
    /// Sends a webhook an event that did not happen, at once and once, and tells what came of it.
    async fn test_webhook(&self, call: Call, id: WebhookId) -> Result<WebhookTested, ApiError>;
    /// Deliveries: those that wait, were made, were given up.
    async fn deliveries(&self, call: Call, query: DeliveryQuery) -> Result<DeliveryPage, ApiError>;
    /// Has a delivery that was given up tried again, as if it were new. `conflict` if it was not.
    async fn retry_delivery(&self, call: Call, id: DeliveryId) -> Result<Delivery, ApiError>;
}

/// [`RouterApi::predict`].
pub const PREDICT: Endpoint<Framed<PredictRequest>, Framed<Answered>> =
    Endpoint::repeatable("/internal/router/predict");
/// [`RouterApi::prediction`].
pub const PREDICTION: Endpoint<PredictionId, PredictionView> =
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
/// [`RouterApi::policy`].
pub const POLICY: Endpoint<ModelName, ModelPolicy> =
    Endpoint::repeatable("/internal/router/policy");
/// [`RouterApi::put_policy`].
pub const PUT_POLICY: Endpoint<PutPolicy, ModelPolicy> =
    Endpoint::new("/internal/router/put-policy");
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
/// [`RouterApi::events`].
pub const EVENTS: Endpoint<EventQuery, EventPage> = Endpoint::repeatable("/internal/router/events");
/// [`RouterApi::webhooks`].
pub const WEBHOOKS: Endpoint<(), WebhookList> = Endpoint::repeatable("/internal/router/webhooks");
/// [`RouterApi::create_webhook`].
pub const CREATE_WEBHOOK: Endpoint<NewWebhook, ShownWebhook> =
    Endpoint::new("/internal/router/create-webhook");
/// [`RouterApi::change_webhook`].
pub const CHANGE_WEBHOOK: Endpoint<ChangeWebhook, WebhookView> =
    Endpoint::new("/internal/router/change-webhook");
/// [`RouterApi::remove_webhook`].
pub const REMOVE_WEBHOOK: Endpoint<WebhookId, Done> =
    Endpoint::new("/internal/router/remove-webhook");
/// [`RouterApi::test_webhook`].
pub const TEST_WEBHOOK: Endpoint<WebhookId, WebhookTested> =
    Endpoint::new("/internal/router/test-webhook");
/// [`RouterApi::deliveries`].
pub const DELIVERIES: Endpoint<DeliveryQuery, DeliveryPage> =
    Endpoint::repeatable("/internal/router/deliveries");
/// [`RouterApi::retry_delivery`].
pub const RETRY_DELIVERY: Endpoint<DeliveryId, Delivery> =
    Endpoint::new("/internal/router/retry-delivery");

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
    /// What the client says of earlier answers.
    #[serde(default)]
    pub cache: CacheWish,
}

/// What a client says of earlier answers (`Cache-Control`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CacheWish {
    /// One will do.
    #[default]
    Use,
    /// It has to be computed; the new one may be kept (`no-cache`).
    Refresh,
    /// It has to be computed, and must not be kept (`no-store`).
    Avoid,
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

/// A route to be put in place.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PutRoute {
    /// The model.
    pub model: ModelName,
    /// What is asked for.
    pub route: NewRoute,
}

/// A policy to be put in place.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PutPolicy {
    /// The model.
    pub model: ModelName,
    /// What is asked for.
    pub policy: ModelPolicy,
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
    /// Whether whoever asked is not to be told of versions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
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
