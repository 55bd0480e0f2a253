//! Rollouts: a new version gets more of the traffic step by step, as far as the evidence allows.

use actix_web::web::{Bytes, Data, Json, Path, Query};
use actix_web::{HttpResponse, Responder};
use contracts::router::{
    ActOnRollout, NewRollout, RolloutAction, RolloutList, RolloutQuery, RolloutView,
};
use contracts::{ApiError, Call};
use domain::PlanId;
use runtime::http::{Caller, Problem};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::registry::parse_model;
use super::v2::optional;
use crate::Gateway;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Only those of this model.
    #[param(value_type = Option<domain::ModelName>)]
    model: Option<String>,
    /// Only those that are still open. Default: all.
    #[serde(default)]
    open: bool,
}

/// Why something is done; kept in the history.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Because {
    /// In words.
    #[serde(default)]
    reason: String,
}

/// Rollouts, newest first, each with its evidence.
#[utoipa::path(get, path = "/api/v1/rollouts", tag = "routing", params(Which), responses((status = 200, body = RolloutList)))]
pub(super) async fn rollouts(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    Query(which): Query<Which>,
) -> Result<impl Responder, Problem> {
    let model = which.model.as_deref().map(parse_model).transpose()?;
    let query = RolloutQuery { model, open: which.open };
    Ok(Json(gateway.deps.router.rollouts(call, query).await?))
}

/// Begins a rollout: the canary gets the first step's share before this returns. 409 if the model has
/// an open one, an experiment or a split route, or if the version is blocked.
#[utoipa::path(post, path = "/api/v1/rollouts", tag = "routing", request_body = NewRollout, responses((status = 201, body = RolloutView)))]
pub(super) async fn create_rollout(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    Json(request): Json<NewRollout>,
) -> Result<impl Responder, Problem> {
    Ok(HttpResponse::Created().json(gateway.deps.router.create_rollout(call, request).await?))
}

/// One rollout: its plan, where it stands and why, each guardrail, and the steps it took.
#[utoipa::path(get, path = "/api/v1/rollouts/{id}", tag = "routing", params(("id" = PlanId, Path)), responses((status = 200, body = RolloutView)))]
pub(super) async fn rollout(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
) -> Result<impl Responder, Problem> {
    Ok(Json(gateway.deps.router.rollout(call, parse_id(&id)?).await?))
}

/// Stays at its step until it is resumed. Guardrails still roll it back.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/pause", tag = "routing", params(("id" = PlanId, Path)), request_body = Option<Because>, responses((status = 200, body = RolloutView)))]
pub(super) async fn pause(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
    body: Bytes,
) -> Result<impl Responder, Problem> {
    let Because { reason } = optional(&body)?;
    act(&gateway, call, &id, RolloutAction::Pause { reason }).await
}

/// Goes on with a rollout that was paused.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/resume", tag = "routing", params(("id" = PlanId, Path)), responses((status = 200, body = RolloutView)))]
pub(super) async fn resume(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
) -> Result<impl Responder, Problem> {
    act(&gateway, call, &id, RolloutAction::Resume).await
}

/// Gives the canary everything now, whatever the evidence says.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/promote", tag = "routing", params(("id" = PlanId, Path)), request_body = Option<Because>, responses((status = 200, body = RolloutView)))]
pub(super) async fn promote(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
    body: Bytes,
) -> Result<impl Responder, Problem> {
    let Because { reason } = optional(&body)?;
    act(&gateway, call, &id, RolloutAction::Promote { reason }).await
}

/// Lets the next step, which waits for a person, begin once the evidence allows it. 409 if it waits
/// for nobody.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/approve", tag = "routing", params(("id" = PlanId, Path)), responses((status = 200, body = RolloutView)))]
pub(super) async fn approve(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
) -> Result<impl Responder, Problem> {
    act(&gateway, call, &id, RolloutAction::Approve).await
}

/// Breaks it off: everything goes back to the baseline before this returns. The version is not
/// blocked.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/abort", tag = "routing", params(("id" = PlanId, Path)), request_body = Option<Because>, responses((status = 200, body = RolloutView)))]
pub(super) async fn abort(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
    body: Bytes,
) -> Result<impl Responder, Problem> {
    let Because { reason } = optional(&body)?;
    act(&gateway, call, &id, RolloutAction::Abort { reason }).await
}

async fn act(
    gateway: &Gateway,
    call: Call,
    id: &str,
    action: RolloutAction,
) -> Result<Json<RolloutView>, Problem> {
    let request = ActOnRollout { id: parse_id(id)?, action };
    Ok(Json(gateway.deps.router.act_on_rollout(call, request).await?))
}

fn parse_id(id: &str) -> Result<PlanId, ApiError> {
    Ok(id.parse()?)
}
