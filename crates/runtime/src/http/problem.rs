//! A failure as HTTP: the one place where an error code becomes a status.

use std::fmt;

use actix_web::error::{JsonPayloadError, PathError, PayloadError, QueryPayloadError};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use contracts::{ApiError, ErrorCode};
use serde_json::{Value, json};

/// Lets a handler fail with an [`ApiError`]. The body is written further out, where the request is
/// known.
#[derive(Debug, Clone)]
pub struct Problem(pub ApiError);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}

/// How a failure looks to the client. Protocols of other people have their own.
#[derive(Clone, Copy)]
pub struct ErrorFace(pub fn(&HttpRequest, &ApiError, &str) -> HttpResponse);

/// The problem document of RFC 9457, with the code, the request id and the values at fault.
pub fn problem_json(_request: &HttpRequest, error: &ApiError, request_id: &str) -> HttpResponse {
    let mut response = response(error);
    response.content_type("application/problem+json").json(body(error, request_id))
}

/// What serde says, without the value that it quotes: it may be a password.
fn without_values(cause: &str) -> String {
    match (cause.split_once(": "), cause.split_once(", expected")) {
        (Some((kind @ ("invalid type" | "invalid value"), _)), Some((_, expected))) => {
            format!("{kind}, expected{expected}")
        }
        _ => cause.to_owned(),
    }
}

/// The types of problem that the IETF's draft on rate limit headers registers, with their titles.
const QUOTA_EXCEEDED: (&str, &str) = (
    "https://iana.org/assignments/http-problem-types#quota-exceeded",
    "Request cannot be satisfied as assigned quota has been exceeded",
);
const REDUCED_CAPACITY: (&str, &str) = (
    "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
    "Request cannot be satisfied due to temporary server capacity constraints",
);

/// The members of a problem document.
pub(super) fn body(error: &ApiError, request_id: &str) -> Value {
    let status = error.code.status();
    let title = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let (kind, title) = match error.code {
        ErrorCode::RateLimited if !error.violated_policies.is_empty() => QUOTA_EXCEEDED,
        ErrorCode::Unavailable if !error.violated_policies.is_empty() => REDUCED_CAPACITY,
        _ => ("about:blank", title.unwrap_or_default()),
    };
    let mut body = json!({
        "type": kind,
        "title": title,
        "status": status,
        "detail": error.message,
        "instance": format!("urn:request:{request_id}"),
        "code": error.code,
        "request_id": request_id,
    });
    if let (Some(body), false) = (body.as_object_mut(), error.errors.is_empty()) {
        body.insert("errors".to_owned(), json!(error.errors));
    }
    if let (Some(body), false) = (body.as_object_mut(), error.violated_policies.is_empty()) {
        body.insert("violated-policies".to_owned(), json!(error.violated_policies));
    }
    body
}

/// A response with the failure's status and headers, and no body yet.
pub(super) fn response(error: &ApiError) -> actix_web::HttpResponseBuilder {
    let status = StatusCode::from_u16(error.code.status()).unwrap_or_default();
    let mut response = HttpResponse::build(status);
    if let Some(seconds) = error.retry_after_s {
        response.insert_header((header::RETRY_AFTER, seconds));
    }
    if error.code == ErrorCode::Unauthenticated {
        let challenge = if error.message.starts_with("missing") {
            "Bearer realm=\"decision-engine\""
        } else {
            "Bearer realm=\"decision-engine\", error=\"invalid_token\""
        };
        response.insert_header((header::WWW_AUTHENTICATE, challenge));
    }
    if error.code == ErrorCode::Forbidden {
        let challenge = "Bearer realm=\"decision-engine\", error=\"insufficient_scope\"";
        response.insert_header((header::WWW_AUTHENTICATE, challenge));
    }
    response
}

/// Characters of one message, and faults in one answer: a client's own long words are not sent back.
const MESSAGE_CHARS: usize = 1000;
const FAULTS: usize = 100;

/// The failure with long texts cut.
pub(super) fn bounded(mut error: ApiError) -> ApiError {
    cut(&mut error.message);
    error.errors.truncate(FAULTS);
    for fault in &mut error.errors {
        cut(&mut fault.pointer);
        cut(&mut fault.detail);
    }
    error
}

fn cut(text: &mut String) {
    if let Some((place, _)) = text.char_indices().nth(MESSAGE_CHARS) {
        text.truncate(place);
        text.push('…');
    }
}

/// What actix refused by itself, in our words.
pub(super) fn translate(error: &actix_web::Error) -> ApiError {
    if let Some(Problem(error)) = error.as_error::<Problem>() {
        return error.clone();
    }
    let too_large = || {
        ApiError::new(
            ErrorCode::TooLarge,
            "the request body is larger than the limit: see the settings `http.max_body_bytes` and `http.max_upload_bytes`",
        )
    };
    if matches!(error.as_error(), Some(PayloadError::Overflow)) {
        return too_large();
    }
    match error.as_error::<JsonPayloadError>() {
        Some(JsonPayloadError::Overflow { .. } | JsonPayloadError::OverflowKnownLength { .. }) => {
            return too_large();
        }
        Some(JsonPayloadError::Deserialize(cause)) if cause.is_data() => {
            return ApiError::new(
                ErrorCode::Unprocessable,
                format!("the JSON body breaks its schema: {}", without_values(&cause.to_string())),
            );
        }
        Some(JsonPayloadError::ContentType) => {
            return ApiError::new(
                ErrorCode::BadRequest,
                "the body must be JSON: send `Content-Type: application/json`",
            );
        }
        Some(other) => {
            return ApiError::new(ErrorCode::BadRequest, format!("the body is not JSON: {other}"));
        }
        None => {}
    }
    let bad_request = |what: String| ApiError::new(ErrorCode::BadRequest, what);
    if let Some(error) = error.as_error::<PathError>() {
        return bad_request(format!("path: {error}"));
    }
    if let Some(error) = error.as_error::<QueryPayloadError>() {
        return bad_request(format!("query: {error}"));
    }
    if error.as_response_error().status_code().is_client_error() {
        return bad_request(error.to_string());
    }
    tracing::error!(%error, "request failed");
    ApiError::internal()
}
