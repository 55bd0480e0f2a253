//! Experiments and the layers they share.

use actix_web::http::header::{ACCEPT, CONTENT_SECURITY_POLICY};
use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpRequest, HttpResponse, Responder};
use contracts::router::{
    ActOnExperiment, ExperimentAction, ExperimentList, ExperimentQuery, LayerList, NewExperiment,
    NewLayer, Report, WhatIf, WhatIfAnswer,
};
use contracts::{ApiError, ErrorCode};
use domain::experiment::{Experiment, ExperimentState, PlannedArm};
use domain::layer::Layer;
use domain::{PlanId, VersionId};
use runtime::http::{Caller, Problem};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::registry::parse_model;
use crate::{Gateway, report as render};

/// The report's page sets its own styles, and loads and runs nothing.
const PAGE: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only those of this model.
    #[param(value_type = Option<domain::ModelName>)]
    model: Option<String>,
    /// Only those in this state: `draft`, `running`, `paused`, `decided` or `stopped`.
    state: Option<ExperimentState>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Form {
    /// `json`, `html` for a page to read, or `svg` for its chart. Without it, as `Accept` says.
    format: Option<String>,
}

/// Other weights.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewWeights {
    /// The arms, the same as before.
    arms: Vec<PlannedArm>,
    /// Why.
    reason: String,
}

/// Which version everybody gets.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Promote {
    /// The version; left out: the control.
    #[serde(default)]
    version: Option<VersionId>,
    /// Why.
    reason: String,
}

/// Why an experiment is broken off.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Abort {
    /// Why.
    reason: String,
}

/// Other weights to be tried on the log.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TriedPolicy {
    /// Versions with their weights; one alone for "what would it have earned?".
    policy: Vec<PlannedArm>,
}

/// Layers, each with who holds what of it.
#[utoipa::path(get, path = "/api/v1/layers", tag = "experiments", responses((status = 200, body = LayerList)))]
pub(super) async fn layers(
    gateway: Data<Gateway>,
    Caller(call): Caller,
) -> Result<impl Responder, Problem> {
    Ok(Json(gateway.deps.router.layers(call).await?))
}

/// Makes a layer, or changes its hold-out. 409 if the hold-out would take units that experiments hold.
#[utoipa::path(put, path = "/api/v1/layers", tag = "experiments", request_body = NewLayer, responses((status = 200, body = Layer)))]
pub(super) async fn put_layer(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    Json(request): Json<NewLayer>,
) -> Result<impl Responder, Problem> {
    Ok(Json(gateway.deps.router.put_layer(call, request).await?))
}

/// Experiments, newest first.
#[utoipa::path(get, path = "/api/v1/experiments", tag = "experiments", params(Which), responses((status = 200, body = ExperimentList)))]
pub(super) async fn experiments(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    Query(which): Query<Which>,
) -> Result<impl Responder, Problem> {
    let model = which.model.as_deref().map(parse_model).transpose()?;
    let query = ExperimentQuery { model, state: which.state };
    Ok(Json(gateway.deps.router.experiments(call, query).await?))
}

/// Plans an experiment. It assigns nothing before it is started. 409 if the name is taken, or the layer
/// has no room.
#[utoipa::path(post, path = "/api/v1/experiments", tag = "experiments", request_body = NewExperiment, responses((status = 201, body = Experiment)))]
pub(super) async fn create_experiment(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    Json(request): Json<NewExperiment>,
) -> Result<impl Responder, Problem> {
    Ok(HttpResponse::Created().json(gateway.deps.router.create_experiment(call, request).await?))
}

/// One experiment with all that is known of it.
#[utoipa::path(get, path = "/api/v1/experiments/{id}", tag = "experiments", params(("id" = PlanId, Path)), responses((status = 200, body = Experiment)))]
pub(super) async fn experiment(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
) -> Result<impl Responder, Problem> {
    Ok(Json(gateway.deps.router.experiment(call, parse_id(&id)?).await?))
}

/// Starts a draft: units are assigned, in every router, when this returns.
#[utoipa::path(post, path = "/api/v1/experiments/{id}/start", tag = "experiments", params(("id" = PlanId, Path)), responses((status = 200, body = Experiment)))]
pub(super) async fn start(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
) -> Result<impl Responder, Problem> {
    act(&gateway, call, &id, ExperimentAction::Start).await
}

/// Pauses: no unit is assigned, and those it had get the route's arms, until it is resumed.
#[utoipa::path(post, path = "/api/v1/experiments/{id}/pause", tag = "experiments", params(("id" = PlanId, Path)), responses((status = 200, body = Experiment)))]
pub(super) async fn pause(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
) -> Result<impl Responder, Problem> {
    act(&gateway, call, &id, ExperimentAction::Pause).await
}

/// Resumes: each unit gets the version that it had.
#[utoipa::path(post, path = "/api/v1/experiments/{id}/resume", tag = "experiments", params(("id" = PlanId, Path)), responses((status = 200, body = Experiment)))]
pub(super) async fn resume(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
) -> Result<impl Responder, Problem> {
    act(&gateway, call, &id, ExperimentAction::Resume).await
}

/// Ends an experiment and gives everybody one of its versions.
#[utoipa::path(post, path = "/api/v1/experiments/{id}/promote", tag = "experiments", params(("id" = PlanId, Path)), request_body = Promote, responses((status = 200, body = Experiment)))]
pub(super) async fn promote(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
    Json(Promote { version, reason }): Json<Promote>,
) -> Result<impl Responder, Problem> {
    act(&gateway, call, &id, ExperimentAction::Promote { version, reason }).await
}

/// Breaks an experiment off: the route's own arms answer again.
#[utoipa::path(post, path = "/api/v1/experiments/{id}/abort", tag = "experiments", params(("id" = PlanId, Path)), request_body = Abort, responses((status = 200, body = Experiment)))]
pub(super) async fn abort(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
    Json(Abort { reason }): Json<Abort>,
) -> Result<impl Responder, Problem> {
    act(&gateway, call, &id, ExperimentAction::Abort { reason }).await
}

/// Sets other weights: as few units move as can be, and the report compares before and after apart.
#[utoipa::path(put, path = "/api/v1/experiments/{id}/weights", tag = "experiments", params(("id" = PlanId, Path)), request_body = NewWeights, responses((status = 200, body = Experiment)))]
pub(super) async fn weights(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
    Json(NewWeights { arms, reason }): Json<NewWeights>,
) -> Result<impl Responder, Problem> {
    act(&gateway, call, &id, ExperimentAction::Weights { arms, reason }).await
}

/// What the experiment says now: valid at any time, however often one looks.
#[utoipa::path(get, path = "/api/v1/experiments/{id}/report", tag = "experiments", params(("id" = PlanId, Path), Form), responses((status = 200, content((Report = "application/json"), (String = "text/html"), (String = "image/svg+xml")))))]
pub(super) async fn report(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
    Query(form): Query<Form>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let wanted = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    let wanted = wanted.unwrap_or_default();
    let form = match form.format.as_deref() {
        Some(form) => form,
        None if wanted.starts_with("text/html") => "html",
        None if wanted.starts_with("image/svg+xml") => "svg",
        None => "json",
    };
    if !matches!(form, "json" | "html" | "svg") {
        let message = format!(
            "query: `format` must be `json`, `html` or `svg`, got `{}`",
            form.escape_debug()
        );
        return Err(ApiError::new(ErrorCode::Unprocessable, message).into());
    }
    let report = gateway.deps.router.report(call, parse_id(&id)?).await?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CONTENT_SECURITY_POLICY, PAGE));
    Ok(match form {
        "html" => answer.content_type("text/html; charset=utf-8").body(render::html(&report)),
        "svg" => answer.content_type("image/svg+xml").body(render::svg(&report)),
        _ => HttpResponse::Ok().json(report),
    })
}

/// What other weights would have earned, by this experiment's log.
#[utoipa::path(post, path = "/api/v1/experiments/{id}/what-if", tag = "experiments", params(("id" = PlanId, Path)), request_body = TriedPolicy, responses((status = 200, body = WhatIfAnswer)))]
pub(super) async fn what_if(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
    Json(TriedPolicy { policy }): Json<TriedPolicy>,
) -> Result<impl Responder, Problem> {
    let request = WhatIf { experiment: parse_id(&id)?, policy };
    Ok(Json(gateway.deps.router.what_if(call, request).await?))
}

async fn act(
    gateway: &Gateway,
    call: contracts::Call,
    id: &str,
    action: ExperimentAction,
) -> Result<Json<Experiment>, Problem> {
    let request = ActOnExperiment { id: parse_id(id)?, action };
    Ok(Json(gateway.deps.router.act_on_experiment(call, request).await?))
}

fn parse_id(id: &str) -> Result<PlanId, ApiError> {
    Ok(id.parse()?)
}
