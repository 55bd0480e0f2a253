//! Ground truth: that of predictions in `feedback`, that of units in `unit_feedback`.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use domain::{Feedback, ModelName, Outcome, Pending, PredictionId, Subject, Tally};
use futures_util::TryStreamExt as _;
use mongodb::Collection;
use mongodb::bson::{Bson, Document, RawDocumentBuf, cstr, doc, rawdoc};
use mongodb::options::Hint;
use time::OffsetDateTime;
use uuid::Uuid;

use super::predictions::batches;
use super::{DocumentsDatabase, IDS_PER_QUERY, failures, fitting, read};
use crate::StoreError;
use crate::columns::{self, StoredFeedback, by_model, moment, nanoseconds};
use crate::ports::FeedbackStore;

const OF_PREDICTIONS: &str = "feedback";
const OF_UNITS: &str = "unit_feedback";

// Names of indexes, as the migrations have them.
const BY_PREDICTION: &str = "once_by_prediction_outcome_source";
const BY_MODEL: &str = "by_model_and_prediction";
const BY_UNIT: &str = "once_by_unit_outcome_source";

/// Not all or nothing: where it fails midway, some is kept. Adding it again is harmless.
#[async_trait]
impl FeedbackStore for DocumentsDatabase {
    async fn add_all(
        &self,
        feedback: &[Feedback],
        known: &HashMap<PredictionId, ModelName>,
    ) -> Result<Vec<bool>, StoreError> {
        let (mut of_predictions, mut of_units) = (New::default(), New::default());
        for (place, one) in feedback.iter().enumerate() {
            // In the order of arrival.
            let key = Uuid::now_v7().to_string();
            let to = match one.subject {
                Subject::Prediction { .. } => &mut of_predictions,
                Subject::Unit { .. } => &mut of_units,
            };
            to.documents.push(document(&key, one, known)?);
            to.keys.push(key);
            to.places.push(place);
        }
        let mut new = vec![false; feedback.len()];
        for (name, given) in [(OF_PREDICTIONS, of_predictions), (OF_UNITS, of_units)] {
            let added = self.insert(name, &given).await?;
            for (key, place) in given.keys.iter().zip(given.places) {
                if let (true, Some(new)) = (added.contains(key), new.get_mut(place)) {
                    *new = true;
                }
            }
        }
        Ok(new)
    }

    async fn of_prediction(&self, id: PredictionId) -> Result<Vec<Feedback>, StoreError> {
        self.of_predictions(&[id]).await
    }

    async fn of_predictions(&self, ids: &[PredictionId]) -> Result<Vec<Feedback>, StoreError> {
        let mut found = Vec::new();
        for chunk in ids.chunks(IDS_PER_QUERY) {
            let ids: Vec<String> = chunk.iter().map(ToString::to_string).collect();
            let these = doc! { "prediction_id": { "$in": ids } };
            found.extend(self.found(OF_PREDICTIONS, BY_PREDICTION, these).await?);
        }
        // Each chunk is in order, and so is what they make together.
        found.sort_by_key(|one| one.received_at);
        Ok(found)
    }

    async fn of_units(
        &self,
        model: &ModelName,
        units: &[String],
        since: OffsetDateTime,
    ) -> Result<Vec<Feedback>, StoreError> {
        let mut found = Vec::new();
        for chunk in units.chunks(IDS_PER_QUERY) {
            let these = doc! {
                "model": model.as_str(),
                "unit": { "$in": chunk },
                "received_at_ns": { "$gte": nanoseconds(since) },
            };
            found.extend(self.found(OF_UNITS, BY_UNIT, these).await?);
        }
        found.sort_by_key(|one| one.received_at);
        Ok(found)
    }

    async fn pending(
        &self,
        after: Option<PredictionId>,
        limit: u32,
    ) -> Result<Vec<Pending>, StoreError> {
        // To the driver, 0 is no limit.
        if limit == 0 {
            return Ok(Vec::new());
        }
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let page = doc! { "model": Bson::Null, "prediction_id": { "$gt": after } };
        let page = self.waiting(page, i64::from(limit)).await?;
        let mut pending: Vec<Pending> = Vec::new();
        for (id, at_ns) in &page {
            let (prediction_id, at) = (columns::prediction_id(id)?, moment(*at_ns));
            match pending.last_mut() {
                Some(last) if last.prediction_id == prediction_id => {
                    last.outcomes += 1;
                    last.since = last.since.min(at);
                }
                _ => pending.push(Pending { prediction_id, outcomes: 1, since: at }),
            }
        }
        // The page may end within the last one.
        let is_full = page.len() == usize::try_from(limit).unwrap_or(usize::MAX);
        if let (true, Some(last)) = (is_full, pending.last_mut()) {
            let id = last.prediction_id.to_string();
            let all = self.waiting(doc! { "model": Bson::Null, "prediction_id": id }, 0).await?;
            last.outcomes = all.len().try_into().unwrap_or(u64::MAX);
            last.since =
                all.iter().map(|(_, at)| moment(*at)).fold(last.since, OffsetDateTime::min);
        }
        Ok(pending)
    }

    async fn settle(&self, known: &HashMap<PredictionId, ModelName>) -> Result<(), StoreError> {
        let all = self.collection(OF_PREDICTIONS);
        for (model, ids) in by_model(known) {
            for chunk in ids.chunks(IDS_PER_QUERY) {
                let these = doc! { "model": Bson::Null, "prediction_id": { "$in": chunk } };
                let change = doc! { "$set": { "model": model.as_str() } };
                let update =
                    || async { all.update_many(these.clone(), change.clone()).await.map(drop) };
                self.ask("settle pending feedback", update).await?;
            }
        }
        Ok(())
    }

    async fn tally(
        &self,
        model: Option<&ModelName>,
        since: OffsetDateTime,
    ) -> Result<Vec<Tally>, StoreError> {
        let mut counted = Vec::new();
        for name in [OF_PREDICTIONS, OF_UNITS] {
            let mut these = doc! { "received_at_ns": { "$gte": nanoseconds(since) } };
            if let Some(model) = model {
                these.insert("model", model.as_str());
            }
            for group in self.counts(name, these).await? {
                let kind = group.get_str("_id").unwrap_or("value").to_owned();
                let count = |key| {
                    let count = group.get_i64(key).or_else(|_| group.get_i32(key).map(i64::from));
                    count.unwrap_or_default()
                };
                let (all, matched) = (count("all"), count("matched"));
                counted.push(match name {
                    OF_UNITS => (kind, 0, 0, all),
                    _ => (kind, matched, all - matched, 0),
                });
            }
        }
        Ok(columns::tallies(counted))
    }
}

/// What is to be added to a collection, with its keys and its places in what was given.
#[derive(Default)]
struct New {
    documents: Vec<RawDocumentBuf>,
    keys: Vec<String>,
    places: Vec<usize>,
}

impl DocumentsDatabase {
    /// Adds what is not known, and tells the keys of what was added.
    async fn insert(&self, name: &str, new: &New) -> Result<HashSet<String>, StoreError> {
        let all = self.collection(name);
        let mut added = HashSet::new();
        let mut keys = new.keys.as_slice();
        for batch in batches(&new.documents) {
            let (ours, rest) = keys.split_at(batch.len());
            keys = rest;
            let insert = || async {
                match all.insert_many(batch).ordered(false).await {
                    // Known from another time; or from this one, if the answer to a first try was
                    // lost on the way. The keys tell.
                    Err(cause) if failures::is_known(&cause) => among(&all, ours).await,
                    done => done.map(|_| ours.iter().cloned().collect::<HashSet<_>>()),
                }
            };
            added.extend(self.ask("add feedback", insert).await?);
        }
        Ok(added)
    }

    /// Feedback by an index, in the order it was received.
    async fn found(
        &self,
        name: &str,
        index: &str,
        these: Document,
    ) -> Result<Vec<Feedback>, StoreError> {
        let action = "read feedback";
        let all = self.collection(name);
        let find = || async {
            let found = all
                .find(these.clone())
                .projection(doc! { "record": 1 })
                .hint(Hint::Name(index.to_owned()))
                .await?;
            found.try_collect::<Vec<RawDocumentBuf>>().await
        };
        let documents = self.ask(action, find).await?;
        // Thousands of records take too long for an asynchronous thread.
        let read = move || {
            let one = |document: &RawDocumentBuf| {
                let key = document.get_str("_id").unwrap_or("of another kind").to_owned();
                Ok((read::<Feedback>("feedback", &key, document)?, key))
            };
            let mut found = documents.iter().map(one).collect::<Result<Vec<_>, _>>()?;
            // Here, so that the server is not tempted to walk through all there is in this order.
            found.sort_by(|(one, key), (other, later)| {
                (one.received_at, key).cmp(&(other.received_at, later))
            });
            Ok(found.into_iter().map(|(one, _)| one).collect())
        };
        let done = tokio::task::spawn_blocking(read).await;
        done.map_err(|cause| StoreError::Failed {
            store: self.shown.clone(),
            action,
            source: cause.into(),
        })?
    }

    /// What is pending, as (prediction id, when it was received), in the order of ids; a limit of 0 is
    /// none.
    async fn waiting(&self, these: Document, limit: i64) -> Result<Vec<(String, i64)>, StoreError> {
        let all = self.collection(OF_PREDICTIONS);
        let find = || async {
            let found = all
                .find(these.clone())
                .projection(doc! { "prediction_id": 1, "received_at_ns": 1 })
                .sort(doc! { "prediction_id": 1 })
                .hint(Hint::Name(BY_MODEL.to_owned()))
                .limit(limit)
                .await?;
            found.try_collect::<Vec<RawDocumentBuf>>().await
        };
        let documents = self.ask("read pending feedback", find).await?;
        let row = |document: &RawDocumentBuf| {
            let id = document.get_str("prediction_id").unwrap_or_default().to_owned();
            (id, document.get_i64("received_at_ns").unwrap_or_default())
        };
        Ok(documents.iter().map(row).collect())
    }

    async fn counts(&self, name: &str, these: Document) -> Result<Vec<Document>, StoreError> {
        let all = self.database.collection::<Document>(name);
        let without_kind = doc! { "$cond": [
            { "$eq": [{ "$type": "$label" }, "missing"] }, "value", "label",
        ] };
        let with_model = doc! { "$cond": [{ "$eq": [{ "$type": "$model" }, "string"] }, 1, 0] };
        let pipeline = [
            doc! { "$match": these },
            doc! { "$group": {
                "_id": { "$ifNull": ["$kind", without_kind] },
                "all": { "$sum": 1 },
                "matched": { "$sum": with_model },
            } },
        ];
        let count = || async {
            all.aggregate(pipeline.clone()).await?.try_collect::<Vec<Document>>().await
        };
        self.ask("count feedback", count).await
    }
}

/// Those of the keys that are there.
async fn among(
    all: &Collection<RawDocumentBuf>,
    keys: &[String],
) -> mongodb::error::Result<HashSet<String>> {
    let found = all.find(doc! { "_id": { "$in": keys } }).projection(doc! { "_id": 1 }).await?;
    let found: Vec<RawDocumentBuf> = found.try_collect().await?;
    Ok(found.iter().filter_map(|one| one.get_str("_id").ok()).map(str::to_owned).collect())
}

fn document(
    key: &str,
    feedback: &Feedback,
    known: &HashMap<PredictionId, ModelName>,
) -> Result<RawDocumentBuf, StoreError> {
    let stored = StoredFeedback::of(feedback)?;
    let mut document = rawdoc! { "_id": key };
    match &feedback.subject {
        Subject::Prediction { prediction_id } => {
            document.append(cstr!("prediction_id"), stored.id.as_str());
            if let Some(model) = known.get(prediction_id) {
                document.append(cstr!("model"), model.as_str());
            }
        }
        Subject::Unit { model, unit } => {
            document.append(cstr!("model"), model.as_str());
            document.append(cstr!("unit"), unit.as_str());
        }
    }
    document.append(cstr!("outcome"), stored.outcome.as_str());
    document.append(cstr!("source"), stored.source);
    document.append(cstr!("received_at_ns"), stored.received_at_ns);
    document.append(cstr!("kind"), stored.kind);
    match &feedback.outcome {
        Outcome::Label(label) => document.append(cstr!("label"), label.as_str()),
        Outcome::Value(value) | Outcome::Metric { value, .. } => {
            document.append(cstr!("value"), *value + 0.0);
        }
    }
    document.append(cstr!("record"), stored.record.as_str());
    fitting("feedback", &stored.id, document)
}
