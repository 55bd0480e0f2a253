//! Around every request: its id, the error's body, the access log, the metric.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest};
use contracts::{ApiError, ErrorCode, TraceContext};
use domain::RequestId;

use super::access::{Allowed, matched_in, matched_path};
use super::caller::{Caller, REQUEST_ID, request_id};
use super::client::client_address;
use super::problem::{ErrorFace, bounded, problem_json, translate};
use super::server::SetHeaders;
use crate::audit::{Recorder, Refusal};
use crate::telemetry::metrics::Active;
use crate::telemetry::names::keys;
use crate::telemetry::traces::Answer;
use crate::telemetry::{Span, label, metrics, record};

/// Whether requests are logged.
#[derive(Debug, Clone, Copy)]
pub(super) struct AccessLog(pub(super) bool);

/// Who is told of what callers were not allowed to do.
#[derive(Clone)]
pub(super) struct Refusals(pub(super) Option<Arc<Recorder>>);

/// What the auth service puts on record itself.
const OF_AUTH: &str = "/api/v1/auth/";

/// Puts on record that a caller was refused.
fn record_refusal(request: &HttpRequest, error: &ApiError, id: &RequestId) {
    if !matches!(error.code, ErrorCode::Unauthenticated | ErrorCode::Forbidden)
        || request.path().starts_with(OF_AUTH)
    {
        return;
    }
    let Some(Refusals(Some(recorder))) = request.app_data() else { return };
    let extensions = request.extensions();
    let caller = extensions.get::<Caller>().and_then(|Caller(call)| call.principal.as_ref());
    // What strangers ask for is not repeated: each path would be an entry of its own.
    let path = match caller {
        Some(_) => Cow::Borrowed(request.path()),
        None => matched_in(&extensions, request),
    };
    recorder.refused(Refusal {
        action: "request",
        principal: caller,
        client: client_address(request),
        request_id: id,
        target: format!("{} {path}", request.method()),
        reason: &error.message,
    });
}

pub(super) async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let start = Instant::now();
    let active = Active::new(request.method().as_str());
    let id = request_id(request.request());
    request.extensions_mut().insert(id.clone());
    let (mut span, trace) = begin_span(&request, &active);
    let answer = next.call(request).await?;
    let mut failure = None;
    let mut answer = match answer.response().error().map(translate) {
        Some(error) => {
            failure = Some(error.code);
            let (request, refused) = answer.into_parts();
            record_refusal(&request, &error, &id);
            let face = request.app_data::<ErrorFace>().map_or(problem_json as _, |face| face.0);
            let mut response = face(&request, &bounded(error), id.as_str());
            if let Some(Allowed(verbs)) = request.extensions().get::<Allowed>()
                && let Ok(verbs) = HeaderValue::from_str(verbs)
            {
                response.headers_mut().insert(header::ALLOW, verbs);
            }
            // What was said beside the failure: what is left of a limit, which page may read it.
            for (name, value) in refused.headers() {
                if !response.headers().contains_key(name) {
                    response.headers_mut().append(name.clone(), value.clone());
                }
            }
            ServiceResponse::new(request, response)
        }
        None => answer.map_into_boxed_body(),
    };
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        answer.headers_mut().insert(HeaderName::from_static(REQUEST_ID), value);
    }
    let asked = answer.request().clone();
    if let Some(set) = asked.app_data::<SetHeaders>() {
        set(&asked, answer.headers_mut());
    }
    drop(asked);
    report(&answer, &active, id.as_str(), start.elapsed(), failure, &trace, &mut span);
    Ok(answer)
}

/// Probes and scrapes come all the time, and nobody wants their traces.
const UNTRACED: [&str; 5] = ["/livez", "/metrics", "/readyz", "/healthz", "/health"];

/// The span of the request, and the trace that goes on from it.
fn begin_span(request: &ServiceRequest, active: &Active) -> (Span, TraceContext) {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let mut trace = text("traceparent")
        .and_then(|parent| TraceContext::accept(parent, text("tracestate").unwrap_or_default()))
        .unwrap_or_default();
    let span = if UNTRACED.contains(&request.path()) {
        Span::default()
    } else {
        Span::server(&mut trace, active.method())
    };
    if !trace.parent.is_empty() {
        request.extensions_mut().insert(trace.clone());
    }
    (span, trace)
}

/// Counts the request, and logs it.
fn report(
    answer: &ServiceResponse<BoxBody>,
    active: &Active,
    id: &str,
    time: Duration,
    failure: Option<ErrorCode>,
    trace: &TraceContext,
    span: &mut Span,
) {
    let request = answer.request();
    let route = matched_path(request);
    let status = answer.status().as_u16();
    let method = active.method();
    let error = failure.map_or("_OTHER", ErrorCode::as_str);
    let labels = [
        label(keys::METHOD, method),
        label(keys::ROUTE, route.clone()),
        label(keys::STATUS_CODE, i64::from(status)),
        label(keys::SCHEME, "http"),
        label(keys::ERROR, error),
    ];
    // The convention has the last one for failures of the server only.
    let count = if status >= 500 { labels.len() } else { labels.len() - 1 };
    record(&metrics().http_duration, time, labels.get(..count).unwrap_or_default());
    let path = request.path();
    span.answered(&Answer { method, route: &route, path, status, request_id: id, failure });
    // Whoever watches asks every few seconds, for ever.
    let watching = status < 400 && matches!(path, "/livez" | "/readyz" | "/metrics");
    if !watching && request.app_data::<AccessLog>().is_some_and(|AccessLog(on)| *on) {
        let trace_id = trace.trace_id();
        tracing::info!(
            target: "access",
            method,
            route = &*route,
            status,
            duration_ms = time.as_secs_f64() * 1000.0,
            client.address = client_address(request).map(tracing::field::display),
            request.id = id,
            trace.id = (!trace_id.is_empty()).then_some(trace_id),
        );
    }
}
