//! How failures look: a problem document, or what another protocol's clients expect.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use contracts::{ApiError, ErrorCode};
use runtime::http::problem_json;
use serde_json::json;

/// Chooses the look by the path.
pub fn error_face(request: &HttpRequest, error: &ApiError, request_id: &str) -> HttpResponse {
    let of_v2 = request.path() == "/v2" || request.path().starts_with("/v2/");
    if !of_v2 {
        return problem_json(request, error, request_id);
    }
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("application/problem+json")) {
        return problem_json(request, error, request_id);
    }
    // The protocol knows no 422: a bad argument is 400.
    let mut told = error.clone();
    if told.code == ErrorCode::Unprocessable {
        told.code = ErrorCode::BadRequest;
    }
    let mut response = problem_json(request, &told, request_id);
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    let body = json!({"error": error.message, "request_id": request_id}).to_string();
    response.set_body(actix_web::body::BoxBody::new(body))
}

const JSON: header::HeaderValue = header::HeaderValue::from_static("application/json");
