//! What can go wrong in the feedback service.

use contracts::{ApiError, ErrorCode};
use storage::StoreError;

/// A failure of the feedback service.
#[derive(Debug, thiserror::Error)]
pub enum FeedbackError {
    /// The caller may not do this, or asked for it in the wrong way.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// The store of feedback, or the prediction log.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<FeedbackError> for ApiError {
    fn from(error: FeedbackError) -> Self {
        let error = match error {
            FeedbackError::Refused(error) => return error,
            FeedbackError::Store(error) => error,
        };
        match error {
            StoreError::Conflict { .. } => Self::new(ErrorCode::Conflict, error.to_string()),
            StoreError::NotFound { .. } => Self::new(ErrorCode::NotFound, error.to_string()),
            StoreError::Invalid { .. } => Self::new(ErrorCode::Unprocessable, error.to_string()),
            StoreError::Unavailable { .. } => {
                log(&error);
                Self::new(ErrorCode::Unavailable, "the feedback store cannot be reached: try again")
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
    tracing::error!(error, "feedback service failed");
}
