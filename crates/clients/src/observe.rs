//! What is measured of each call: its time and, where the caller records a trace, a span.
//!
//! Here is OpenTelemetry's API alone: it does nothing unless the process set telemetry up.

use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Instant;

use contracts::TraceContext;
use domain::metrics::{self as names, keys};
use opentelemetry::global::{self, BoxedSpan, BoxedTracer};
use opentelemetry::metrics::Histogram;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags,
    TraceId, TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use reqwest::{Response, StatusCode};

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    let meter = global::meter("decision-engine");
    let duration = meter.f64_histogram(names::CLIENT_DURATION).with_unit("s");
    duration.with_boundaries(names::SECONDS.to_vec()).build()
});
static TRACER: LazyLock<BoxedTracer> = LazyLock::new(|| global::tracer("decision-engine"));

/// A request on its way. Dropped without an answer, it was broken off and counts for nothing.
pub(crate) struct Observed {
    service: &'static str,
    path: &'static str,
    began: Instant,
    span: Option<BoxedSpan>,
}

impl Observed {
    /// Begins. The second part is the context to send, if it is another than the caller's.
    pub(crate) fn begin(
        trace: &TraceContext,
        service: &'static str,
        path: &'static str,
        resent: u32,
    ) -> (Self, Option<TraceContext>) {
        let mut observed = Self { service, path, began: Instant::now(), span: None };
        if !trace.sampled() {
            return (observed, None);
        }
        let mut attributes = observed.labels().to_vec();
        if resent > 0 {
            attributes.push(KeyValue::new(keys::RESEND_COUNT, i64::from(resent)));
        }
        let builder = SpanBuilder::from_name(format!("POST {path}"))
            .with_kind(SpanKind::Client)
            .with_attributes(attributes);
        let span = TRACER.build_with_context(builder, &parent(trace));
        if !span.is_recording() {
            return (observed, None);
        }
        let own = span.span_context();
        let sent = trace.within(&own.trace_id().to_string(), &own.span_id().to_string(), true);
        observed.span = Some(span);
        (observed, Some(sent))
    }

    /// Ends with what came of it.
    pub(crate) fn end(mut self, result: &Result<Response, reqwest::Error>) {
        let failure = match result {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(kind_of(response.status())),
            Err(error) if error.is_connect() => Some("connection"),
            Err(error) if error.is_timeout() => Some("timeout"),
            Err(_) => Some("_OTHER"),
        };
        let [method, server, template, scheme] = self.labels();
        let status = result.as_ref().map_or(0, |response| i64::from(response.status().as_u16()));
        let status = KeyValue::new(keys::STATUS_CODE, status);
        let kind = KeyValue::new(keys::ERROR, failure.unwrap_or_default());
        let labels = [status, method, server, template, scheme, kind];
        // Without an answer there is no status; without a failure there is no kind of one.
        let from = usize::from(result.is_err());
        let to = labels.len() - usize::from(failure.is_none());
        let known = labels.get(from..to).unwrap_or_default();
        DURATION.record(self.began.elapsed().as_secs_f64(), known);
        if let Some(span) = &mut self.span {
            span.set_attributes(known.iter().cloned());
            if let Some(failure) = failure {
                span.set_status(Status::error(failure));
            }
        }
    }

    fn labels(&self) -> [KeyValue; 4] {
        [
            KeyValue::new(keys::METHOD, "POST"),
            // The service, not the machine: replicas come and go, and each would be a series.
            KeyValue::new(keys::SERVER, self.service),
            KeyValue::new(keys::TEMPLATE, self.path),
            KeyValue::new(keys::SCHEME, "http"),
        ]
    }
}

/// The status as a label; services answer with few.
fn kind_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        409 => "409",
        413 => "413",
        422 => "422",
        429 => "429",
        500 => "500",
        503 => "503",
        504 => "504",
        _ => "_OTHER",
    }
}

fn parent(trace: &TraceContext) -> Context {
    let ids = TraceId::from_hex(trace.trace_id())
        .and_then(|trace_id| SpanId::from_hex(trace.span_id()).map(|span_id| (trace_id, span_id)));
    let Ok((trace_id, span_id)) = ids else { return Context::new() };
    let state = TraceState::from_str(&trace.state).unwrap_or_default();
    let context = SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, true, state);
    Context::new().with_remote_span_context(context)
}
