//! Logs, metrics and traces. Reading order: here (settings, start), [`metrics`](mod@metrics), then
//! [`traces`]. [`names`] holds all names.

pub mod metrics;
mod process;
pub mod traces;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::time::Duration;

use serde::Deserialize;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

pub use domain::metrics as names;
pub use metrics::{Metrics, VersionMetrics, label, metrics, record};
pub use traces::Span;

use crate::RuntimeError;

/// `[telemetry]`: logs and traces.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file says it")]
pub struct Telemetry {
    pub level: String,
    pub format: Format,
    pub access_log: bool,
    pub otlp_endpoint: String,
    pub trace_ratio: f64,
    pub otlp_timeout_ms: u64,
    pub otlp_queue: usize,
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

/// Flushes traces and logs when it is dropped at the end of `main`.
#[derive(Debug)]
pub struct Guard {
    // Before the logs, as its end may have something to say.
    _traces: Option<traces::Export>,
    _logs: WorkerGuard,
}

/// Sets up logs (to standard error, off the calling thread), metrics and, where a collector is
/// named, traces.
///
/// # Errors
/// If a setting cannot be used, or it was set up before.
pub fn init(service: &'static str, settings: &Telemetry) -> Result<Guard, RuntimeError> {
    let failed = |error: &dyn std::fmt::Display| RuntimeError::Telemetry(error.to_string());
    // Its library tells of its own set-up, which is nobody's business.
    let filter = EnvFilter::try_new(format!("opentelemetry=warn,{}", settings.level))
        .map_err(|error| failed(&format!("level `{}`: {error}", settings.level)))?;
    let (writer, guard) = tracing_appender::non_blocking(Paced(BufWriter::new(io::stderr())));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let result = match settings.format {
        Format::Pretty => logs.with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => logs.json().flatten_event(true).try_init(),
    };
    result.map_err(|error| failed(&*error))?;
    metrics::begin(service).map_err(|error| failed(&error))?;
    let traces = traces::begin(service, settings).map_err(|error| failed(&error))?;
    Ok(Guard { _traces: traces, _logs: guard })
}

/// What spans and metrics say of the process they come from.
fn resource(service: &'static str) -> opentelemetry_sdk::Resource {
    opentelemetry_sdk::Resource::builder()
        .with_service_name(service)
        .with_attribute(label("service.namespace", "decision-engine"))
        .with_attribute(label("service.version", env!("CARGO_PKG_VERSION")))
        // Tells replicas apart.
        .with_attribute(label("service.instance.id", domain::RequestId::new().to_string()))
        .build()
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
