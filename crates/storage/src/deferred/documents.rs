//! The ports of [`Documents`], for a store that is opened later.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::prediction::Exposure;
use domain::shadow::ShadowRecord;
use domain::{
    Feedback, ModelName, Pending, PlanId, PredictionId, PredictionRecord, Tally, VersionId,
};
use time::OffsetDateTime;

use super::Deferred;
use crate::StoreError;
use crate::ports::{FeedbackStore, PredictionLog, Shadows};
use crate::stores::{Check, Documents};
#[async_trait]
impl Check for Deferred<Documents> {
    async fn check(&self) -> Result<(), StoreError> {
        self.get()?.check().await
    }
}

#[async_trait]
impl PredictionLog for Deferred<Documents> {
    async fn append(&self, records: &[PredictionRecord]) -> Result<(), StoreError> {
        self.get()?.predictions.append(records).await
    }

    async fn get(&self, id: PredictionId) -> Result<Option<PredictionRecord>, StoreError> {
        Deferred::get(self)?.predictions.get(id).await
    }

    async fn since(
        &self,
        model: &ModelName,
        since: OffsetDateTime,
        limit: u32,
    ) -> Result<Vec<PredictionRecord>, StoreError> {
        Deferred::get(self)?.predictions.since(model, since, limit).await
    }

    async fn exposures(
        &self,
        plan: &PlanId,
        after: Option<PredictionId>,
        limit: u32,
    ) -> Result<Vec<Exposure>, StoreError> {
        self.get()?.predictions.exposures(plan, after, limit).await
    }

    async fn known(
        &self,
        ids: &[PredictionId],
    ) -> Result<HashMap<PredictionId, ModelName>, StoreError> {
        Deferred::get(self)?.predictions.known(ids).await
    }
}

#[async_trait]
impl Shadows for Deferred<Documents> {
    async fn append(&self, records: &[ShadowRecord]) -> Result<(), StoreError> {
        self.get()?.shadows.append(records).await
    }

    async fn compared(
        &self,
        model: &ModelName,
        version: VersionId,
        since: OffsetDateTime,
        limit: u32,
    ) -> Result<Vec<ShadowRecord>, StoreError> {
        self.get()?.shadows.compared(model, version, since, limit).await
    }
}

#[async_trait]
impl FeedbackStore for Deferred<Documents> {
    async fn add_all(
        &self,
        feedback: &[Feedback],
        known: &HashMap<PredictionId, ModelName>,
    ) -> Result<Vec<bool>, StoreError> {
        self.get()?.feedback.add_all(feedback, known).await
    }

    async fn of_prediction(&self, id: PredictionId) -> Result<Vec<Feedback>, StoreError> {
        self.get()?.feedback.of_prediction(id).await
    }

    async fn of_predictions(&self, ids: &[PredictionId]) -> Result<Vec<Feedback>, StoreError> {
        self.get()?.feedback.of_predictions(ids).await
    }

    async fn of_units(
        &self,
        model: &ModelName,
        units: &[String],
        since: OffsetDateTime,
    ) -> Result<Vec<Feedback>, StoreError> {
        self.get()?.feedback.of_units(model, units, since).await
    }

    async fn pending(
        &self,
        after: Option<PredictionId>,
        limit: u32,
    ) -> Result<Vec<Pending>, StoreError> {
        self.get()?.feedback.pending(after, limit).await
    }

    async fn settle(&self, known: &HashMap<PredictionId, ModelName>) -> Result<(), StoreError> {
        self.get()?.feedback.settle(known).await
    }

    async fn tally(
        &self,
        model: Option<&ModelName>,
        since: OffsetDateTime,
    ) -> Result<Vec<Tally>, StoreError> {
        self.get()?.feedback.tally(model, since).await
    }
}
