//! Ground truth.

use async_trait::async_trait;
use domain::{Feedback, PredictionId};

use super::DocumentsFile;
use crate::columns::{self, nanoseconds};
use crate::ports::FeedbackStore;
use crate::{StoreError, json};

#[async_trait]
impl FeedbackStore for DocumentsFile {
    async fn add(&self, feedback: Feedback) -> Result<bool, StoreError> {
        let id = feedback.prediction_id.to_string();
        let outcome = columns::outcome(&feedback)?;
        let done = sqlx::query(
            "INSERT OR IGNORE INTO feedback \
             (prediction_id, outcome, source, received_at_ns, record) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(&id)
        .bind(json::write("feedback", &id, &outcome)?)
        .bind(&feedback.source)
        .bind(nanoseconds(feedback.received_at))
        .bind(json::write("feedback", &id, &feedback)?)
        .execute(&self.0.write)
        .await
        .map_err(self.0.during("add feedback"))?;
        Ok(done.rows_affected() > 0)
    }

    async fn of_prediction(&self, id: PredictionId) -> Result<Vec<Feedback>, StoreError> {
        let id = id.to_string();
        let records: Vec<String> = sqlx::query_scalar(
            "SELECT record FROM feedback WHERE prediction_id = ? ORDER BY received_at_ns, rowid",
        )
        .bind(&id)
        .fetch_all(&self.0.read)
        .await
        .map_err(self.0.during("read feedback"))?;
        records.iter().map(|record| json::read("feedback", &id, record)).collect()
    }
}
