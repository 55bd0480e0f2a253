//! Ports whose operations are measured: how long each took, and what came of it.
//!
//! Here is OpenTelemetry's API alone: it does nothing unless the process set telemetry up.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use domain::counts::CountBatch;
use domain::metrics as names;
use domain::prediction::Exposure;
use domain::shadow::ShadowRecord;
use domain::{
    AuditFilter, AuditRow, Credential, CredentialKind, Delivery, DeliveryFilter, DueDelivery,
    Event, EventFilter, Feedback, Model, ModelName, ModelPolicy, Pending, PlacedEvent, Plan,
    PlanId, PlanKind, PredictionId, PredictionRecord, Revocation, Route, Tally, User, UserId,
    Version, VersionId, Webhook, WebhookId,
};
use opentelemetry::metrics::Histogram;
use opentelemetry::{KeyValue, global};
use time::OffsetDateTime;

use crate::StoreError;
use crate::ports::{
    Accounts, Announcements, Artifacts, AuditTrail, Begun, Claim, Credentials, Events,
    FeedbackStore, Idempotency, Limits, Listener, Plans, PredictionLog, Registry, ResponseCache,
    Routes, Shadows, Take, Taken,
};
use crate::stores::{Cache, Documents, Relational};

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    let meter = global::meter("decision-engine");
    let duration = meter.f64_histogram(names::STORE_DURATION).with_unit("s");
    duration.with_boundaries(names::SECONDS.to_vec()).build()
});

/// A port that is measured.
struct Observed<T: ?Sized>(Arc<T>);

pub(crate) fn relational(store: Relational) -> Relational {
    Relational {
        accounts: Arc::new(Observed(store.accounts)),
        credentials: Arc::new(Observed(store.credentials)),
        audit: Arc::new(Observed(store.audit)),
        registry: Arc::new(Observed(store.registry)),
        routes: Arc::new(Observed(store.routes)),
        plans: Arc::new(Observed(store.plans)),
        events: Arc::new(Observed(store.events)),
        ..store
    }
}

pub(crate) fn documents(store: Documents) -> Documents {
    Documents {
        predictions: Arc::new(Observed(store.predictions)),
        feedback: Arc::new(Observed(store.feedback)),
        shadows: Arc::new(Observed(store.shadows)),
        ..store
    }
}

pub(crate) fn cache(store: Cache) -> Cache {
    Cache {
        announcements: Arc::new(Observed(store.announcements)),
        limits: Arc::new(Observed(store.limits)),
        idempotency: Arc::new(Observed(store.idempotency)),
        responses: Arc::new(Observed(store.responses)),
        ..store
    }
}

pub(crate) fn artifacts(store: Arc<dyn Artifacts>) -> Arc<dyn Artifacts> {
    Arc::new(Observed(store))
}

async fn measured<T>(
    store: &'static str,
    operation: &'static str,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let began = Instant::now();
    let result = work.await;
    let labels = [
        KeyValue::new("store", store),
        KeyValue::new("operation", operation),
        KeyValue::new("outcome", outcome(&result)),
    ];
    DURATION.record(began.elapsed().as_secs_f64(), &labels);
    result
}

/// What came of it, as a caller would tell it apart.
fn outcome<T>(result: &Result<T, StoreError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(StoreError::Conflict { .. }) => "conflict",
        Err(StoreError::NotFound { .. }) => "not_found",
        Err(StoreError::Invalid { .. }) => "invalid",
        Err(StoreError::Unavailable { .. }) => "unavailable",
        Err(_) => "failed",
    }
}

/// Each operation hands on to the port within.
macro_rules! observed {
    ($store:literal: $port:ident {
        $($method:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)+
    }) => {
        #[async_trait]
        impl $port for Observed<dyn $port> {
            $(async fn $method(&self, $($argument: $kind),*) -> Result<$answer, StoreError> {
                measured($store, stringify!($method), self.0.$method($($argument),*)).await
            })+
        }
    };
}

observed! { "relational": Accounts {
    create_user(user: User) -> ();
    user_by_name(username: &str) -> Option<User>;
    user(id: UserId) -> Option<User>;
    update_user(user: User) -> ();
    users() -> Vec<User>;
} }

observed! { "relational": Credentials {
    get(kind: CredentialKind, id: &str) -> Option<Credential>;
    put(credential: Credential) -> ();
    all(kind: CredentialKind) -> Vec<Credential>;
    ended_since(since: OffsetDateTime) -> Vec<Revocation>;
    forget(before: OffsetDateTime) -> u64;
} }

observed! { "relational": AuditTrail {
    append(rows: &[AuditRow]) -> ();
    head() -> Option<(u64, String)>;
    page(filter: &AuditFilter, limit: u32) -> Vec<AuditRow>;
} }

observed! { "relational": Registry {
    create_model(model: Model) -> ();
    model(name: &ModelName) -> Option<Model>;
    models() -> Vec<Model>;
    create_version(version: Version) -> Version;
    versions(model: Option<&ModelName>) -> Vec<Version>;
    set_alias(model: &ModelName, alias: &str, version: Option<VersionId>) -> ();
    set_policy(model: &ModelName, policy: ModelPolicy) -> ModelPolicy;
    set_enabled(model: &ModelName, version: Option<VersionId>, enabled: bool) -> ();
} }

observed! { "relational": Plans {
    plan(id: &PlanId) -> Option<Plan>;
    plans(kind: PlanKind, open_only: bool) -> Vec<Plan>;
    put_plan(plan: Plan) -> ();
    count(batches: &[CountBatch]) -> ();
    waiting(plan: &PlanId, limit: u32) -> Vec<CountBatch>;
    take_in(plan: Plan, batches: &[String]) -> ();
    forget_counts(before: OffsetDateTime) -> u64;
    lease(name: &str, holder: &str, now: OffsetDateTime, until: OffsetDateTime) -> bool;
} }

observed! { "relational": Routes {
    route(model: &ModelName) -> Option<Route>;
    routes() -> Vec<Route>;
    put_route(route: Route) -> ();
    history(model: &ModelName, before: u64, limit: u32) -> Vec<Route>;
} }

observed! { "relational": Events {
    append(events: &[Event], forget_before: OffsetDateTime) -> ();
    page(filter: &EventFilter, limit: u32) -> Vec<PlacedEvent>;
    put_webhook(webhook: Webhook) -> ();
    webhooks() -> Vec<Webhook>;
    remove_webhook(id: WebhookId) -> ();
    claim(now: OffsetDateTime, lease: Duration, limit: u32) -> Vec<DueDelivery>;
    put_delivery(delivery: Delivery) -> ();
    deliveries(filter: &DeliveryFilter, limit: u32) -> Vec<Delivery>;
} }

observed! { "documents": PredictionLog {
    append(records: &[PredictionRecord]) -> ();
    get(id: PredictionId) -> Option<PredictionRecord>;
    since(model: &ModelName, since: OffsetDateTime, limit: u32) -> Vec<PredictionRecord>;
    exposures(plan: &PlanId, after: Option<PredictionId>, limit: u32) -> Vec<Exposure>;
    known(ids: &[PredictionId]) -> HashMap<PredictionId, ModelName>;
} }

observed! { "documents": Shadows {
    append(records: &[ShadowRecord]) -> ();
    compared(
        model: &ModelName,
        version: VersionId,
        since: OffsetDateTime,
        limit: u32
    ) -> Vec<ShadowRecord>;
} }

observed! { "documents": FeedbackStore {
    add_all(feedback: &[Feedback], known: &HashMap<PredictionId, ModelName>) -> Vec<bool>;
    of_prediction(id: PredictionId) -> Vec<Feedback>;
    of_predictions(ids: &[PredictionId]) -> Vec<Feedback>;
    of_units(model: &ModelName, units: &[String], since: OffsetDateTime) -> Vec<Feedback>;
    pending(after: Option<PredictionId>, limit: u32) -> Vec<Pending>;
    settle(known: &HashMap<PredictionId, ModelName>) -> ();
    tally(model: Option<&ModelName>, since: OffsetDateTime) -> Vec<Tally>;
} }

observed! { "artifacts": Artifacts {
    put(bytes: Bytes) -> String;
    get(sha256: &str) -> Bytes;
} }

observed! { "cache": Limits {
    take(asked: &[Take]) -> Vec<Taken>;
} }

observed! { "cache": Idempotency {
    begin(claim: &Claim) -> Begun;
    complete(claim: &Claim, answer: Bytes, retention: Duration) -> bool;
    abandon(claim: &Claim) -> ();
} }

observed! { "cache": ResponseCache {
    get(key: &str) -> Option<Bytes>;
    put(key: &str, bytes: Bytes, ttl: Duration) -> ();
} }

#[async_trait]
impl Announcements for Observed<dyn Announcements> {
    async fn announce(&self, topic: &str) -> Result<(), StoreError> {
        measured("cache", "announce", self.0.announce(topic)).await
    }

    fn listen(&self) -> Listener {
        self.0.listen()
    }
}
