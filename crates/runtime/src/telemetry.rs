//! Logs and metrics. Names are here and nowhere else.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, MeterProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};
use serde::Deserialize;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

use crate::RuntimeError;

/// `[telemetry]`: logs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file says it")]
pub struct Telemetry {
    pub level: String,
    pub format: Format,
    pub access_log: bool,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Flushes the logs when it is dropped at the end of `main`.
#[derive(Debug)]
pub struct Guard {
    _logs: WorkerGuard,
}

/// Sets up logs (to standard error, off the calling thread) and metrics.
///
/// # Errors
/// If the level cannot be read, or it was set up before.
pub fn init(service: &'static str, settings: &Telemetry) -> Result<Guard, RuntimeError> {
    let failed = |error: &dyn std::fmt::Display| RuntimeError::Telemetry(error.to_string());
    let filter = EnvFilter::try_new(&settings.level)
        .map_err(|error| failed(&format!("level `{}`: {error}", settings.level)))?;
    let (writer, guard) = tracing_appender::non_blocking(Paced(BufWriter::new(io::stderr())));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let result = match settings.format {
        Format::Pretty => logs.with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => logs.json().flatten_event(true).try_init(),
    };
    result.map_err(|error| failed(&*error))?;
    metrics_for(service).map_err(|error| failed(&error))?;
    Ok(Guard { _logs: guard })
}

/// Lets lines gather after a flush, so that a busy engine writes many at once and does not wake the
/// log's thread for each.
struct Paced<W>(W);

/// How long lines may gather: too short for a person to notice.
const GATHER: Duration = Duration::from_millis(20);

impl<W: Write> Write for Paced<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()?;
        std::thread::sleep(GATHER);
        Ok(())
    }
}

/// Names of metrics, as OpenTelemetry and Prometheus have them (dots become underscores there).
pub mod names {
    /// Server time of each request, seconds.
    pub const HTTP_DURATION: &str = "http.server.request.duration";
    /// Predictions asked for, by route and status class.
    pub const PREDICTION_REQUESTS: &str = "prediction_requests";
    /// Time of a prediction at the gateway, seconds.
    pub const PREDICTION_LATENCY: &str = "prediction_latency";
    /// Predictions that failed, by model and kind of failure.
    pub const MODEL_ERRORS: &str = "model_errors";
    /// Predictions answered, by model and version.
    pub const MODEL_REQUESTS: &str = "model_requests";
    /// Time from the router to the answer, seconds, by model and version.
    pub const MODEL_LATENCY: &str = "model_request_latency";
    /// Highest class probability, by model and version.
    pub const MODEL_CONFIDENCE: &str = "model_prediction_confidence";
    /// Inference replicas that a router knows, by state.
    pub const ROUTER_REPLICAS: &str = "engine_router_replicas";
    /// Predictions sent to one more replica, by reason.
    pub const ROUTER_RETRIES: &str = "engine_router_retries";
    /// Predictions not sent to one more replica, as the retry budget was used up.
    pub const ROUTER_RETRIES_REFUSED: &str = "engine_router_retries_refused";
    /// Breakers of inference replicas that opened.
    pub const BREAKER_OPENS: &str = "engine_router_breaker_opens";
    /// Records in the spool that the prediction log has not got yet.
    pub const SPOOL_PENDING: &str = "engine_spool_pending_records";
    /// Records that could not be kept, as the spool was full or its disk failed.
    pub const SPOOL_DROPPED: &str = "engine_spool_dropped_records";
}

/// The instruments that services record with.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "`names` says what each is")]
pub struct Metrics {
    pub http_duration: Histogram<f64>,
    pub prediction_requests: Counter<u64>,
    pub prediction_latency: Histogram<f64>,
    pub model_errors: Counter<u64>,
    pub model_requests: Counter<u64>,
    pub model_latency: Histogram<f64>,
    pub model_confidence: Histogram<f64>,
    pub router_retries: Counter<u64>,
    pub router_retries_refused: Counter<u64>,
    pub breaker_opens: Counter<u64>,
    pub spool_dropped: Counter<u64>,
    meter: Meter,
    registry: Registry,
    /// Kept, as its end would end the metrics.
    _provider: SdkMeterProvider,
}

impl Metrics {
    /// Reports a value that is read whenever metrics are.
    pub fn gauge(&self, name: &'static str, read: impl Fn() -> u64 + Send + Sync + 'static) {
        self.meter
            .u64_observable_gauge(name)
            .with_callback(move |observer| observer.observe(read(), &[]))
            .build();
    }

    /// Reports values that are read whenever metrics are, each with its own value of one label. The
    /// label's values must be a short, fixed list.
    pub fn gauge_by(
        &self,
        name: &'static str,
        key: &'static str,
        read: impl Fn() -> Vec<(&'static str, u64)> + Send + Sync + 'static,
    ) {
        let observe = move |observer: &dyn opentelemetry::metrics::AsyncInstrument<u64>| {
            for (value, number) in read() {
                observer.observe(number, &[label(key, value)]);
            }
        };
        self.meter.u64_observable_gauge(name).with_callback(observe).build();
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
    METRICS.get_or_init(|| build_metrics("decision-engine").expect("a fresh registry"))
}

fn metrics_for(service: &'static str) -> Result<(), String> {
    let metrics = build_metrics(service)?;
    // Set before only where a test started several services in one process.
    let _ = METRICS.set(metrics);
    Ok(())
}

fn build_metrics(service: &'static str) -> Result<Metrics, String> {
    let registry = Registry::new();
    let process = prometheus::process_collector::ProcessCollector::for_self();
    registry.register(Box::new(process)).map_err(|error| error.to_string())?;
    let exporter = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .scope_info_enabled(false)
        .build()
        .map_err(|error| error.to_string())?;
    let resource = Resource::builder().with_service_name(service).build();
    let provider =
        SdkMeterProvider::builder().with_reader(exporter).with_resource(resource).build();
    let meter = provider.meter("decision-engine");
    let seconds =
        |name| meter.f64_histogram(name).with_unit("s").with_boundaries(SECONDS.to_vec()).build();
    let counter = |name| meter.u64_counter(name).build();
    Ok(Metrics {
        http_duration: seconds(names::HTTP_DURATION),
        prediction_requests: counter(names::PREDICTION_REQUESTS),
        prediction_latency: seconds(names::PREDICTION_LATENCY),
        model_errors: counter(names::MODEL_ERRORS),
        model_requests: counter(names::MODEL_REQUESTS),
        model_latency: seconds(names::MODEL_LATENCY),
        model_confidence: meter
            .f64_histogram(names::MODEL_CONFIDENCE)
            .with_boundaries((1..20).map(|step| f64::from(step) * 0.05).collect())
            .build(),
        router_retries: counter(names::ROUTER_RETRIES),
        router_retries_refused: counter(names::ROUTER_RETRIES_REFUSED),
        breaker_opens: counter(names::BREAKER_OPENS),
        spool_dropped: counter(names::SPOOL_DROPPED),
        meter,
        registry,
        _provider: provider,
    })
}

/// Histogram bounds: OpenTelemetry's advice for HTTP, with three below for an engine this fast.
const SECONDS: [f64; 17] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0,
    7.5, 10.0,
];

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
        let metrics = build_metrics("test").unwrap();
        metrics.model_requests.add(2, &[label("model", "iris"), label("version", "1")]);
        record(&metrics.http_duration, Duration::from_millis(3), &[label("http.route", "/x")]);
        metrics.gauge("engine_test_gauge", || 7);
        let text = metrics.render();
        for line in [
            "model_requests_total{model=\"iris\",version=\"1\"} 2",
            "http_server_request_duration_seconds_count{http_route=\"/x\"} 1",
            "engine_test_gauge 7",
            "process_resident_memory_bytes ",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
    }
}
