//! The process's instruments, and how they are read.
//!
//! Labels come from closed lists (routes, codes, states) or from what an engineer registered (models
//! and versions), never from what a caller sends: so nobody can make series.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use contracts::ErrorCode;
use contracts::inference::Target;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{
    BoundCounter, BoundHistogram, Counter, Histogram, Meter, MeterProvider,
};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

use super::names::{self, keys};
use super::{process, resource};

/// The instruments that services record with.
#[derive(Debug)]
#[expect(missing_docs, reason = "`names` says what each is")]
pub struct Metrics {
    pub http_duration: Histogram<f64>,
    pub prediction_requests: Counter<u64>,
    pub prediction_latency: Histogram<f64>,
    pub limit_decisions: Counter<u64>,
    pub idempotent_requests: Counter<u64>,
    pub model_errors: Counter<u64>,
    pub rollbacks: Counter<u64>,
    pub rollback_duration: Histogram<f64>,
    pub router_retries: Counter<u64>,
    pub router_retries_refused: Counter<u64>,
    pub breaker_opens: Counter<u64>,
    pub response_cache: Counter<u64>,
    pub degraded_answers: Counter<u64>,
    pub sticky_assignments: Counter<u64>,
    pub output_filter: Counter<u64>,
    pub feedback: Counter<u64>,
    pub shadow_comparisons: Counter<u64>,
    pub rollout_decisions: Counter<u64>,
    pub rollout_batches_lost: Counter<u64>,
    pub events: Counter<u64>,
    pub events_lost: Counter<u64>,
    pub webhook_deliveries: Counter<u64>,
    pub spool_shipped: Counter<u64>,
    pub spool_dropped: Counter<u64>,
    pub inference_rejected: Counter<u64>,
    pub span_failures: Counter<u64>,
    model_requests: Counter<u64>,
    model_latency: Histogram<f64>,
    model_confidence: Histogram<f64>,
    model_compute: Histogram<f64>,
    meter: Meter,
    registry: Registry,
    provider: SdkMeterProvider,
}

impl Metrics {
    /// Reports a value that is read whenever metrics are.
    pub fn gauge(&self, name: &'static str, read: impl Fn() -> u64 + Send + Sync + 'static) {
        self.gauge_by(name, move |observe| observe(read(), &[]));
    }

    /// Reports values that are read whenever metrics are, each with its labels. There must be few.
    pub fn gauge_by(
        &self,
        name: &'static str,
        read: impl Fn(&mut dyn FnMut(u64, &[KeyValue])) + Send + Sync + 'static,
    ) {
        let observe = move |observer: &dyn opentelemetry::metrics::AsyncInstrument<u64>| {
            read(&mut |number, labels| observer.observe(number, labels));
        };
        self.meter.u64_observable_gauge(name).with_callback(observe).build();
    }

    /// As [`Metrics::gauge_by`], for shares from 0 to 1.
    pub fn share_by(
        &self,
        name: &'static str,
        read: impl Fn(&mut dyn FnMut(f64, &[KeyValue])) + Send + Sync + 'static,
    ) {
        let observe = move |observer: &dyn opentelemetry::metrics::AsyncInstrument<f64>| {
            read(&mut |share, labels| observer.observe(share, labels));
        };
        self.meter.f64_observable_gauge(name).with_callback(observe).build();
    }

    /// Reports a time in seconds that is read whenever metrics are.
    pub fn gauge_seconds(
        &self,
        name: &'static str,
        read: impl Fn() -> Duration + Send + Sync + 'static,
    ) {
        let gauge = self.meter.f64_observable_gauge(name).with_unit("s");
        gauge.with_callback(move |observer| observer.observe(read().as_secs_f64(), &[])).build();
    }

    /// All metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "failed to write the metrics");
        }
        text
    }
}

static METRICS: OnceLock<Metrics> = OnceLock::new();

/// The process's instruments.
pub fn metrics() -> &'static Metrics {
    #[expect(clippy::expect_used, reason = "a fresh registry takes any collector")]
    METRICS.get_or_init(|| build("decision-engine").expect("a fresh registry"))
}

/// Begins the metrics of this process, also those of libraries that know OpenTelemetry's API alone.
pub(super) fn begin(service: &'static str) -> Result<(), String> {
    let metrics = build(service)?;
    // Set before only where a test started several services in one process.
    let _ = METRICS.set(metrics);
    opentelemetry::global::set_meter_provider(self::metrics().provider.clone());
    Ok(())
}

fn build(service: &'static str) -> Result<Metrics, String> {
    let registry = Registry::new();
    let exporter = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .scope_info_enabled(false)
        .build()
        .map_err(|error| error.to_string())?;
    let provider =
        SdkMeterProvider::builder().with_reader(exporter).with_resource(resource(service)).build();
    let meter = provider.meter("decision-engine");
    let seconds = |name| {
        let bounds = names::SECONDS.to_vec();
        meter.f64_histogram(name).with_unit("s").with_boundaries(bounds).build()
    };
    let counter = |name| meter.u64_counter(name).build();
    let metrics = Metrics {
        http_duration: seconds(names::HTTP_DURATION),
        prediction_requests: counter(names::PREDICTION_REQUESTS),
        prediction_latency: seconds(names::PREDICTION_LATENCY),
        limit_decisions: counter(names::LIMIT_DECISIONS),
        idempotent_requests: counter(names::IDEMPOTENT_REQUESTS),
        model_errors: counter(names::MODEL_ERRORS),
        rollbacks: counter(names::ROLLBACKS),
        rollback_duration: seconds(names::ROLLBACK_DURATION),
        router_retries: counter(names::ROUTER_RETRIES),
        router_retries_refused: counter(names::ROUTER_RETRIES_REFUSED),
        breaker_opens: counter(names::BREAKER_OPENS),
        output_filter: counter(names::OUTPUT_FILTER),
        feedback: counter(names::FEEDBACK),
        rollout_decisions: counter(names::ROLLOUT_DECISIONS),
        rollout_batches_lost: counter(names::ROLLOUT_BATCHES_LOST),
        response_cache: counter(names::RESPONSE_CACHE),
        shadow_comparisons: counter(names::SHADOW_COMPARISONS),
        degraded_answers: counter(names::DEGRADED_ANSWERS),
        sticky_assignments: counter(names::STICKY_ASSIGNMENTS),
        events: counter(names::EVENTS),
        events_lost: counter(names::EVENTS_LOST),
        webhook_deliveries: counter(names::WEBHOOK_DELIVERIES),
        spool_shipped: counter(names::SPOOL_SHIPPED),
        spool_dropped: counter(names::SPOOL_DROPPED),
        inference_rejected: counter(names::REJECTED),
        span_failures: counter(names::SPAN_FAILURES),
        model_requests: counter(names::MODEL_REQUESTS),
        model_latency: seconds(names::MODEL_LATENCY),
        model_compute: seconds(names::MODEL_COMPUTE),
        model_confidence: meter
            .f64_histogram(names::MODEL_CONFIDENCE)
            .with_boundaries((1..20).map(|step| f64::from(step) * 0.05).collect())
            .build(),
        meter,
        registry,
        provider,
    };
    process::report(&metrics.meter);
    metrics.gauge_by(names::BUILD_INFO, |observe| {
        observe(1, &[label("version", env!("CARGO_PKG_VERSION"))]);
    });
    metrics.gauge_by(names::HTTP_ACTIVE, |observe| {
        for (method, count) in METHODS.iter().zip(&ACTIVE) {
            let labels = [label(keys::METHOD, *method), label(keys::SCHEME, "http")];
            observe(count.load(Ordering::Relaxed), &labels);
        }
    });
    Ok(metrics)
}

/// The verbs that are told apart: a client may send any word as one.
const METHODS: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "_OTHER"];
/// Requests under way, by verb.
static ACTIVE: [AtomicU64; METHODS.len()] = [const { AtomicU64::new(0) }; METHODS.len()];

/// A request under way. Ends when dropped.
pub(crate) struct Active(usize);

impl Active {
    pub(crate) fn new(method: &str) -> Self {
        let known = METHODS.iter().position(|known| *known == method);
        let active = Self(known.unwrap_or(METHODS.len() - 1));
        if let Some(count) = ACTIVE.get(active.0) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        active
    }

    /// The verb, as labels have it.
    pub(crate) fn method(&self) -> &'static str {
        METHODS.get(self.0).copied().unwrap_or("_OTHER")
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        if let Some(count) = ACTIVE.get(self.0) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Failures that are the engine's or the model's fault: there, at zero, before the first one.
const FAULTS: [ErrorCode; 3] = [ErrorCode::Internal, ErrorCode::Timeout, ErrorCode::Unavailable];

/// The instruments of one version, found once and not for every request.
#[derive(Debug)]
pub struct VersionMetrics {
    labels: [KeyValue; 2],
    requests: BoundCounter<u64>,
    latency: BoundHistogram<f64>,
    confidence: BoundHistogram<f64>,
}

impl VersionMetrics {
    /// The counters of a version begin at zero.
    pub fn new(target: &Target) -> Self {
        let labels = labels(target);
        let metrics = metrics();
        let requests = metrics.model_requests.bind(&labels);
        requests.add(0);
        let (latency, confidence) =
            (metrics.model_latency.bind(&labels), metrics.model_confidence.bind(&labels));
        let version = Self { labels, requests, latency, confidence };
        FAULTS.into_iter().for_each(|code| version.failures(code, 0));
        version
    }

    /// Counts an answered prediction.
    pub fn answered(&self, latency: Duration, confidence: Option<f64>) {
        self.requests.add(1);
        self.latency.record(latency.as_secs_f64());
        if let Some(confidence) = confidence {
            self.confidence.record(confidence);
        }
    }

    /// Counts a failed prediction.
    pub fn failed(&self, code: ErrorCode) {
        self.failures(code, 1);
    }

    fn failures(&self, code: ErrorCode, count: u64) {
        let [model, version] = self.labels.clone();
        let kind = label("error_type", code.as_str());
        metrics().model_errors.add(count, &[model, version, kind]);
    }
}

/// The times of the runs of one version.
#[derive(Debug, Clone)]
pub struct ComputeMetrics(BoundHistogram<f64>);

impl ComputeMetrics {
    /// Of this version.
    pub fn new(target: &Target) -> Self {
        Self(metrics().model_compute.bind(&labels(target)))
    }

    /// Counts a run.
    pub fn ran(&self, time: Duration) {
        self.0.record(time.as_secs_f64());
    }
}

/// The labels of a version; cheap to copy.
pub fn labels(target: &Target) -> [KeyValue; 2] {
    let text = |value: &dyn std::fmt::Display| Arc::<str>::from(value.to_string());
    [label("model", text(&target.model)), label("version", text(&target.version))]
}

/// A label with its value.
pub fn label(key: &'static str, value: impl Into<opentelemetry::Value>) -> KeyValue {
    KeyValue::new(key, value)
}

/// Records a duration in seconds.
pub fn record(histogram: &Histogram<f64>, time: Duration, labels: &[KeyValue]) {
    histogram.record(time.as_secs_f64(), labels);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_rendered() {
        let metrics = build("test").unwrap();
        metrics.model_requests.add(2, &[label("model", "iris"), label("version", "1")]);
        record(&metrics.http_duration, Duration::from_millis(3), &[label("http.route", "/x")]);
        metrics.gauge("engine_test_gauge", || 7);
        metrics.gauge_seconds("engine_test_age", || Duration::from_millis(1500));
        let text = metrics.render();
        for line in [
            "model_requests_total{model=\"iris\",version=\"1\"} 2",
            "http_server_request_duration_seconds_count{http_route=\"/x\"} 1",
            "engine_test_gauge 7",
            "engine_test_age_seconds 1.5",
            "engine_build_info{version=\"",
            "http_server_active_requests{http_request_method=\"GET\",url_scheme=\"http\"} ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
    }

    #[test]
    fn the_processor_time_has_fractions_of_a_second() {
        let metrics = build("test").unwrap();
        let used = || -> f64 {
            let text = metrics.render();
            let line =
                text.lines().find_map(|line| line.strip_prefix("process_cpu_seconds_total "));
            line.unwrap().parse().unwrap()
        };
        let before = used();
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_millis(200) {}
        let spent = used() - before;
        assert!(spent > 0.0, "{spent}");
    }

    #[test]
    fn a_version_has_its_counters_before_its_first_request() {
        let target =
            Target { model: "never-asked".parse().unwrap(), version: "7".parse().unwrap() };
        let version = VersionMetrics::new(&target);
        let has = |line: &str| {
            let text = metrics().render();
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        };
        has("model_requests_total{model=\"never-asked\",version=\"7\"} 0");
        for code in ["internal", "timeout", "unavailable"] {
            has(&format!(
                "model_errors_total{{error_type=\"{code}\",model=\"never-asked\",version=\"7\"}} 0"
            ));
        }
        version.answered(Duration::from_millis(2), Some(0.5));
        has("model_requests_total{model=\"never-asked\",version=\"7\"} 1");
        has("model_prediction_confidence_count{model=\"never-asked\",version=\"7\"} 1");
    }
}
