//! What can go wrong in the inference service.

use std::io;

use contracts::inference::Target;
use contracts::{ApiError, ErrorCode};
use models::ModelError;
use storage::StoreError;
use tokio::task::JoinError;

/// A failure of the inference service.
#[derive(Debug, thiserror::Error)]
pub enum InferenceError {
    /// The caller may not do this, asked for it in the wrong way, or too late.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// The version is not loaded on this replica.
    #[error("version `{}` of model `{}` is not loaded on this replica", .0.version, .0.model)]
    NotLoaded(Target),
    /// Too much is waiting.
    #[error("too many predictions are waiting on this replica (`inference.queue_limit`)")]
    Overloaded,
    /// The model, or what was asked of it.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The store of the model files.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file in the store has another size than the registry says.
    #[error(
        "file `{name}` has {found} bytes in the store, the registry says {told}: upload it again"
    )]
    Size {
        /// The file's name in the package.
        name: String,
        /// Bytes found.
        found: u64,
        /// Bytes registered.
        told: u64,
    },
    /// The version alone needs more than the limit.
    #[error(
        "the version needs {needed_mb} MiB, the limit is {limit_mb}: raise `inference.memory_limit_mb`"
    )]
    TooBig {
        /// MiB it needs.
        needed_mb: u64,
        /// MiB allowed.
        limit_mb: u64,
    },
    /// All versions that could make room are busy.
    #[error(
        "no room for {needed_mb} MiB: the loaded versions are busy, the limit is {limit_mb} MiB (`inference.memory_limit_mb`)"
    )]
    NoRoom {
        /// MiB needed.
        needed_mb: u64,
        /// MiB allowed.
        limit_mb: u64,
    },
    /// A setting has a value that cannot work.
    #[error("setting `{setting}` is `{value}`, but it must be {least} to {most}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: u64,
        /// The least it may be.
        least: u64,
        /// The most it may be.
        most: u64,
    },
    /// The system gives no thread.
    #[error("failed to start a worker thread")]
    Thread(#[source] io::Error),
    /// Work on another thread came to no end.
    #[error("work on another thread was broken off")]
    BrokenOff(#[source] JoinError),
    /// A worker gave up a job without an answer.
    #[error("a worker gave up a job")]
    Lost,
}

impl From<InferenceError> for ApiError {
    fn from(error: InferenceError) -> Self {
        let text = error.to_string();
        match error {
            InferenceError::Refused(error) => error,
            InferenceError::NotLoaded(_) => Self::new(ErrorCode::NotFound, text),
            InferenceError::Overloaded | InferenceError::NoRoom { .. } => {
                Self::new(ErrorCode::Unavailable, text).retry_after(1)
            }
            InferenceError::TooBig { .. } => Self::new(ErrorCode::TooLarge, text),
            InferenceError::Size { .. } => Self::new(ErrorCode::Unprocessable, text),
            InferenceError::Model(error) => of_model(error),
            InferenceError::Store(error) => of_store(error),
            InferenceError::Setting { .. }
            | InferenceError::Thread(_)
            | InferenceError::BrokenOff(_)
            | InferenceError::Lost => {
                log(&error);
                Self::internal()
            }
        }
    }
}

/// The failure of a prediction. A model that cannot answer what was asked in the right form is at fault
/// itself, not whoever asked: versions are compared by such failures.
pub(crate) fn of_prediction(error: InferenceError) -> ApiError {
    match error {
        InferenceError::Model(error @ (ModelError::Run { .. } | ModelError::Output { .. })) => {
            tracing::warn!(%error, "a model failed");
            ApiError::internal()
        }
        error => error.into(),
    }
}

fn of_model(error: ModelError) -> ApiError {
    let code = match error {
        ModelError::Library { .. } => ErrorCode::Unavailable,
        _ => ErrorCode::Unprocessable,
    };
    ApiError::new(code, error.to_string())
}

fn of_store(error: StoreError) -> ApiError {
    match error {
        StoreError::NotFound { .. } => ApiError::new(ErrorCode::NotFound, error.to_string()),
        StoreError::Tampered { .. } => ApiError::new(ErrorCode::Unprocessable, error.to_string()),
        StoreError::Unavailable { .. } => {
            log(&error);
            ApiError::new(ErrorCode::Unavailable, "the model files cannot be reached: try again")
                .retry_after(1)
        }
        // A key that is missing is for whoever runs the engine to mend.
        StoreError::Setting { .. } => {
            log(&error);
            ApiError::new(ErrorCode::Unavailable, error.to_string())
        }
        _ => {
            log(&error);
            ApiError::internal()
        }
    }
}

fn log(error: &(dyn std::error::Error + 'static)) {
    tracing::error!(error, "inference service failed");
}
