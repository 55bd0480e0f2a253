//! The ports: what the services need of a store, cut by need. Domain types in and out.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::counts::CountBatch;
use domain::prediction::Exposure;
use domain::shadow::ShadowRecord;
use domain::{
    AuditFilter, AuditRow, Credential, CredentialKind, Delivery, DeliveryFilter, DueDelivery,
    Event, EventFilter, Feedback, Model, ModelName, ModelPolicy, Pending, PlacedEvent, Plan,
    PlanId, PlanKind, PredictionId, PredictionRecord, Revocation, Route, Tally, User, UserId,
    Version, VersionId, Webhook, WebhookId,
};
use time::OffsetDateTime;

use crate::StoreError;
pub use crate::announcements::{Heard, Listener};
pub use crate::idempotency::{Begun, Claim};
pub use crate::limits::{Take, Taken};

/// User accounts.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Adds a user. `Conflict` if the user name is taken.
    async fn create_user(&self, user: User) -> Result<(), StoreError>;
    /// The user who signs in with this name.
    async fn user_by_name(&self, username: &str) -> Result<Option<User>, StoreError>;
    /// The user with this id.
    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError>;
    /// Replaces a user, if its revision is one more than the stored one. `Conflict` if another
    /// change came first, or if no admin were left who is not disabled.
    async fn update_user(&self, user: User) -> Result<(), StoreError>;
    /// All users, by name.
    async fn users(&self) -> Result<Vec<User>, StoreError>;
}

/// Sessions, API keys and failures to sign in.
#[async_trait]
pub trait Credentials: Send + Sync {
    /// One of them.
    async fn get(&self, kind: CredentialKind, id: &str) -> Result<Option<Credential>, StoreError>;
    /// Adds one with revision 1, or replaces one if the revision is one more than the stored one.
    /// `Conflict` if another change came first.
    async fn put(&self, credential: Credential) -> Result<(), StoreError>;
    /// All of a kind, by id.
    async fn all(&self, kind: CredentialKind) -> Result<Vec<Credential>, StoreError>;
    /// What ceased to be good since a moment: sessions that ended, keys that were revoked, users
    /// whose tokens were.
    async fn ended_since(&self, since: OffsetDateTime) -> Result<Vec<Revocation>, StoreError>;
    /// Removes those that may be forgotten, and tells how many there were.
    async fn forget(&self, before: OffsetDateTime) -> Result<u64, StoreError>;
}

/// The audit trail. Rows are added at the end and never changed.
#[async_trait]
pub trait AuditTrail: Send + Sync {
    /// Adds rows that follow the last one. `Conflict` if another row came first.
    async fn append(&self, rows: &[AuditRow]) -> Result<(), StoreError>;
    /// The place and the seal of the last row, as noted when it was added; `None` before the first.
    async fn head(&self) -> Result<Option<(u64, String)>, StoreError>;
    /// Rows in order, `limit` at most.
    async fn page(&self, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditRow>, StoreError>;
}

/// Models and their versions.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Adds a model. `Conflict` if the name is taken.
    async fn create_model(&self, model: Model) -> Result<(), StoreError>;
    /// One model.
    async fn model(&self, name: &ModelName) -> Result<Option<Model>, StoreError>;
    /// All models, by name.
    async fn models(&self) -> Result<Vec<Model>, StoreError>;
    /// Adds a version under the next number of its model, whatever number it came with, and
    /// returns it so. Two at once get two numbers. `NotFound` if there is no such model.
    async fn create_version(&self, version: Version) -> Result<Version, StoreError>;
    /// The versions of one model, or of all, in order.
    async fn versions(&self, model: Option<&ModelName>) -> Result<Vec<Version>, StoreError>;
    /// Sets, moves or (with `None`) removes an alias. `NotFound` if there is no such model or
    /// version.
    async fn set_alias(
        &self,
        model: &ModelName,
        alias: &str,
        version: Option<VersionId>,
    ) -> Result<(), StoreError>;
    /// Puts a policy in the place of the model's, under the next revision, and returns it so.
    /// `Conflict` if it comes with a revision other than 0 and the current one. `NotFound` if there
    /// is no such model.
    async fn set_policy(
        &self,
        model: &ModelName,
        policy: ModelPolicy,
    ) -> Result<ModelPolicy, StoreError>;
    /// Allows or forbids serving one version, or all of the model's. `NotFound` if there is none.
    async fn set_enabled(
        &self,
        model: &ModelName,
        version: Option<VersionId>,
        enabled: bool,
    ) -> Result<(), StoreError>;
}

/// Routes, with every earlier form of each.
#[async_trait]
pub trait Routes: Send + Sync {
    /// The route in force.
    async fn route(&self, model: &ModelName) -> Result<Option<Route>, StoreError>;
    /// All routes in force, by model.
    async fn routes(&self) -> Result<Vec<Route>, StoreError>;
    /// Puts a route in force, if its generation is one more than the one in force (1 for the
    /// first), and keeps it in the history. `Conflict` if another change came first.
    async fn put_route(&self, route: Route) -> Result<(), StoreError>;
    /// The forms that a route had before a generation, newest first, `limit` at most.
    async fn history(
        &self,
        model: &ModelName,
        before: u64,
        limit: u32,
    ) -> Result<Vec<Route>, StoreError>;
}

/// Experiments, rollouts and layers; what routers counted for them; and who drives what.
#[async_trait]
pub trait Plans: Send + Sync {
    /// One of them.
    async fn plan(&self, id: &PlanId) -> Result<Option<Plan>, StoreError>;
    /// All of a kind, or only those of which something is still to come, newest first.
    async fn plans(&self, kind: PlanKind, open_only: bool) -> Result<Vec<Plan>, StoreError>;
    /// Adds one with revision 1, or replaces one if the revision is one more than the stored one.
    /// `Conflict` if another change came first, or another of the kind has the name.
    async fn put_plan(&self, plan: Plan) -> Result<(), StoreError>;
    /// Keeps what was counted. A batch that is known is passed over.
    async fn count(&self, batches: &[CountBatch]) -> Result<(), StoreError>;
    /// The batches of a plan that were not taken in yet, oldest first.
    async fn waiting(&self, plan: &PlanId, limit: u32) -> Result<Vec<CountBatch>, StoreError>;
    /// Replaces a plan by one that holds these batches: both or neither, so that each is counted
    /// once. `Conflict` if another change came first, or one of them was taken in before.
    async fn take_in(&self, plan: Plan, batches: &[String]) -> Result<(), StoreError>;
    /// Removes batches closed before a moment, and tells how many there were.
    async fn forget_counts(&self, before: OffsetDateTime) -> Result<u64, StoreError>;
    /// Gives a holder the lease of a name until a moment, if nobody else has it now; tells whether it
    /// has it. A moment that has passed gives it back.
    async fn lease(
        &self,
        name: &str,
        holder: &str,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<bool, StoreError>;
}

/// What happened, who is told of it, and each event's way to each of them.
#[async_trait]
pub trait Events: Send + Sync {
    /// Adds events at the end of the log, with a delivery to each webhook that wants it: all or
    /// nothing. One whose id is known already is passed over. Forgets events from before a moment, of
    /// which no delivery waits.
    async fn append(
        &self,
        events: &[Event],
        forget_before: OffsetDateTime,
    ) -> Result<(), StoreError>;
    /// Events in order, `limit` at most. What is read once stays the whole of what is up to its last
    /// place: nothing comes in between later.
    async fn page(&self, filter: &EventFilter, limit: u32) -> Result<Vec<PlacedEvent>, StoreError>;
    /// Adds a webhook with revision 1, or replaces one if the revision is one more than the stored
    /// one. `Conflict` if another change came first.
    async fn put_webhook(&self, webhook: Webhook) -> Result<(), StoreError>;
    /// All webhooks, oldest first.
    async fn webhooks(&self) -> Result<Vec<Webhook>, StoreError>;
    /// Removes a webhook with its deliveries. `NotFound` if there is none.
    async fn remove_webhook(&self, id: WebhookId) -> Result<(), StoreError>;
    /// Takes deliveries to enabled webhooks that are due, `limit` at most, those that wait longest
    /// first. Nobody else gets one before the lease ends.
    async fn claim(
        &self,
        now: OffsetDateTime,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<DueDelivery>, StoreError>;
    /// Replaces a delivery, if its revision is one more than the stored one. `Conflict` if another
    /// change came first, as when a lease ended, or if it was removed.
    async fn put_delivery(&self, delivery: Delivery) -> Result<(), StoreError>;
    /// Deliveries, newest first, `limit` at most.
    async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError>;
}

/// The log of answered predictions.
#[async_trait]
pub trait PredictionLog: Send + Sync {
    /// Adds records. One whose id is known already is passed over, so a replay never doubles.
    async fn append(&self, records: &[PredictionRecord]) -> Result<(), StoreError>;
    /// One record.
    async fn get(&self, id: PredictionId) -> Result<Option<PredictionRecord>, StoreError>;
    /// A model's newest records since a moment, newest first, `limit` at most.
    async fn since(
        &self,
        model: &ModelName,
        since: OffsetDateTime,
        limit: u32,
    ) -> Result<Vec<PredictionRecord>, StoreError>;
    /// What analyses read of the records of one plan whose id comes after `after`: in the order of
    /// ids, `limit` at most.
    async fn exposures(
        &self,
        plan: &PlanId,
        after: Option<PredictionId>,
        limit: u32,
    ) -> Result<Vec<Exposure>, StoreError>;
    /// Those of these ids that are in the log, each with its model.
    async fn known(
        &self,
        ids: &[PredictionId],
    ) -> Result<HashMap<PredictionId, ModelName>, StoreError>;
}

/// What shadow versions would have answered.
#[async_trait]
pub trait Shadows: Send + Sync {
    /// Adds comparisons. One that is known, by its prediction and its shadow version, is passed over.
    async fn append(&self, records: &[ShadowRecord]) -> Result<(), StoreError>;
    /// The newest comparisons of a shadow version since a moment, newest first, `limit` at most.
    async fn compared(
        &self,
        model: &ModelName,
        version: VersionId,
        since: OffsetDateTime,
        limit: u32,
    ) -> Result<Vec<ShadowRecord>, StoreError>;
}

/// Ground truth.
#[async_trait]
pub trait FeedbackStore: Send + Sync {
    /// Adds feedback; tells of each, in this order, whether it was new. The same subject, outcome,
    /// source and moment is known. `known` names the models of those predictions that the log knows;
    /// the others are pending.
    async fn add_all(
        &self,
        feedback: &[Feedback],
        known: &HashMap<PredictionId, ModelName>,
    ) -> Result<Vec<bool>, StoreError>;
    /// All feedback of one prediction, in the order it was received.
    async fn of_prediction(&self, id: PredictionId) -> Result<Vec<Feedback>, StoreError>;
    /// All feedback of these predictions, in the order it was received. Thousands are asked for at
    /// once.
    async fn of_predictions(&self, ids: &[PredictionId]) -> Result<Vec<Feedback>, StoreError>;
    /// The feedback of these units of a model that was received since a moment, in that order. What
    /// was received since may have happened before: see [`Feedback::at`].
    async fn of_units(
        &self,
        model: &ModelName,
        units: &[String],
        since: OffsetDateTime,
    ) -> Result<Vec<Feedback>, StoreError>;
    /// Predictions with feedback that is pending, whose id comes after `after`: in the order of ids,
    /// `limit` at most.
    async fn pending(
        &self,
        after: Option<PredictionId>,
        limit: u32,
    ) -> Result<Vec<Pending>, StoreError>;
    /// These predictions are in the log by now: their feedback is pending no longer.
    async fn settle(&self, known: &HashMap<PredictionId, ModelName>) -> Result<(), StoreError>;
    /// How much feedback was received since a moment, by kind. Of one model: without what is pending,
    /// as its model is not known.
    async fn tally(
        &self,
        model: Option<&ModelName>,
        since: OffsetDateTime,
    ) -> Result<Vec<Tally>, StoreError>;
}

/// Model files, each found by its SHA-256.
#[async_trait]
pub trait Artifacts: Send + Sync {
    /// Keeps the bytes and returns their SHA-256, lower-case hex. Known bytes are kept once.
    async fn put(&self, bytes: Bytes) -> Result<String, StoreError>;
    /// The bytes with this SHA-256, verified. `NotFound` if absent; `Tampered` if they are not
    /// what the digest says.
    async fn get(&self, sha256: &str) -> Result<Bytes, StoreError>;
}

/// Answers kept for a while, under keys that nobody can guess.
#[async_trait]
pub trait ResponseCache: Send + Sync {
    /// What was last put under the key, unless its time has passed or its room was needed.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError>;
    /// Keeps the bytes under the key for this time at most, in the place of what was there.
    async fn put(&self, key: &str, bytes: Bytes, ttl: Duration) -> Result<(), StoreError>;
}

/// Notices from process to process that something changed, so that none has to wait for its next
/// look. One may be lost, so look now and then all the same.
#[async_trait]
pub trait Announcements: Send + Sync {
    /// Tells all listeners of all processes, this one's too, that something of this topic changed.
    /// `Unavailable`, within two seconds, if that cannot be told.
    async fn announce(&self, topic: &str) -> Result<(), StoreError>;
    /// Hears what is announced from now on. Where some may have been lost, as at the begin and
    /// after a lost connection, the listener hears [`Heard::Missed`]. Call it where tasks can be
    /// spawned; it does not wait, and hears again by itself when the store is back.
    fn listen(&self) -> Listener;
}

/// Token buckets, kept for as long as they are not full.
#[async_trait]
pub trait Limits: Send + Sync {
    /// Takes one token out of each of these buckets, whose keys differ, in one step: if one of them
    /// has none, none is taken from any. What it answers is in the order of what was asked.
    /// `Unavailable` if the buckets cannot be reached.
    async fn take(&self, asked: &[Take]) -> Result<Vec<Taken>, StoreError>;
}

/// What was answered to requests that are done once, however often they are sent.
#[async_trait]
pub trait Idempotency: Send + Sync {
    /// Claims a key for its lease, or tells what became of it before. Of several at once, one gets
    /// it. `Unavailable` if it cannot be kept; nothing is thrown away to make room.
    async fn begin(&self, claim: &Claim) -> Result<Begun, StoreError>;
    /// Keeps the answer for a time from now. False, and nothing kept, if the claim's lease has
    /// ended.
    async fn complete(
        &self,
        claim: &Claim,
        answer: Bytes,
        retention: Duration,
    ) -> Result<bool, StoreError>;
    /// Gives the key back, as if it had never been claimed. Nothing happens if the claim's lease has
    /// ended, or its answer is kept.
    async fn abandon(&self, claim: &Claim) -> Result<(), StoreError>;
}
