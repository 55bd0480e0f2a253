//! What can go wrong in the drift service.

use contracts::{ApiError, ErrorCode};
use storage::StoreError;

/// A failure of the drift service.
#[derive(Debug, thiserror::Error)]
pub enum DriftError {
    /// The caller may not do this, or asked for it in the wrong way.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// The prediction log.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A setting has a value that cannot work.
    #[error("setting `{setting}` is `{value}`, but it must be {must_be}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: u32,
        /// What it must be.
        must_be: &'static str,
    },
}

impl From<DriftError> for ApiError {
    fn from(error: DriftError) -> Self {
        let error = match error {
            DriftError::Refused(error) => return error,
            DriftError::Store(error) => error,
            DriftError::Setting { .. } => {
                log(&error);
                return Self::internal();
            }
        };
        match error {
            StoreError::Conflict { .. } => Self::new(ErrorCode::Conflict, error.to_string()),
            StoreError::NotFound { .. } => Self::new(ErrorCode::NotFound, error.to_string()),
            StoreError::Unavailable { .. } => {
                log(&error);
                Self::new(ErrorCode::Unavailable, "the prediction log cannot be reached: try again")
                    .retry_after(1)
            }
            _ => {
                log(&error);
                Self::internal()
            }
        }
    }
}

fn log(error: &(dyn std::error::Error + 'static)) {
    tracing::error!(error, "drift service failed");
}
