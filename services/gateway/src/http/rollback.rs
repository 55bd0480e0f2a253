//! Ways back: rollback, blue-green, blocked versions, history.

use actix_web::Responder;
use actix_web::web::{Bytes, Data, Json, Path, Query};
use contracts::router::{
    ClearBlock, History, HistoryQuery, NewRollback, NewSwitch, Rollback, RolledBack, Switch,
};
use contracts::{ApiError, ErrorCode};
use domain::{Clock as _, Route};
use runtime::SystemClock;
use runtime::http::{Caller, Problem};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::IntoParams;

use super::registry::{parse_model, parse_target};
use super::v2::optional;
use crate::Gateway;

/// Routes that one look at the history shows, unless it asks for another number.
const PAGE: u32 = 50;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Moments {
    /// The one route that served at this moment (RFC 3339).
    at: Option<String>,
    /// Only routes before this generation.
    before: Option<u64>,
    /// Routes at most, 1 to the setting `router.max_history`. Default: 50.
    limit: Option<u32>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Why {
    /// Why; kept in the history and in the audit trail.
    #[serde(default)]
    reason: String,
}

/// Gives everything to one version: to `to`, or to the last that is stable. It is in force in every
/// router when this returns, and the versions it leaves are blocked. Works in every state, also while
/// a rollout or an experiment runs, and while the store is down. 409 if there is no version to go back
/// to, or the one that is named is blocked. Once more leads further back.
#[utoipa::path(post, path = "/api/v1/models/{model}/rollback", tag = "routing", params(("model" = String, Path)), request_body = Option<NewRollback>, responses((status = 200, body = RolledBack)))]
pub(super) async fn rollback(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    name: Path<String>,
    body: Bytes,
) -> Result<impl Responder, Problem> {
    let rollback: NewRollback = optional(&body)?;
    let asked_at = Some(SystemClock.now());
    let request = Rollback { model: parse_model(&name)?, rollback, asked_at };
    Ok(Json(gateway.deps.router.rollback(call, request).await?))
}

/// Has `standby` and the arms that serve change places, at once and everywhere. Once more switches
/// back. 409 without a standby, or with `generation` if another change came first.
#[utoipa::path(post, path = "/api/v1/models/{model}/route/switch", tag = "routing", params(("model" = String, Path)), request_body = Option<NewSwitch>, responses((status = 200, body = Route)))]
pub(super) async fn switch(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    name: Path<String>,
    body: Bytes,
) -> Result<impl Responder, Problem> {
    let switch: NewSwitch = optional(&body)?;
    let request = Switch { model: parse_model(&name)?, switch };
    Ok(Json(gateway.deps.router.switch(call, request).await?))
}

/// Lets a version be routed again that a rollback or a rollout blocked. It gets no request by that.
/// 404 if it is not blocked.
#[utoipa::path(delete, path = "/api/v1/models/{model}/blocks/{version}", tag = "routing", params(("model" = String, Path), ("version" = String, Path), Why), responses((status = 200, body = Route)))]
pub(super) async fn clear_block(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    path: Path<(String, String)>,
    Query(why): Query<Why>,
) -> Result<impl Responder, Problem> {
    let target = parse_target(&path)?;
    let request = ClearBlock { model: target.model, version: target.version, reason: why.reason };
    Ok(Json(gateway.deps.router.clear_block(call, request).await?))
}

/// A model's routes over time, newest first: who put what in force, when, why and until when. With
/// `at`, the one that served at that moment. A prediction's record names the generation that decided.
#[utoipa::path(get, path = "/api/v1/models/{model}/history", tag = "routing", params(("model" = String, Path), Moments), responses((status = 200, body = History)))]
pub(super) async fn history(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    name: Path<String>,
    Query(moments): Query<Moments>,
) -> Result<impl Responder, Problem> {
    let query = HistoryQuery {
        model: parse_model(&name)?,
        at: moments.at.map(|text| moment(&text)).transpose()?,
        before: moments.before,
        limit: moments.limit.unwrap_or(PAGE),
    };
    Ok(Json(gateway.deps.router.history(call, query).await?))
}

fn moment(text: &str) -> Result<OffsetDateTime, ApiError> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_cause| {
        let text = text.escape_debug();
        let why = format!("query: `at` must be a moment like `2030-01-31T12:00:00Z`, got `{text}`");
        ApiError::new(ErrorCode::Unprocessable, why)
    })
}
