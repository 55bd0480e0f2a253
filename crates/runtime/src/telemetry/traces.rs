//! Traces: spans of this process, and how they get to a collector (OTLP over HTTP, protobuf).
//!
//! Without `telemetry.otlp_endpoint` there are no spans: what a caller sends in `traceparent` is
//! handed on as it came. Spans wait in a bounded queue for a thread of their own, so a collector that
//! is slow or gone costs no request anything.

use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use contracts::{ErrorCode, TraceContext};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags,
    TraceId, TraceState, Tracer as _, TracerProvider,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanData,
    SpanExporter,
};

use super::metrics::{label, metrics};
use super::names::keys;
use super::{Telemetry, resource};

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Sends spans to a collector. What waits is sent when it is dropped.
#[derive(Debug)]
pub(super) struct Export {
    provider: SdkTracerProvider,
    limit: Duration,
}

impl Drop for Export {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(self.limit) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Begins the traces of this process, also those of libraries that know OpenTelemetry's API alone,
/// if a collector is named.
pub(super) fn begin(service: &'static str, settings: &Telemetry) -> Result<Option<Export>, String> {
    let endpoint = settings.otlp_endpoint.trim_end_matches('/');
    if endpoint.is_empty() {
        return Ok(None);
    }
    let fits = endpoint.strip_prefix("http://").is_some_and(|rest| !rest.is_empty());
    if !fits {
        return Err(format!(
            "setting `telemetry.otlp_endpoint` is `{endpoint}`, but it must be a base URL such as `http://otel-collector:4318`, or empty"
        ));
    }
    if !(0.0..=1.0).contains(&settings.trace_ratio) {
        return Err(format!(
            "setting `telemetry.trace_ratio` is `{}`, but it must be 0 to 1",
            settings.trace_ratio
        ));
    }
    let limit = Duration::from_millis(settings.otlp_timeout_ms.max(1));
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .with_timeout(limit)
        .build()
        .map_err(|error| error.to_string())?;
    let exporter = Told { exporter, failing: AtomicBool::new(false) };
    let batch = BatchConfigBuilder::default()
        .with_max_queue_size(settings.otlp_queue.max(1))
        .with_max_export_batch_size(settings.otlp_queue.clamp(1, 512))
        .with_scheduled_delay(INTERVAL)
        .build();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.trace_ratio)));
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batch).build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_sampler(sampler)
        .with_resource(resource(service))
        .build();
    metrics().span_failures.add(0, &[]);
    // Set before only where a test started several services in one process.
    let _ = TRACER.set(provider.tracer("decision-engine"));
    opentelemetry::global::set_tracer_provider(provider.clone());
    tracing::info!(endpoint, ratio = settings.trace_ratio, "sending traces");
    Ok(Some(Export { provider, limit }))
}

/// Spans gather this long before they are sent.
const INTERVAL: Duration = Duration::from_secs(1);

/// An exporter whose failures are told, once until it works again.
#[derive(Debug)]
struct Told {
    exporter: opentelemetry_otlp::SpanExporter,
    failing: AtomicBool,
}

impl SpanExporter for Told {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        let failed = result.is_err();
        if failed {
            metrics().span_failures.add(1, &[]);
        }
        let before = self.failing.swap(failed, Ordering::Relaxed);
        match &result {
            Err(error) if !before => {
                tracing::warn!(%error, "the collector (`telemetry.otlp_endpoint`) takes no traces: they are dropped");
            }
            Ok(()) if before => tracing::info!("the collector takes traces again"),
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// A span under way; it ends when dropped. Nothing at all where traces are off.
#[derive(Debug, Default)]
pub struct Span(Option<opentelemetry_sdk::trace::Span>);

impl Span {
    /// The span of a step within this process. `trace` becomes its context, for what it calls.
    pub fn internal(trace: &mut TraceContext, name: &'static str) -> Self {
        // A step is part of a request, and what is not recorded of that is not of its steps.
        if !trace.sampled() {
            return Self::default();
        }
        Self::begin(trace, SpanBuilder::from_name(name).with_kind(SpanKind::Internal))
    }

    /// The span of a request that came over HTTP; [`Span::answered`] gives it its name.
    pub(crate) fn server(trace: &mut TraceContext, method: &'static str) -> Self {
        Self::begin(trace, SpanBuilder::from_name(method).with_kind(SpanKind::Server))
    }

    fn begin(trace: &mut TraceContext, builder: SpanBuilder) -> Self {
        let Some(tracer) = TRACER.get() else { return Self::default() };
        let span = tracer.build_with_context(builder, &remote(trace));
        let own = span.span_context();
        let (trace_id, span_id) = (own.trace_id().to_string(), own.span_id().to_string());
        *trace = trace.within(&trace_id, &span_id, own.is_sampled());
        Self(own.is_sampled().then_some(span))
    }

    /// Says more of it.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(label(key, value));
        }
    }

    /// As [`Span::set`], for what is a text first.
    pub fn set_text(&mut self, key: &'static str, value: &impl ToString) {
        if self.0.is_some() {
            self.set(key, value.to_string());
        }
    }

    /// Notes that something happened within it. What that says is asked for only where spans are
    /// recorded.
    pub fn event(&mut self, name: &'static str, says: impl FnOnce() -> Vec<KeyValue>) {
        if let Some(span) = &mut self.0 {
            span.add_event(name, says());
        }
    }

    /// Marks it as failed.
    pub fn failed(&mut self, code: ErrorCode) {
        self.set(keys::ERROR, code.as_str());
        if let Some(span) = &mut self.0 {
            span.set_status(Status::error(code.as_str()));
        }
    }

    /// Notes the answer to a request.
    pub(crate) fn answered(&mut self, answer: &Answer<'_>) {
        let Some(span) = &mut self.0 else { return };
        if answer.route != "unmatched" {
            span.update_name(format!("{} {}", answer.method, answer.route));
            span.set_attribute(label(keys::ROUTE, answer.route.to_owned()));
        }
        let path: String = answer.path.chars().take(LONGEST_PATH).collect();
        span.set_attributes([
            label(keys::METHOD, answer.method),
            label(keys::SCHEME, "http"),
            label(keys::PATH, path),
            label(keys::STATUS_CODE, i64::from(answer.status)),
            label(keys::REQUEST_ID, answer.request_id.to_owned()),
        ]);
        if let Some(code) = answer.failure {
            span.set_attribute(label(keys::ERROR, code.as_str()));
        }
        if answer.status >= 500 {
            span.set_status(Status::error(""));
        }
    }
}

/// A path is as long as a client likes.
const LONGEST_PATH: usize = 200;

/// An answer, for the span of its request.
pub(crate) struct Answer<'a> {
    pub(crate) method: &'static str,
    pub(crate) route: &'a str,
    pub(crate) path: &'a str,
    pub(crate) status: u16,
    pub(crate) request_id: &'a str,
    pub(crate) failure: Option<ErrorCode>,
}

/// The context that a caller's span is in.
fn remote(trace: &TraceContext) -> Context {
    let ids = TraceId::from_hex(trace.trace_id())
        .and_then(|trace_id| SpanId::from_hex(trace.span_id()).map(|span_id| (trace_id, span_id)));
    let Ok((trace_id, span_id)) = ids else { return Context::new() };
    let flags = if trace.sampled() { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let state = TraceState::from_str(&trace.state).unwrap_or_default();
    Context::new().with_remote_span_context(SpanContext::new(trace_id, span_id, flags, true, state))
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::*;

    fn refused(endpoint: &str, trace_ratio: f64) -> String {
        let settings = Telemetry {
            level: "info".to_owned(),
            format: Format::Json,
            access_log: true,
            otlp_endpoint: endpoint.to_owned(),
            trace_ratio,
            otlp_timeout_ms: 1,
            otlp_queue: 1,
        };
        begin("test", &settings).unwrap_err()
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_named_with_what_it_must_be() {
        for endpoint in ["collector:4318", "https://collector:4318", "http://"] {
            let text = refused(endpoint, 1.0);
            assert!(text.starts_with("setting `telemetry.otlp_endpoint` is `"), "{text}");
        }
        for ratio in [-0.1, 1.1, f64::NAN] {
            let text = refused("http://collector:4318", ratio);
            assert!(text.starts_with("setting `telemetry.trace_ratio` is `"), "{text}");
        }
    }

    #[test]
    fn without_a_collector_a_trace_is_handed_on_as_it_came() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut trace = TraceContext::accept(parent, "a=b").unwrap();
        let before = trace.clone();
        let _server = Span::server(&mut trace, "GET");
        let _step = Span::internal(&mut trace, "step");
        assert_eq!(trace, before);
        let kept = remote(&trace);
        let kept = kept.span().span_context().clone();
        assert_eq!(kept.trace_id().to_string(), trace.trace_id());
        assert!(kept.is_remote() && kept.is_sampled());
        assert_eq!(kept.trace_state().get("a"), Some("b"));
    }
}
