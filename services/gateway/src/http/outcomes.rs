//! Ground truth, and what live predictions look like.

use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpResponse, Responder};
use contracts::ApiError;
use contracts::drift::{Summary, SummaryRequest};
use contracts::feedback::{FeedbackList, NewFeedback, Submitted};
use runtime::http::{Caller, Problem};
use serde::Deserialize;
use utoipa::IntoParams;

use super::registry::{parse_model, told_of_versions};
use crate::Gateway;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Window {
    /// How far back to look, seconds. Default: one hour.
    #[serde(default = "one_hour")]
    window_s: u64,
}

fn one_hour() -> u64 {
    3600
}

/// Takes ground truth for a prediction: the true `label` or `value`. The same again changes nothing.
#[utoipa::path(post, path = "/api/v1/feedback", tag = "loop", request_body = NewFeedback, responses((status = 202, body = Submitted)))]
pub(super) async fn submit_feedback(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    Json(request): Json<NewFeedback>,
) -> Result<impl Responder, Problem> {
    Ok(HttpResponse::Accepted().json(gateway.deps.feedback.submit(call, request).await?))
}

/// The ground truth known of one prediction.
#[utoipa::path(get, path = "/api/v1/predictions/{id}/feedback", tag = "loop", params(("id" = domain::PredictionId, Path)), responses((status = 200, body = FeedbackList)))]
pub(super) async fn feedback_of(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
) -> Result<impl Responder, Problem> {
    let id = id.parse().map_err(ApiError::from)?;
    Ok(Json(gateway.deps.feedback.of_prediction(call, id).await?))
}

/// Counts, labels, confidence and latency per version over a window of the prediction log.
#[utoipa::path(get, path = "/api/v1/models/{model}/metrics-summary", tag = "watching", params(("model" = String, Path), Window), responses((status = 200, body = Summary)))]
pub(super) async fn metrics_summary(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    name: Path<String>,
    Query(window): Query<Window>,
) -> Result<impl Responder, Problem> {
    let model = parse_model(&name)?;
    told_of_versions(&gateway.deps.router.model(call.clone(), model.clone()).await?)?;
    let request = SummaryRequest { model, window_s: window.window_s };
    Ok(Json(gateway.deps.drift.summary(call, request).await?))
}
