//! The router service: the registry, the routes, and the way of a prediction to a replica.

use std::collections::BTreeMap;

mod experiments;
mod registry;
mod report_text;
mod rollouts;
mod routing;
mod shadows;

use async_trait::async_trait;
use domain::experiment::Experiment;
use domain::layer::Layer;
use domain::targeting::Context;
use domain::{
    Delivery, DeliveryId, Model, ModelName, ModelPolicy, PlanId, PredictionId, Route, Version,
    VersionId, WebhookId,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use experiments::*;
pub use registry::*;
pub use report_text::{Ending, moment, short_number};
pub use rollouts::*;
pub use routing::*;
pub use shadows::*;

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
    /// Which version a request would get and why; nothing is served. For analysts.
    async fn explain(&self, call: Call, request: Explain) -> Result<Explained, ApiError>;
    /// Gives everything to one version, in every router, before it returns. For engineers. Works in
    /// every state, and while the store is down.
    async fn rollback(&self, call: Call, request: Rollback) -> Result<RolledBack, ApiError>;
    /// Changes the two sets of a blue-green pair. For engineers.
    async fn switch(&self, call: Call, request: Switch) -> Result<Route, ApiError>;
    /// Lets a blocked version be routed again. For engineers.
    async fn clear_block(&self, call: Call, request: ClearBlock) -> Result<Route, ApiError>;
    /// A model's routes over time. For analysts.
    async fn history(&self, call: Call, query: HistoryQuery) -> Result<History, ApiError>;
    /// Takes over a route that another router put in force, and answers once it is. For services.
    async fn impose(&self, call: Call, imposed: Imposed) -> Result<Acknowledged, ApiError>;
    /// How a shadow version compares. For analysts.
    async fn shadow_report(&self, call: Call, query: ShadowQuery)
    -> Result<ShadowReport, ApiError>;
    /// Experiments. For analysts.
    async fn experiments(
        &self,
        call: Call,
        query: ExperimentQuery,
    ) -> Result<ExperimentList, ApiError>;
    /// One experiment. For analysts.
    async fn experiment(&self, call: Call, id: PlanId) -> Result<Experiment, ApiError>;
    /// Plans an experiment. For engineers. `conflict` if the name is taken.
    async fn create_experiment(
        &self,
        call: Call,
        request: NewExperiment,
    ) -> Result<Experiment, ApiError>;
    /// Does something with an experiment. For engineers. `conflict` if its state does not allow it.
    async fn act_on_experiment(
        &self,
        call: Call,
        request: ActOnExperiment,
    ) -> Result<Experiment, ApiError>;
    /// What an experiment says now. For analysts.
    async fn report(&self, call: Call, id: PlanId) -> Result<Report, ApiError>;
    /// What another policy would have earned. For analysts.
    async fn what_if(&self, call: Call, request: WhatIf) -> Result<WhatIfAnswer, ApiError>;
    /// The layers. For analysts.
    async fn layers(&self, call: Call) -> Result<LayerList, ApiError>;
    /// Makes a layer, or changes its hold-out. For engineers.
    async fn put_layer(&self, call: Call, request: NewLayer) -> Result<Layer, ApiError>;
    /// Rollouts. For analysts.
    async fn rollouts(&self, call: Call, query: RolloutQuery) -> Result<RolloutList, ApiError>;
    /// One rollout. For analysts.
    async fn rollout(&self, call: Call, id: PlanId) -> Result<RolloutView, ApiError>;
    /// Begins a rollout. For engineers. `conflict` if the model has one, or the version is blocked.
    async fn create_rollout(
        &self,
        call: Call,
        request: NewRollout,
    ) -> Result<RolloutView, ApiError>;
    /// Does something with a rollout. For engineers. `conflict` if it is over.
    async fn act_on_rollout(
        &self,
        call: Call,
        request: ActOnRollout,
    ) -> Result<RolloutView, ApiError>;
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

/// [`RouterApi::explain`].
pub const EXPLAIN: Endpoint<Explain, Explained> = Endpoint::repeatable("/internal/router/explain");
/// [`RouterApi::rollback`].
pub const ROLLBACK: Endpoint<Rollback, RolledBack> =
    Endpoint::repeatable("/internal/router/rollback");
/// [`RouterApi::switch`].
pub const SWITCH: Endpoint<Switch, Route> = Endpoint::new("/internal/router/switch");
/// [`RouterApi::clear_block`].
pub const CLEAR_BLOCK: Endpoint<ClearBlock, Route> =
    Endpoint::repeatable("/internal/router/clear-block");
/// [`RouterApi::history`].
pub const HISTORY: Endpoint<HistoryQuery, History> =
    Endpoint::repeatable("/internal/router/history");
/// [`RouterApi::impose`].
pub const IMPOSE: Endpoint<Imposed, Acknowledged> = Endpoint::repeatable("/internal/router/impose");
/// [`RouterApi::shadow_report`].
pub const SHADOW_REPORT: Endpoint<ShadowQuery, ShadowReport> =
    Endpoint::repeatable("/internal/router/shadow-report");
/// [`RouterApi::experiments`].
pub const EXPERIMENTS: Endpoint<ExperimentQuery, ExperimentList> =
    Endpoint::repeatable("/internal/router/experiments");
/// [`RouterApi::experiment`].
pub const EXPERIMENT: Endpoint<PlanId, Experiment> =
    Endpoint::repeatable("/internal/router/experiment");
/// [`RouterApi::create_experiment`].
pub const CREATE_EXPERIMENT: Endpoint<NewExperiment, Experiment> =
    Endpoint::new("/internal/router/create-experiment");
/// [`RouterApi::act_on_experiment`].
pub const ACT_ON_EXPERIMENT: Endpoint<ActOnExperiment, Experiment> =
    Endpoint::new("/internal/router/act-on-experiment");
/// [`RouterApi::report`].
pub const REPORT: Endpoint<PlanId, Report> = Endpoint::repeatable("/internal/router/report");
/// [`RouterApi::what_if`].
pub const WHAT_IF: Endpoint<WhatIf, WhatIfAnswer> =
    Endpoint::repeatable("/internal/router/what-if");
/// [`RouterApi::layers`].
pub const LAYERS: Endpoint<(), LayerList> = Endpoint::repeatable("/internal/router/layers");
/// [`RouterApi::put_layer`].
pub const PUT_LAYER: Endpoint<NewLayer, Layer> = Endpoint::repeatable("/internal/router/put-layer");
/// [`RouterApi::rollouts`].
pub const ROLLOUTS: Endpoint<RolloutQuery, RolloutList> =
    Endpoint::repeatable("/internal/router/rollouts");
/// [`RouterApi::rollout`].
pub const ROLLOUT: Endpoint<PlanId, RolloutView> = Endpoint::repeatable("/internal/router/rollout");
/// [`RouterApi::create_rollout`].
pub const CREATE_ROLLOUT: Endpoint<NewRollout, RolloutView> =
    Endpoint::new("/internal/router/create-rollout");
/// [`RouterApi::act_on_rollout`].
pub const ACT_ON_ROLLOUT: Endpoint<ActOnRollout, RolloutView> =
    Endpoint::new("/internal/router/act-on-rollout");

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
    /// What rules of the route look at.
    #[serde(default, skip_serializing_if = "Context::is_empty")]
    pub context: Context,
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
