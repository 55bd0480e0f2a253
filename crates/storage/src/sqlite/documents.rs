//! The prediction log and feedback in one file.

use std::path::Path;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use sqlx::{QueryBuilder, Sqlite};

use super::{Database, Schema, WAITS};
use crate::stores::Check;
use crate::{StoreError, json};

mod feedback;
mod predictions;
mod shadows;
#[cfg(test)]
mod tests;

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
        (
            3,
            "feedback subjects",
            include_str!("../../../../migrations/sqlite/documents/0003_feedback_subjects.sql"),
        ),
        (4, "shadows", include_str!("../../../../migrations/sqlite/documents/0004_shadows.sql")),
    ],
};

/// Ids per query; a variable each, of the 32,766 that SQLite takes.
const IDS_PER_QUERY: usize = 10_000;

/// The file that serves [`PredictionLog`](crate::ports::PredictionLog) and
/// [`FeedbackStore`](crate::ports::FeedbackStore).
pub(crate) struct DocumentsFile(Database);

impl DocumentsFile {
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        Database::open(path, &SCHEMA, &WAITS).await.map(Self)
    }

    /// Reads many records of rows (id, record), as thousands take too long for an asynchronous thread.
    async fn read_all<T: DeserializeOwned + Send + 'static>(
        &self,
        what: &'static str,
        action: &'static str,
        rows: Vec<(String, String)>,
    ) -> Result<Vec<T>, StoreError> {
        let read = move || rows.iter().map(|(id, text)| json::read(what, id, text)).collect();
        let done = tokio::task::spawn_blocking(read).await;
        done.map_err(|cause| StoreError::Failed {
            store: self.0.url.clone(),
            action,
            source: cause.into(),
        })?
    }
}

#[async_trait]
impl Check for DocumentsFile {
    async fn check(&self) -> Result<(), StoreError> {
        self.0.check().await
    }
}

/// The list of an `IN`.
fn among(query: &mut QueryBuilder<Sqlite>, texts: impl Iterator<Item = String>) {
    query.push("(");
    let mut list = query.separated(", ");
    for text in texts {
        list.push_bind(text);
    }
    query.push(")");
}
