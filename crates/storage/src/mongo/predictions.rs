//! The log of answered predictions.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::prediction::Exposure;
use domain::{ModelName, PlanId, PredictionId, PredictionRecord};
use futures_util::TryStreamExt as _;
use mongodb::bson::{Bson, DateTime, RawDocumentBuf, cstr, doc, rawdoc};
use time::OffsetDateTime;

use super::{DocumentsDatabase, IDS_PER_QUERY, failures, fitting, read};
use crate::columns::{self, nanoseconds};
use crate::ports::PredictionLog;
use crate::{StoreError, json};

/// What is sent at once, in documents and in bytes, so that each answer comes in time.
const DOCUMENTS_PER_INSERT: usize = 500;
const BYTES_PER_INSERT: usize = 16 * 1024 * 1024;

/// Documents per answer of a long result.
pub(super) const DOCUMENTS_PER_ANSWER: u32 = 10_000;

/// Not all or nothing: where an append fails midway, some of its records are kept. Appending them
/// again is harmless.
#[async_trait]
impl PredictionLog for DocumentsDatabase {
    async fn append(&self, records: &[PredictionRecord]) -> Result<(), StoreError> {
        let documents = records.iter().map(document).collect::<Result<Vec<_>, _>>()?;
        self.append_new("predictions", "append predictions", &documents).await
    }

    async fn get(&self, id: PredictionId) -> Result<Option<PredictionRecord>, StoreError> {
        let id = id.to_string();
        let predictions = self.collection("predictions");
        let find = || async {
            let only = doc! { "record": 1 };
            predictions.find_one(doc! { "_id": &id }).projection(only).await
        };
        let found = self.ask("read a prediction", find).await?;
        found.map(|document| read("prediction", &id, &document)).transpose()
    }

    async fn since(
        &self,
        model: &ModelName,
        since: OffsetDateTime,
        limit: u32,
    ) -> Result<Vec<PredictionRecord>, StoreError> {
        // To MongoDB, no limit at all.
        if limit == 0 {
            return Ok(Vec::new());
        }
        let action = "read a model's predictions";
        let predictions = self.collection("predictions");
        let from = Bson::Int64(nanoseconds(since));
        let find = || async {
            let found = predictions
                .find(doc! { "model": model.as_str(), "at_ns": { "$gte": from.clone() } })
                .projection(doc! { "record": 1 })
                .sort(doc! { "at_ns": -1, "_id": -1 })
                .limit(i64::from(limit))
                .batch_size(limit.min(DOCUMENTS_PER_ANSWER))
                .await?;
            found.try_collect::<Vec<RawDocumentBuf>>().await
        };
        let documents = self.ask(action, find).await?;
        // Thousands of records take too long for an asynchronous thread.
        let read = move || {
            let records = documents.iter().map(|document| {
                let id = document.get_str("_id").unwrap_or("of another kind");
                read("prediction", id, document)
            });
            records.collect()
        };
        let done = tokio::task::spawn_blocking(read).await;
        done.map_err(|cause| StoreError::Failed {
            store: self.shown.clone(),
            action,
            source: cause.into(),
        })?
    }

    async fn exposures(
        &self,
        plan: &PlanId,
        after: Option<PredictionId>,
        limit: u32,
    ) -> Result<Vec<Exposure>, StoreError> {
        // To the driver, 0 is no limit.
        if limit == 0 {
            return Ok(Vec::new());
        }
        let action = "read exposures";
        let predictions = self.collection("predictions");
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let find = || async {
            let found = predictions
                .find(doc! { "plan": plan.as_str(), "_id": { "$gt": after.as_str() } })
                .projection(doc! { "exposure": 1 })
                .sort(doc! { "_id": 1 })
                .limit(i64::from(limit))
                .batch_size(limit.min(DOCUMENTS_PER_ANSWER))
                .await?;
            found.try_collect::<Vec<RawDocumentBuf>>().await
        };
        let documents = self.ask(action, find).await?;
        let read = move || {
            let exposures = documents.iter().map(|document| {
                let id = document.get_str("_id").unwrap_or("of another kind");
                json::read("exposure", id, document.get_str("exposure").unwrap_or_default())
            });
            exposures.collect()
        };
        let done = tokio::task::spawn_blocking(read).await;
        done.map_err(|cause| StoreError::Failed {
            store: self.shown.clone(),
            action,
            source: cause.into(),
        })?
    }

    async fn known(
        &self,
        ids: &[PredictionId],
    ) -> Result<HashMap<PredictionId, ModelName>, StoreError> {
        let predictions = self.collection("predictions");
        let mut found = Vec::new();
        for chunk in ids.chunks(IDS_PER_QUERY) {
            let ids: Vec<String> = chunk.iter().map(ToString::to_string).collect();
            let find = || async {
                let these = doc! { "_id": { "$in": ids.clone() } };
                let found = predictions.find(these).projection(doc! { "model": 1 }).await?;
                found.try_collect::<Vec<RawDocumentBuf>>().await
            };
            let documents = self.ask("look predictions up", find).await?;
            found.extend(documents.iter().map(|document| {
                let text = |key| document.get_str(key).unwrap_or_default().to_owned();
                (text("_id"), text("model"))
            }));
        }
        columns::known_predictions(found)
    }
}

impl DocumentsDatabase {
    /// Adds documents; those that are known are passed over.
    pub(super) async fn append_new(
        &self,
        collection: &str,
        action: &'static str,
        documents: &[RawDocumentBuf],
    ) -> Result<(), StoreError> {
        let all = self.collection(collection);
        for batch in batches(documents) {
            let insert = || async {
                match all.insert_many(batch).ordered(false).await {
                    Err(cause) if failures::is_known(&cause) => Ok(()),
                    done => done.map(drop),
                }
            };
            self.ask(action, insert).await?;
        }
        Ok(())
    }
}

fn document(record: &PredictionRecord) -> Result<RawDocumentBuf, StoreError> {
    let (id, text) = columns::prediction(record)?;
    let at_ns = nanoseconds(record.at);
    let mut document = rawdoc! {
        "_id": id.as_str(),
        "model": record.model.as_str(),
        "at_ns": at_ns,
        // To the millisecond, for those who query by day and hour.
        "at": DateTime::from_millis(at_ns.div_euclid(1_000_000)),
        "version": i64::from(record.version.number()),
        // Larger ones, of half a million years, count as the largest.
        "latency_us": i64::try_from(record.latency_us).unwrap_or(i64::MAX),
    };
    if let Some(label) = &record.label {
        document.append(cstr!("label"), label.as_str());
    }
    if let Some(confidence) = record.confidence {
        document.append(cstr!("confidence"), confidence);
    }
    if let Some(value) = record.value {
        document.append(cstr!("value"), value);
    }
    if let Some((plan, exposure)) = columns::exposure(record)? {
        document.append(cstr!("plan"), plan);
        document.append(cstr!("exposure"), exposure.as_str());
    }
    document.append(cstr!("record"), text.as_str());
    fitting("prediction", &id, document)
}

/// The documents in runs that are sent at once.
pub(super) fn batches(mut documents: &[RawDocumentBuf]) -> Vec<&[RawDocumentBuf]> {
    let mut batches = Vec::new();
    while !documents.is_empty() {
        let mut bytes = 0;
        let fits = |document: &&RawDocumentBuf| {
            bytes += document.as_bytes().len();
            bytes <= BYTES_PER_INSERT
        };
        let fitting = documents.iter().take(DOCUMENTS_PER_INSERT).take_while(fits).count();
        // One document alone always fits.
        let (batch, rest) = documents.split_at(fitting.max(1));
        batches.push(batch);
        documents = rest;
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_end_at_either_limit_and_leave_nothing_out() {
        let small = rawdoc! { "record": "x" };
        let large = rawdoc! { "record": "x".repeat(BYTES_PER_INSERT / 2) };
        let sizes = |documents: &[RawDocumentBuf]| -> Vec<usize> {
            batches(documents).iter().map(|batch| batch.len()).collect()
        };
        assert!(sizes(&[]).is_empty());
        assert_eq!(sizes(&vec![small.clone(); 1001]), [500, 500, 1]);
        assert_eq!(sizes(&[small.clone(), large.clone(), large, small]), [2, 2]);
    }
}
