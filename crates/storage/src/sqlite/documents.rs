//! The prediction log and feedback in one file.

use std::path::Path;

use async_trait::async_trait;

use super::{Database, Schema, WAITS};
use crate::StoreError;
use crate::stores::Check;

mod feedback;
mod predictions;
mod shadows;

const SCHEMA: Schema = Schema {
    applied: "documents_migrations",
    migrations: &[
        (
            1,
            "predictions, feedback",
            include_str!("../../../../migrations/sqlite/documents/0001_predictions_feedback.sql"),
        ),
        (
            2,
            "exposures",
            include_str!("../../../../migrations/sqlite/documents/0002_exposures.sql"),
        ),
        (4, "shadows", include_str!("../../../../migrations/sqlite/documents/0004_shadows.sql")),
    ],
};

/// The file that serves [`PredictionLog`](crate::ports::PredictionLog) and
/// [`FeedbackStore`](crate::ports::FeedbackStore).
pub(crate) struct DocumentsFile(Database);

impl DocumentsFile {
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        Database::open(path, &SCHEMA, &WAITS).await.map(Self)
    }
}

#[async_trait]
impl Check for DocumentsFile {
    async fn check(&self) -> Result<(), StoreError> {
        self.0.check().await
    }
}
