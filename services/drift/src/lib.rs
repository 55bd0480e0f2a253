//! The drift service: what the live predictions look like.
//!
//! Reading order: [`service`] (what it does), `summary` (the arithmetic), [`settings`], [`error`].
//!
//! Invariant: what a summary reads is bounded by `drift.max_records`, whatever the window.

use std::sync::Arc;

use domain::Clock;
use storage::ports::PredictionLog;

pub mod error;
mod http;
pub mod service;
pub mod settings;

mod summary;

pub use error::DriftError;
pub use http::http;
pub use service::DriftService;
pub use settings::{DEFAULTS, Settings};

/// What the service works with.
pub struct Deps {
    /// The log of answered predictions.
    pub predictions: Arc<dyn PredictionLog>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// Builds the service.
///
/// # Errors
/// [`DriftError::Setting`] for a setting that cannot work.
pub fn build(settings: Settings, deps: Deps) -> Result<Arc<DriftService>, DriftError> {
    settings.check()?;
    Ok(Arc::new(DriftService { settings, deps }))
}
