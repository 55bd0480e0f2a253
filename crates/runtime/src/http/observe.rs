//! Around every request: its id, the error's body, the access log, the metric.

use std::time::{Duration, Instant};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage};
use contracts::TraceContext;

use super::access::{Allowed, matched_path};
use super::caller::{REQUEST_ID, request_id};
use super::client::client_address;
use super::problem::{ErrorFace, bounded, problem_json, translate};
use crate::telemetry::{label, metrics, record};

/// Whether requests are logged.
#[derive(Debug, Clone, Copy)]
pub(super) struct AccessLog(pub(super) bool);

pub(super) async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let start = Instant::now();
    let id = request_id(request.request());
    request.extensions_mut().insert(id.clone());
    let answer = next.call(request).await?;
    let mut answer = match answer.response().error().map(translate) {
        Some(error) => {
            let (request, _) = answer.into_parts();
            let face = request.app_data::<ErrorFace>().map_or(problem_json as _, |face| face.0);
            let mut response = face(&request, &bounded(error), id.as_str());
            if let Some(Allowed(verbs)) = request.extensions().get::<Allowed>()
                && let Ok(verbs) = HeaderValue::from_str(verbs)
            {
                response.headers_mut().insert(header::ALLOW, verbs);
            }
            ServiceResponse::new(request, response)
        }
        None => answer.map_into_boxed_body(),
    };
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        answer.headers_mut().insert(HeaderName::from_static(REQUEST_ID), value);
    }
    report(&answer, id.as_str(), start.elapsed());
    Ok(answer)
}

/// Counts the request, and logs it.
fn report(answer: &ServiceResponse<BoxBody>, id: &str, time: Duration) {
    let request = answer.request();
    let route = matched_path(request);
    let status = answer.status().as_u16();
    let method = known_method(request.method().as_str());
    let labels = [
        label("http.request.method", method),
        label("http.route", route.clone()),
        label("http.response.status_code", i64::from(status)),
        label("url.scheme", "http"),
    ];
    record(&metrics().http_duration, time, &labels);
    if request.app_data::<AccessLog>().is_some_and(|AccessLog(on)| *on) {
        let trace = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
        let trace = trace.and_then(|parent| TraceContext::accept(parent, ""));
        tracing::info!(
            target: "access",
            method,
            route = &*route,
            status,
            duration_ms = time.as_secs_f64() * 1000.0,
            client.address = client_address(request).map(tracing::field::display),
            request.id = id,
            trace.id = trace.as_ref().map(TraceContext::trace_id),
        );
    }
}

/// Bounds the label: a client may send any word as a method.
fn known_method(method: &str) -> &'static str {
    ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or("_OTHER")
}
