//! The log of answered predictions.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::prediction::Exposure;
use domain::{ModelName, PlanId, PredictionId, PredictionRecord};
use sqlx::QueryBuilder;
use time::OffsetDateTime;

use super::{DocumentsFile, IDS_PER_QUERY, among};
use crate::columns::{self, nanoseconds};
use crate::ports::PredictionLog;
use crate::{StoreError, json};

/// Rows per statement; six variables each, of the 32,766 that SQLite takes.
const ROWS_PER_INSERT: usize = 500;

#[async_trait]
impl PredictionLog for DocumentsFile {
    async fn append(&self, records: &[PredictionRecord]) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let rows = records.iter().map(Row::of).collect::<Result<Vec<_>, _>>()?;
        let action = "append predictions";
        let mut change = self.0.change(action).await?;
        for chunk in rows.chunks(ROWS_PER_INSERT) {
            QueryBuilder::new(
                "INSERT OR IGNORE INTO predictions \
                 (prediction_id, model, at_ns, plan, exposure, record) ",
            )
            .push_values(chunk, |mut values, row| {
                values
                    .push_bind(row.id.as_str())
                    .push_bind(row.model)
                    .push_bind(row.at_ns)
                    .push_bind(row.exposure.as_ref().map(|(plan, _)| *plan))
                    .push_bind(row.exposure.as_ref().map(|(_, text)| text.as_str()))
                    .push_bind(row.record.as_str());
            })
            .build()
            .execute(&mut *change)
            .await
            .map_err(self.0.during(action))?;
        }
        change.commit().await.map_err(self.0.during(action))
    }

    async fn get(&self, id: PredictionId) -> Result<Option<PredictionRecord>, StoreError> {
        let id = id.to_string();
        let record: Option<String> =
            sqlx::query_scalar("SELECT record FROM predictions WHERE prediction_id = ?")
                .bind(&id)
                .fetch_optional(&self.0.read)
                .await
                .map_err(self.0.during("read a prediction"))?;
        record.map(|record| json::read("prediction", &id, &record)).transpose()
    }

    async fn since(
        &self,
        model: &ModelName,
        since: OffsetDateTime,
        limit: u32,
    ) -> Result<Vec<PredictionRecord>, StoreError> {
        let action = "read a model's predictions";
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT prediction_id, record FROM predictions WHERE model = ? AND at_ns >= ? \
             ORDER BY at_ns DESC, prediction_id DESC LIMIT ?",
        )
        .bind(model.as_str())
        .bind(nanoseconds(since))
        .bind(limit)
        .fetch_all(&self.0.read)
        .await
        .map_err(self.0.during(action))?;
        self.read_all("prediction", action, rows).await
    }

    async fn exposures(
        &self,
        plan: &PlanId,
        after: Option<PredictionId>,
        limit: u32,
    ) -> Result<Vec<Exposure>, StoreError> {
        let action = "read exposures";
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT prediction_id, exposure FROM predictions WHERE plan = ? AND prediction_id > ? \
             ORDER BY prediction_id LIMIT ?",
        )
        .bind(plan.as_str())
        .bind(after.map(|id| id.to_string()).unwrap_or_default())
        .bind(limit)
        .fetch_all(&self.0.read)
        .await
        .map_err(self.0.during(action))?;
        self.read_all("exposure", action, rows).await
    }

    async fn known(
        &self,
        ids: &[PredictionId],
    ) -> Result<HashMap<PredictionId, ModelName>, StoreError> {
        let mut found = Vec::new();
        for chunk in ids.chunks(IDS_PER_QUERY) {
            let mut query = QueryBuilder::new(
                "SELECT prediction_id, model FROM predictions WHERE prediction_id IN ",
            );
            among(&mut query, chunk.iter().map(ToString::to_string));
            let rows = query.build_query_as().fetch_all(&self.0.read);
            let rows: Vec<(String, String)> =
                rows.await.map_err(self.0.during("look predictions up"))?;
            found.extend(rows);
        }
        columns::known_predictions(found)
    }
}

struct Row<'a> {
    id: String,
    model: &'a str,
    at_ns: i64,
    exposure: Option<(&'a str, String)>,
    record: String,
}

impl<'a> Row<'a> {
    fn of(record: &'a PredictionRecord) -> Result<Self, StoreError> {
        let (id, text) = columns::prediction(record)?;
        let (model, at_ns) = (record.model.as_str(), nanoseconds(record.at));
        Ok(Self { id, model, at_ns, exposure: columns::exposure(record)?, record: text })
    }
}
