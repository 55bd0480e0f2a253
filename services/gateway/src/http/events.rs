//! What happened, and who is told of it.

use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpResponse, Responder};
use contracts::router::{
    ChangeWebhook, DeliveryPage, DeliveryQuery, EventPage, EventQuery, NewWebhook, ShownWebhook,
    WebhookList, WebhookPatch, WebhookTested, WebhookView,
};
use contracts::{ApiError, ErrorCode};
use domain::{
    Delivery, DeliveryFilter, DeliveryId, DeliveryState, EventFilter, KindPattern, WebhookId,
};
use runtime::http::{Caller, Problem};
use serde::Deserialize;
use utoipa::IntoParams;

use super::audit::{bad, moment};
use super::registry::parse_model;
use crate::Gateway;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only events after this place, oldest first.
    after: Option<u64>,
    /// Only events before this place, newest first. Without `after` and `before`: the newest.
    before: Option<u64>,
    /// Only from this moment on (RFC 3339).
    from: Option<String>,
    /// Only before this moment (RFC 3339).
    to: Option<String>,
    /// Only this kind, or the group of this name and a dot: `route.changed`, `rollout.`
    #[param(value_type = Option<KindPattern>)]
    kind: Option<String>,
    /// Only about this model.
    #[param(value_type = Option<domain::ModelName>)]
    model: Option<String>,
    /// Events at most, 1 to 1000. Default: 100.
    limit: Option<u32>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WhichDeliveries {
    /// Only those that stand so: `waiting`, `delivered`, `dead`.
    #[param(value_type = Option<DeliveryState>)]
    state: Option<String>,
    /// Only those to this webhook.
    #[param(value_type = Option<WebhookId>)]
    webhook: Option<String>,
    /// Only those older than this one.
    #[param(value_type = Option<DeliveryId>)]
    before: Option<String>,
    /// Deliveries at most, 1 to 1000. Default: 100.
    limit: Option<u32>,
}

/// What happened: changes of state and decisions. The answer says where to go on: give `next` as
/// `after`, or as `before`. What is read in order with `after` misses nothing.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(Which), responses((status = 200, body = EventPage)))]
pub(super) async fn events(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    Query(which): Query<Which>,
) -> Result<impl Responder, Problem> {
    if let (Some(after), Some(before)) = (which.after, which.before) {
        let both = format!("{after}&before={before}");
        return Err(bad("after", &both, "alone: `after` or `before`, not both").into());
    }
    let newest_before = match (which.after, which.before) {
        (None, None) => Some(u64::try_from(i64::MAX).unwrap_or(u64::MAX)),
        (_, before) => before,
    };
    let kind = match which.kind {
        Some(text) => Some(text.parse::<KindPattern>().map_err(|error| unfit(&error))?),
        None => None,
    };
    let model = which.model.as_deref().map(parse_model).transpose()?;
    let filter = EventFilter {
        after: which.after.unwrap_or_default(),
        newest_before,
        from: moment("from", which.from)?,
        to: moment("to", which.to)?,
        kind,
        models: model.into_iter().collect(),
    };
    let query = EventQuery { filter, limit: which.limit.unwrap_or(100) };
    Ok(Json(gateway.deps.router.events(call, query).await?))
}

/// All webhooks, without their secrets.
#[utoipa::path(get, path = "/api/v1/webhooks", tag = "events", responses((status = 200, body = WebhookList)))]
pub(super) async fn webhooks(
    gateway: Data<Gateway>,
    Caller(call): Caller,
) -> Result<impl Responder, Problem> {
    Ok(Json(gateway.deps.router.webhooks(call).await?))
}

/// Makes a webhook. The answer shows its secret, and nothing ever does again.
#[utoipa::path(post, path = "/api/v1/webhooks", tag = "events", request_body = NewWebhook, responses((status = 201, body = ShownWebhook)))]
pub(super) async fn create_webhook(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    Json(request): Json<NewWebhook>,
) -> Result<impl Responder, Problem> {
    Ok(HttpResponse::Created().json(gateway.deps.router.create_webhook(call, request).await?))
}

/// Changes a webhook; what is left out stays. With `revision`, 409 if another change came first.
#[utoipa::path(patch, path = "/api/v1/webhooks/{id}", tag = "events", params(("id" = WebhookId, Path)), request_body = WebhookPatch, responses((status = 200, body = WebhookView)))]
pub(super) async fn change_webhook(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
    Json(change): Json<WebhookPatch>,
) -> Result<impl Responder, Problem> {
    let request = ChangeWebhook { id: id.parse().map_err(ApiError::from)?, change };
    Ok(Json(gateway.deps.router.change_webhook(call, request).await?))
}

/// Removes a webhook. What waits for it is not sent any more.
#[utoipa::path(delete, path = "/api/v1/webhooks/{id}", tag = "events", params(("id" = WebhookId, Path)), responses((status = 204, description = "Removed.")))]
pub(super) async fn remove_webhook(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
) -> Result<impl Responder, Problem> {
    let id = id.parse().map_err(ApiError::from)?;
    gateway.deps.router.remove_webhook(call, id).await?;
    Ok(HttpResponse::NoContent())
}

/// Sends a webhook an event of kind `webhook.test`, at once and once, and tells what came of it.
#[utoipa::path(post, path = "/api/v1/webhooks/{id}/test", tag = "events", params(("id" = WebhookId, Path)), responses((status = 200, body = WebhookTested)))]
pub(super) async fn test_webhook(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
) -> Result<impl Responder, Problem> {
    let id = id.parse().map_err(ApiError::from)?;
    Ok(Json(gateway.deps.router.test_webhook(call, id).await?))
}

/// Deliveries of events to webhooks, newest first: those that wait, were made, or were given up.
#[utoipa::path(get, path = "/api/v1/webhooks/deliveries", tag = "events", params(WhichDeliveries), responses((status = 200, body = DeliveryPage)))]
pub(super) async fn deliveries(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    Query(which): Query<WhichDeliveries>,
) -> Result<impl Responder, Problem> {
    let state = match which.state {
        Some(name) => {
            let must_be = "`waiting`, `delivered` or `dead`";
            Some(DeliveryState::parse(&name).ok_or_else(|| bad("state", &name, must_be))?)
        }
        None => None,
    };
    let webhook = match which.webhook {
        Some(id) => Some(id.parse::<WebhookId>().map_err(|error| unfit(&error))?),
        None => None,
    };
    let before = match which.before {
        Some(id) => Some(id.parse::<DeliveryId>().map_err(|error| unfit(&error))?),
        None => None,
    };
    let webhooks = webhook.into_iter().collect();
    let filter = DeliveryFilter { id: None, state, webhooks, before };
    let query = DeliveryQuery { filter, limit: which.limit.unwrap_or(100) };
    Ok(Json(gateway.deps.router.deliveries(call, query).await?))
}

/// Has a delivery that was given up tried again, as if it were new. 409 if it was not given up.
#[utoipa::path(post, path = "/api/v1/webhooks/deliveries/{id}/retry", tag = "events", params(("id" = DeliveryId, Path)), responses((status = 200, body = Delivery)))]
pub(super) async fn retry_delivery(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
) -> Result<impl Responder, Problem> {
    let id = id.parse().map_err(ApiError::from)?;
    Ok(Json(gateway.deps.router.retry_delivery(call, id).await?))
}

fn unfit(error: &impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorCode::Unprocessable, format!("query: {error}"))
}
