//! What can go wrong in the router, and how it is told.

use contracts::{ApiError, ErrorCode};
use models::ModelError;
use storage::StoreError;

use crate::spool::SpoolError;

/// A failure of the router.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    /// A store failed or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The spool failed.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The store does not answer, and no earlier answer of it is kept.
    #[error(
        "failed to read the models and routes, and there are none of an earlier run in `{saved}` (`router.saved_table`): start the store named by `storage.relational`"
    )]
    NoTable {
        /// Where an earlier run would have kept them.
        saved: String,
        /// What the store said.
        #[source]
        source: StoreError,
    },
    /// An uploaded package cannot be used.
    #[error(transparent)]
    Package(#[from] ModelError),
}

impl From<RouterError> for ApiError {
    fn from(error: RouterError) -> Self {
        let refused = |code: ErrorCode| Self::new(code, error.to_string());
        match &error {
            RouterError::Store(StoreError::Conflict { .. }) => refused(ErrorCode::Conflict),
            RouterError::Store(StoreError::NotFound { .. }) => refused(ErrorCode::NotFound),
            RouterError::Store(StoreError::Invalid { .. }) | RouterError::Package(_) => {
                refused(ErrorCode::Unprocessable)
            }
            RouterError::Store(StoreError::Unavailable { .. }) => {
                tracing::warn!(error = chain(&error), "a store does not answer");
                Self::new(ErrorCode::Unavailable, "a store does not answer: try again")
                    .retry_after(1)
            }
            RouterError::Store(_) | RouterError::Spool(_) | RouterError::NoTable { .. } => {
                tracing::error!(error = chain(&error), "the router failed");
                Self::internal()
            }
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
