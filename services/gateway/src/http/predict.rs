//! Predictions in our own forms, and the logged record of one.

use std::time::Instant;

use actix_multipart::Multipart;
use actix_web::http::header;
use actix_web::web::{Bytes, Data, Json, Path};
use actix_web::{FromRequest, HttpRequest, HttpResponse, Responder};
use contracts::inference::CacheUse;
use contracts::inference::Protocol;
use contracts::router::{CacheWish, PredictRequest, PredictionView};
use contracts::{ApiError, Call, ErrorCode, Framed};
use domain::ModelName;
use futures_util::TryStreamExt;
use runtime::http::{Caller, Problem, matched_path};
use runtime::telemetry::{label, metrics, record};

use super::aside::{self, Aside, Remembered};
use super::registry::parse_model;
use super::upload::{malformed, read_part};
use crate::Gateway;

/// Asks a model. Forms: `{"features":[...]}`, `{"features":{...}}`, `{"instances":[...]}`,
/// `{"text":"..."}`, `{"image":"<base64>"}`, `text/csv`, `image/*`, multipart `file`. The header
/// `X-User-Id`, or `unit` in the body, keeps a user at the same version; `context` in the body, a flat
/// object, is for the rules of the route. `X-Model-Version` asks for a version, for who sees versions.
#[utoipa::path(
    post, path = "/api/v1/models/{model}/predict", tag = "predict",
    params(("model" = String, Path), ("X-User-Id" = Option<String>, Header), ("X-Model-Version" = Option<String>, Header)),
    request_body(content((Object = "application/json"), (String = "text/csv"), (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"))),
    responses((status = 200, body = Object))
)]
pub(super) async fn predict(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    request: HttpRequest,
    name: Path<String>,
    payload: actix_web::web::Payload,
) -> Result<HttpResponse, Problem> {
    let model = parse_model(&name)?;
    Ok(natural(&gateway, call, &request, model, payload).await?)
}

/// Asks the default model: the setting `gateway.default_model`, or the only model there is.
#[utoipa::path(post, path = "/predict", tag = "predict", params(("X-User-Id" = Option<String>, Header)), request_body = Object, responses((status = 200, body = Object)))]
pub(super) async fn predict_default(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    request: HttpRequest,
    payload: actix_web::web::Payload,
) -> Result<HttpResponse, Problem> {
    let model = match gateway.default_model.as_str() {
        "" => only_model(&gateway, call.clone()).await?,
        name => parse_model(name)?,
    };
    Ok(natural(&gateway, call, &request, model, payload).await?)
}

/// The record of an answered prediction: what was asked, what was answered, by which version, why.
#[utoipa::path(get, path = "/api/v1/predictions/{id}", tag = "predict", params(("id" = domain::PredictionId, Path)), responses((status = 200, body = PredictionView)))]
pub(super) async fn prediction(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
) -> Result<impl Responder, Problem> {
    let id = id.parse().map_err(ApiError::from)?;
    Ok(Json(gateway.deps.router.prediction(call, id).await?))
}

async fn only_model(gateway: &Gateway, call: Call) -> Result<ModelName, ApiError> {
    let mut models = gateway.deps.router.models(call).await?.models;
    match (models.pop(), models.is_empty()) {
        (Some(model), true) => Ok(model.name),
        (only, _) => Err(ApiError::new(
            ErrorCode::NotFound,
            format!(
                "which model? there are {}: set `gateway.default_model`, or ask at `/api/v1/models/{{model}}/predict`",
                models.len() + usize::from(only.is_some())
            ),
        )),
    }
}

async fn natural(
    gateway: &Gateway,
    call: Call,
    request: &HttpRequest,
    model: ModelName,
    payload: actix_web::web::Payload,
) -> Result<HttpResponse, ApiError> {
    let content_type = header_text(request, header::CONTENT_TYPE.as_str())
        .unwrap_or("application/json")
        .to_owned();
    let mut inner = payload.into_inner();
    let mut aside = Aside::default();
    let (content_type, body) = if content_type.starts_with("multipart/") {
        let parts = Multipart::from_request(request, &mut inner).await.map_err(|error| {
            ApiError::new(
                ErrorCode::BadRequest,
                format!("the multipart body cannot be read: {error}"),
            )
        })?;
        let form = read_form(parts, gateway.max_body_bytes).await?;
        aside.unit = form.unit;
        if let Some(context) = form.context {
            aside.fields = aside::of_part(&context, &gateway.context)?;
        }
        (form.content_type, form.file)
    } else {
        (content_type, whole_body(request, &mut inner).await?)
    };
    if is_json(&content_type) {
        let Aside { unit, fields } = aside::of_body(&body, &gateway.context)?;
        aside.unit = aside.unit.or(unit);
        aside.fields.extend(fields);
    }
    let (unit, remembered) = unit_or_remembered(gateway, request, aside.unit)?;
    let asked = PredictRequest {
        model,
        version: aside::version(request)?,
        unit,
        protocol: Protocol::Natural,
        content_type,
        cache: cache_wish(request),
        context: aside::context(request, aside.fields),
    };
    let mut answer = send(gateway, call, request, Framed { meta: asked, body }).await?;
    if let Some(remembered) = remembered {
        remembered.tell(&mut answer);
    }
    Ok(answer)
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    matches!(essence.as_str(), "" | "application/json") || essence.ends_with("+json")
}

/// Reads the body, up to `http.max_body_bytes`.
pub(super) async fn whole_body(
    request: &HttpRequest,
    payload: &mut actix_web::dev::Payload,
) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, payload).await.map_err(|error| {
        if error.as_response_error().status_code() == actix_web::http::StatusCode::PAYLOAD_TOO_LARGE
        {
            ApiError::new(
                ErrorCode::TooLarge,
                "the request body is larger than the setting `http.max_body_bytes` allows",
            )
        } else {
            ApiError::new(ErrorCode::BadRequest, format!("the body cannot be read: {error}"))
        }
    })
}

/// Puts the counters of these routes at zero, so that the first failure is seen as an increase.
pub(super) fn begin_counters(endpoints: &[&'static str]) {
    for endpoint in endpoints {
        for status in ["2xx", "4xx", "5xx"] {
            let labels = [label("endpoint", *endpoint), label("status", status)];
            metrics().prediction_requests.add(0, &labels);
        }
    }
}

/// Hands a prediction to the router, and its answer to the client.
pub(super) async fn send(
    gateway: &Gateway,
    call: Call,
    request: &HttpRequest,
    asked: Framed<PredictRequest>,
) -> Result<HttpResponse, ApiError> {
    let start = Instant::now();
    let result = gateway.deps.router.predict(call, asked).await;
    let route = label("endpoint", matched_path(request));
    let status = match &result {
        Ok(_) => "2xx",
        Err(error) if error.code.status() < 500 => "4xx",
        Err(_) => "5xx",
    };
    let metrics = metrics();
    metrics.prediction_requests.add(1, &[route.clone(), label("status", status)]);
    record(&metrics.prediction_latency, start.elapsed(), &[route]);
    let answer = result?;
    let mut response = HttpResponse::Ok();
    response.content_type(answer.meta.content_type);
    if let Some(length) = answer.meta.header_length {
        response.insert_header((super::v2::HEADER_LENGTH, length));
    }
    if let Some(used) = answer.meta.cache {
        // RFC 9211.
        let told = match used {
            CacheUse::Hit => "decision-engine; hit",
            CacheUse::Miss => "decision-engine; fwd=miss",
            CacheUse::Request => "decision-engine; fwd=request",
            CacheUse::Bypass => "decision-engine; fwd=bypass",
        };
        response.insert_header(("cache-status", told));
    }
    Ok(response.body(answer.body))
}

/// What the client says of earlier answers, by `Cache-Control` (RFC 9111, section 5.2.1).
pub(super) fn cache_wish(request: &HttpRequest) -> CacheWish {
    let mut wish = CacheWish::Use;
    for line in request.headers().get_all(header::CACHE_CONTROL) {
        for directive in line.to_str().unwrap_or_default().split(',') {
            match directive.trim().to_ascii_lowercase().as_str() {
                "no-store" => return CacheWish::Avoid,
                "no-cache" | "max-age=0" => wish = CacheWish::Refresh,
                _ => {}
            }
        }
    }
    wish
}

/// Who is to keep the same version, as the header says.
fn unit_of_header(request: &HttpRequest) -> Result<Option<String>, ApiError> {
    match request.headers().get("x-user-id") {
        None => Ok(None),
        Some(value) => match value.to_str() {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(ApiError::new(
                ErrorCode::BadRequest,
                "the header `X-User-Id` must be visible ASCII: send other ids as `unit` in the body",
            )),
        },
    }
}

/// Who is to keep the same version: as the header says, as the body says, or as a cookie does for who
/// says nothing.
pub(super) fn unit_or_remembered(
    gateway: &Gateway,
    request: &HttpRequest,
    of_body: Option<String>,
) -> Result<(Option<String>, Option<Remembered>), ApiError> {
    if let Some(unit) = unit_of_header(request)?.or(of_body) {
        return Ok((Some(unit), None));
    }
    let remembered = aside::remembered(request, &gateway.unit_cookie)?;
    Ok((remembered.as_ref().map(|remembered| remembered.unit.clone()), remembered))
}

pub(super) struct Form {
    unit: Option<String>,
    context: Option<Bytes>,
    content_type: String,
    file: Bytes,
}

/// A form with one `file` and, if the client likes, a `unit` and a `context`.
pub(super) async fn read_form(mut parts: Multipart, limit: usize) -> Result<Form, ApiError> {
    let (mut file, mut unit, mut context) = (None, None, None);
    let mut left = limit;
    while let Some(part) = parts.try_next().await.map_err(|error| malformed(&error))? {
        let name = part.name().unwrap_or_default().to_owned();
        let content_type = part.content_type().map(ToString::to_string);
        let bytes = read_part(part, limit, &mut left).await?;
        match name.as_str() {
            "file" => file = Some((content_type.unwrap_or_default(), bytes)),
            "unit" => unit = Some(String::from_utf8_lossy(&bytes).into_owned()),
            "context" => context = Some(bytes),
            other => {
                return Err(ApiError::at(
                    format!("#/{}", other.escape_debug()),
                    "is not a part of a prediction: send `file` and, if you like, `unit` and `context`",
                ));
            }
        }
    }
    let (content_type, file) = file.ok_or_else(|| {
        ApiError::at("#/file", "is missing: send the picture as `file=@picture.jpg`")
    })?;
    // What a browser or curl does not recognise is judged by its bytes.
    let content_type = match content_type.as_str() {
        "" | "application/octet-stream" => "image/*".to_owned(),
        _ => content_type,
    };
    Ok(Form { unit, context, content_type, file })
}

fn header_text<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}
