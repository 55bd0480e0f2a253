//! Ground truth, and what live predictions look like.

use actix_web::http::header;
use actix_web::web::{Data, Json, Path, Payload, Query};
use actix_web::{HttpRequest, HttpResponse, Responder};
use contracts::drift::{Summary, SummaryRequest};
use contracts::feedback::{
    FeedbackForm, FeedbackList, FeedbackQuery, FeedbackSummary, GivenFeedback, PendingList,
    PendingQuery, SubmitAnswer,
};
use contracts::{ApiError, ErrorCode, Framed};
use domain::PredictionId;
use runtime::http::{Caller, Problem};
use serde::Deserialize;
use utoipa::IntoParams;

use super::predict::whole_body;
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

/// Takes ground truth: for a prediction by its `prediction_id`, or for a unit by `model` and `unit`;
/// the true `label`, the true `value`, or a `metric` with its `value`. One object, a list,
/// `{"items": [...]}`, NDJSON, or CSV with a header of these names. Of many, each is taken or refused
/// by itself. The same again changes nothing; a correction is kept beside what it corrects.
#[utoipa::path(
    post, path = "/api/v1/feedback", tag = "loop",
    request_body(content((GivenFeedback = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"))),
    responses((status = 202, body = SubmitAnswer))
)]
pub(super) async fn submit_feedback(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    request: HttpRequest,
    payload: Payload,
) -> Result<impl Responder, Problem> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let meta = FeedbackForm { content_type: content_type.unwrap_or("application/json").to_owned() };
    let body = whole_body(&request, &mut payload.into_inner()).await?;
    let answer = gateway.deps.feedback.submit(call, Framed { meta, body }).await?;
    Ok(HttpResponse::Accepted().json(answer))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Counted {
    /// Only of this model.
    #[param(value_type = Option<domain::ModelName>)]
    model: Option<String>,
    /// How far back to look, seconds. Default: a week.
    #[serde(default = "one_week")]
    window_s: u64,
}

fn one_week() -> u64 {
    7 * 24 * 3600
}

/// How much ground truth was received, how much of it waits for its prediction, and of what kinds it
/// is.
#[utoipa::path(get, path = "/api/v1/feedback/summary", tag = "loop", params(Counted), responses((status = 200, body = FeedbackSummary)))]
pub(super) async fn feedback_summary(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    Query(counted): Query<Counted>,
) -> Result<impl Responder, Problem> {
    let model = counted.model.as_deref().map(parse_model).transpose()?;
    let query = FeedbackQuery { model, window_s: counted.window_s };
    Ok(Json(gateway.deps.feedback.summary(call, query).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Waiting {
    /// Only predictions after this one.
    #[param(value_type = Option<PredictionId>)]
    after: Option<String>,
    /// Predictions at most, 1 to 1000. Default: 100.
    #[serde(default = "one_hundred")]
    limit: u32,
}

fn one_hundred() -> u32 {
    100
}

/// Predictions that ground truth speaks of, and the log does not know (yet).
#[utoipa::path(get, path = "/api/v1/feedback/pending", tag = "loop", params(Waiting), responses((status = 200, body = PendingList)))]
pub(super) async fn pending_feedback(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    Query(waiting): Query<Waiting>,
) -> Result<impl Responder, Problem> {
    let after: Option<Result<PredictionId, _>> = waiting.after.map(|id| id.parse());
    let after = after.transpose().map_err(|error| {
        ApiError::new(ErrorCode::BadRequest, format!("query parameter `after`: {error}"))
    })?;
    let query = PendingQuery { after, limit: waiting.limit };
    Ok(Json(gateway.deps.feedback.pending(call, query).await?))
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
