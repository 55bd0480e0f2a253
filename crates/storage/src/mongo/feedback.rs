//! Ground truth.

use async_trait::async_trait;
use domain::{Feedback, Outcome, PredictionId};
use futures_util::TryStreamExt as _;
use mongodb::bson::{RawDocumentBuf, cstr, doc, rawdoc};
use uuid::Uuid;

use super::{DocumentsDatabase, failures, fitting, read};
use crate::columns::{self, nanoseconds};
use crate::ports::FeedbackStore;
use crate::{StoreError, json};

#[async_trait]
impl FeedbackStore for DocumentsDatabase {
    async fn add(&self, feedback: Feedback) -> Result<bool, StoreError> {
        // In the order of arrival.
        let key = Uuid::now_v7().to_string();
        let document = document(&key, &feedback)?;
        let all = self.collection("feedback");
        let insert = || async {
            match all.insert_one(&document).await {
                Err(cause) if failures::is_known(&cause) => {
                    // Known from another time; or from this one, if the answer to a first try was
                    // lost on the way. The key tells.
                    let only = doc! { "_id": 1 };
                    let ours = all.find_one(doc! { "_id": &key }).projection(only).await?;
                    Ok(ours.is_some())
                }
                done => done.map(|_| true),
            }
        };
        self.ask("add feedback", insert).await
    }

    async fn of_prediction(&self, id: PredictionId) -> Result<Vec<Feedback>, StoreError> {
        let id = id.to_string();
        let all = self.collection("feedback");
        let find = || async {
            let found = all
                .find(doc! { "prediction_id": &id })
                .projection(doc! { "record": 1 })
                .sort(doc! { "received_at_ns": 1, "_id": 1 })
                .await?;
            found.try_collect::<Vec<RawDocumentBuf>>().await
        };
        let documents = self.ask("read feedback", find).await?;
        documents.iter().map(|document| read("feedback", &id, document)).collect()
    }
}

fn document(key: &str, feedback: &Feedback) -> Result<RawDocumentBuf, StoreError> {
    let id = feedback.prediction_id.to_string();
    let outcome = columns::outcome(feedback)?;
    let mut document = rawdoc! {
        "_id": key,
        "prediction_id": id.as_str(),
        "outcome": json::write("feedback", &id, &outcome)?.as_str(),
        "source": feedback.source.as_str(),
        "received_at_ns": nanoseconds(feedback.received_at),
    };
    match &outcome {
        Outcome::Label(label) => document.append(cstr!("label"), label.as_str()),
        Outcome::Value(value) => document.append(cstr!("value"), *value),
    }
    document.append(cstr!("record"), json::write("feedback", &id, feedback)?.as_str());
    fitting("feedback", &id, document)
}
