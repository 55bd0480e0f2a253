//! What shadow versions would have answered.

use async_trait::async_trait;
use domain::shadow::ShadowRecord;
use domain::{ModelName, VersionId};
use futures_util::TryStreamExt as _;
use mongodb::bson::{Bson, RawDocumentBuf, doc, rawdoc};
use time::OffsetDateTime;

use super::predictions::DOCUMENTS_PER_ANSWER;
use super::{DocumentsDatabase, fitting, read};
use crate::columns::nanoseconds;
use crate::ports::Shadows;
use crate::{StoreError, json};

#[async_trait]
impl Shadows for DocumentsDatabase {
    async fn append(&self, records: &[ShadowRecord]) -> Result<(), StoreError> {
        let documents = records.iter().map(document).collect::<Result<Vec<_>, _>>()?;
        self.append_new("shadows", "append comparisons", &documents).await
    }

    async fn compared(
        &self,
        model: &ModelName,
        version: VersionId,
        since: OffsetDateTime,
        limit: u32,
    ) -> Result<Vec<ShadowRecord>, StoreError> {
        // To MongoDB, no limit at all.
        if limit == 0 {
            return Ok(Vec::new());
        }
        let action = "read comparisons";
        let shadows = self.collection("shadows");
        let from = Bson::Int64(nanoseconds(since));
        let find = || async {
            let wanted = doc! {
                "model": model.as_str(),
                "version": i64::from(version.number()),
                "at_ns": { "$gte": from.clone() },
            };
            let found = shadows
                .find(wanted)
                .projection(doc! { "record": 1 })
                .sort(doc! { "at_ns": -1 })
                .limit(i64::from(limit))
                .batch_size(limit.min(DOCUMENTS_PER_ANSWER))
                .await?;
            found.try_collect::<Vec<RawDocumentBuf>>().await
        };
        let documents = self.ask(action, find).await?;
        let read = move || documents.iter().map(|one| read("comparison", "shadow", one)).collect();
        let done = tokio::task::spawn_blocking(read).await;
        done.map_err(|cause| StoreError::Failed {
            store: self.shown.clone(),
            action,
            source: cause.into(),
        })?
    }
}

fn document(record: &ShadowRecord) -> Result<RawDocumentBuf, StoreError> {
    let id = record.prediction_id.to_string();
    let text = json::write("comparison", &id, record)?;
    let document = rawdoc! {
        "prediction_id": id.as_str(),
        "model": record.model.as_str(),
        "version": i64::from(record.shadow_version.number()),
        "at_ns": nanoseconds(record.at),
        "record": text.as_str(),
    };
    fitting("comparison", &id, document)
}
