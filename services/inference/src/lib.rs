//! The inference service: holds loaded versions and runs them.
//!
//! Reading order: [`service`] (the trait), `residency` (what is loaded: load, verify, warm, swap,
//! drain, free), `executor` (where and when a model runs), `codec` (payloads into tensors, tensors
//! into answers), [`settings`].
//!
//! Invariants: a version answers only once it was loaded, verified and warmed; work that nobody
//! waits for any more is not done; the queue is bounded, and full means `unavailable`, at once; a
//! version whose answers depend on their neighbours is never batched.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use runtime::Process;
use storage::ports::Artifacts;

pub mod error;
pub mod service;
pub mod settings;

mod codec;
mod executor;
mod http;
mod report;
mod residency;
mod ruled;
#[cfg(test)]
mod stage;

pub use error::InferenceError;
pub use http::http;
pub use service::Service;
pub use settings::{DEFAULTS, Settings};

/// What the service works with.
pub struct Deps {
    /// Model files.
    pub artifacts: Arc<dyn Artifacts>,
    /// Where `libonnxruntime.so` may be, in order, if the setting `inference.onnxruntime` is empty:
    /// `ORT_DYLIB_PATH`, the data folder. Beside the executable and the system follow anyway.
    pub onnxruntime: Vec<PathBuf>,
}

/// Builds the service and starts its worker threads. ONNX Runtime is looked for when the first ONNX
/// model is loaded, so that everything else works without it.
///
/// # Errors
/// [`InferenceError::Setting`] for a value that cannot work; [`InferenceError::Thread`] if the
/// system gives no threads.
pub fn build(settings: Settings, deps: Deps) -> Result<Arc<Service>, InferenceError> {
    settings.check()?;
    Service::new(settings, deps).map(Arc::new)
}

/// How often idle versions are looked for.
const IDLE_CHECK: Duration = Duration::from_secs(10);

/// Starts the background work: unloading idle versions.
pub fn background(service: &Arc<Service>, process: &Process) {
    report::report(service);
    let service = Arc::clone(service);
    process.spawn(async move {
        loop {
            tokio::time::sleep(IDLE_CHECK).await;
            for target in service.unload_idle(Instant::now()).await {
                tracing::info!(model = %target.model, version = %target.version, "unloaded an idle version");
            }
        }
    });
}
