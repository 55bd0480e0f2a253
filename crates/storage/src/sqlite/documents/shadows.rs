//! What shadow versions would have answered.

use async_trait::async_trait;
use domain::shadow::ShadowRecord;
use domain::{ModelName, VersionId};
use sqlx::QueryBuilder;
use time::OffsetDateTime;

use super::DocumentsFile;
use crate::columns::nanoseconds;
use crate::ports::Shadows;
use crate::{StoreError, json};

/// Rows per statement; five variables each, of the 32,766 that SQLite takes.
const ROWS_PER_INSERT: usize = 500;

#[async_trait]
impl Shadows for DocumentsFile {
    async fn append(&self, records: &[ShadowRecord]) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let text = |record: &ShadowRecord| {
            json::write("comparison", &record.prediction_id.to_string(), record)
        };
        let texts = records.iter().map(text).collect::<Result<Vec<_>, _>>()?;
        let rows: Vec<_> = records.iter().zip(&texts).collect();
        let action = "append comparisons";
        let mut change = self.0.change(action).await?;
        for chunk in rows.chunks(ROWS_PER_INSERT) {
            QueryBuilder::new(
                "INSERT OR IGNORE INTO shadows (prediction_id, model, version, at_ns, record) ",
            )
            .push_values(chunk, |mut values, (record, text)| {
                values
                    .push_bind(record.prediction_id.to_string())
                    .push_bind(record.model.as_str())
                    .push_bind(record.shadow_version.number())
                    .push_bind(nanoseconds(record.at))
                    .push_bind(text.as_str());
            })
            .build()
            .execute(&mut *change)
            .await
            .map_err(self.0.during(action))?;
        }
        change.commit().await.map_err(self.0.during(action))
    }

    async fn compared(
        &self,
        model: &ModelName,
        version: VersionId,
        since: OffsetDateTime,
        limit: u32,
    ) -> Result<Vec<ShadowRecord>, StoreError> {
        let action = "read comparisons";
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT prediction_id, record FROM shadows \
             WHERE model = ? AND version = ? AND at_ns >= ? ORDER BY at_ns DESC LIMIT ?",
        )
        .bind(model.as_str())
        .bind(version.number())
        .bind(nanoseconds(since))
        .bind(limit)
        .fetch_all(&self.0.read)
        .await
        .map_err(self.0.during(action))?;
        let read =
            move || rows.iter().map(|(id, text)| json::read("comparison", id, text)).collect();
        let done = tokio::task::spawn_blocking(read).await;
        done.map_err(|cause| StoreError::Failed {
            store: self.0.url.clone(),
            action,
            source: cause.into(),
        })?
    }
}
