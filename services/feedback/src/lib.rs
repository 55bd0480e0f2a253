//! The feedback service: ground truth for predictions.
//!
//! Reading order: [`service`] (what it does), `intake` (what clients send), [`settings`], [`error`].
//!
//! Invariants: the same feedback from the same source is kept once, and nothing is ever changed: a
//! correction is kept beside what it corrects, and readers go by `domain::feedback::latest`. Feedback
//! may come before the log knows the prediction, so an unknown one is told, not refused.

use std::sync::Arc;

use domain::Clock;
use storage::ports::{FeedbackStore, PredictionLog};

pub mod error;
mod http;
mod intake;
pub mod service;
pub mod settings;

pub use error::FeedbackError;
pub use http::http;
pub use service::FeedbackService;
pub use settings::{DEFAULTS, Settings};

/// What the service works with.
pub struct Deps {
    /// Where feedback is kept.
    pub feedback: Arc<dyn FeedbackStore>,
    /// The log of answered predictions.
    pub predictions: Arc<dyn PredictionLog>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// Builds the service.
pub fn build(settings: Settings, deps: Deps) -> Arc<FeedbackService> {
    service::begin_counters();
    Arc::new(FeedbackService { settings, deps })
}
