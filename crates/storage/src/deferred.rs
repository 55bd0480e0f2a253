//! Stores that need not be there at the start: a service begins without them and they are opened
//! in the background.
//!
//! A store that answers at once is handed on as it is. One that is unavailable is wrapped: until it
//! is open, each call answers `Unavailable` at once, without waiting. Whoever composes the service
//! spawns [`Opening`].

mod documents;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::counts::CountBatch;
use domain::{
    AuditFilter, AuditRow, Credential, CredentialKind, Delivery, DeliveryFilter, DueDelivery,
    Event, EventFilter, Model, ModelName, ModelPolicy, PlacedEvent, Plan, PlanId, PlanKind,
    Revocation, Route, User, UserId, Version, VersionId, Webhook, WebhookId,
};
use time::OffsetDateTime;

use crate::StoreError;
use crate::observed;
use crate::ports::{Accounts, AuditTrail, Credentials, Events, Plans, Registry, Routes};
use crate::stores::{self, Check, Documents, Relational};

/// Opens the store, however long it takes. Ends at once if it is open already.
pub type Opening = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Waits this long after a store could not be opened.
const PAUSE: Duration = Duration::from_secs(1);

/// Opens the store named by the setting `storage.relational`, now or later.
///
/// # Errors
/// As [`stores::relational`], but for `Unavailable`.
pub async fn relational(url: &str) -> Result<(Relational, Opening), StoreError> {
    let open = |url: String| async move { stores::open_relational(&url).await };
    let (store, opening) = now_or_later(url, open, stores::all_of).await?;
    Ok((observed::relational(store), opening))
}

/// Opens the store named by the setting `storage.documents`, now or later.
///
/// # Errors
/// As [`stores::documents`], but for `Unavailable`.
pub async fn documents(url: &str) -> Result<(Documents, Opening), StoreError> {
    let open = |url: String| async move { stores::open_documents(&url).await };
    let (store, opening) = now_or_later(url, open, stores::all_of_documents).await?;
    Ok((observed::documents(store), opening))
}

async fn now_or_later<S, F>(
    url: &str,
    open: impl Fn(String) -> F + Send + Sync + 'static,
    wrap: fn(Arc<Deferred<S>>) -> S,
) -> Result<(S, Opening), StoreError>
where
    S: Send + Sync + 'static,
    F: Future<Output = Result<S, StoreError>> + Send + 'static,
{
    let error = match open(url.to_owned()).await {
        Ok(store) => return Ok((store, Box::pin(std::future::ready(())))),
        Err(error) => error,
    };
    let deferred = Deferred::after(error)?;
    let (later, url) = (Arc::clone(&deferred), url.to_owned());
    let opening = async move { later.open(|| open(url.clone())).await };
    Ok((wrap(deferred), Box::pin(opening)))
}

/// A store that is opened later.
struct Deferred<S> {
    /// The store's URL, without secrets.
    store: String,
    opened: OnceLock<S>,
    /// Why it could not be opened when it was last tried.
    cause: Mutex<String>,
}

impl<S> Deferred<S> {
    /// A store that could not be opened for a reason that may pass; else the reason.
    fn after(error: StoreError) -> Result<Arc<Self>, StoreError> {
        let StoreError::Unavailable { store, .. } = &error else { return Err(error) };
        let (store, cause) = (store.clone(), Mutex::new(chain(&error)));
        tracing::warn!(%store, error = chain(&error), "a store is not there: it is opened in the background");
        Ok(Arc::new(Self { store, opened: OnceLock::new(), cause }))
    }

    async fn open<F: Future<Output = Result<S, StoreError>>>(&self, open: impl Fn() -> F) {
        loop {
            tokio::time::sleep(PAUSE).await;
            match open().await {
                Ok(store) => {
                    tracing::info!(store = self.store, "a store is open now");
                    let _ = self.opened.set(store);
                    return;
                }
                Err(error) => self.note(chain(&error)),
            }
        }
    }

    fn note(&self, cause: String) {
        let mut known = self.cause.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != cause {
            tracing::warn!(store = self.store, error = cause, "a store cannot be opened yet");
            *known = cause;
        }
    }

    fn get(&self) -> Result<&S, StoreError> {
        self.opened.get().ok_or_else(|| StoreError::Unavailable {
            store: self.store.clone(),
            action: "open it",
            source: self.cause.lock().unwrap_or_else(PoisonError::into_inner).clone().into(),
        })
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[async_trait]
impl Check for Deferred<Relational> {
    async fn check(&self) -> Result<(), StoreError> {
        self.get()?.check().await
    }
}

#[async_trait]
impl Accounts for Deferred<Relational> {
    async fn create_user(&self, user: User) -> Result<(), StoreError> {
        self.get()?.accounts.create_user(user).await
    }

    async fn user_by_name(&self, username: &str) -> Result<Option<User>, StoreError> {
        self.get()?.accounts.user_by_name(username).await
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.get()?.accounts.user(id).await
    }

    async fn update_user(&self, user: User) -> Result<(), StoreError> {
        self.get()?.accounts.update_user(user).await
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        self.get()?.accounts.users().await
    }
}

#[async_trait]
impl Credentials for Deferred<Relational> {
    async fn get(&self, kind: CredentialKind, id: &str) -> Result<Option<Credential>, StoreError> {
        self.get()?.credentials.get(kind, id).await
    }

    async fn put(&self, credential: Credential) -> Result<(), StoreError> {
        self.get()?.credentials.put(credential).await
    }

    async fn all(&self, kind: CredentialKind) -> Result<Vec<Credential>, StoreError> {
        self.get()?.credentials.all(kind).await
    }

    async fn ended_since(&self, since: OffsetDateTime) -> Result<Vec<Revocation>, StoreError> {
        self.get()?.credentials.ended_since(since).await
    }

    async fn forget(&self, before: OffsetDateTime) -> Result<u64, StoreError> {
        self.get()?.credentials.forget(before).await
    }
}

#[async_trait]
impl AuditTrail for Deferred<Relational> {
    async fn append(&self, rows: &[AuditRow]) -> Result<(), StoreError> {
        self.get()?.audit.append(rows).await
    }

    async fn head(&self) -> Result<Option<(u64, String)>, StoreError> {
        self.get()?.audit.head().await
    }

    async fn page(&self, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        self.get()?.audit.page(filter, limit).await
    }
}

#[async_trait]
impl Registry for Deferred<Relational> {
    async fn create_model(&self, model: Model) -> Result<(), StoreError> {
        self.get()?.registry.create_model(model).await
    }

    async fn model(&self, name: &ModelName) -> Result<Option<Model>, StoreError> {
        self.get()?.registry.model(name).await
    }

    async fn models(&self) -> Result<Vec<Model>, StoreError> {
        self.get()?.registry.models().await
    }

    async fn create_version(&self, version: Version) -> Result<Version, StoreError> {
        self.get()?.registry.create_version(version).await
    }

    async fn versions(&self, model: Option<&ModelName>) -> Result<Vec<Version>, StoreError> {
        self.get()?.registry.versions(model).await
    }

    async fn set_alias(
        &self,
        model: &ModelName,
        alias: &str,
        version: Option<VersionId>,
    ) -> Result<(), StoreError> {
        self.get()?.registry.set_alias(model, alias, version).await
    }

    async fn set_policy(
        &self,
        model: &ModelName,
        policy: ModelPolicy,
    ) -> Result<ModelPolicy, StoreError> {
        self.get()?.registry.set_policy(model, policy).await
    }

    async fn set_enabled(
        &self,
        model: &ModelName,
        version: Option<VersionId>,
        enabled: bool,
    ) -> Result<(), StoreError> {
        self.get()?.registry.set_enabled(model, version, enabled).await
    }
}

#[async_trait]
impl Routes for Deferred<Relational> {
    async fn route(&self, model: &ModelName) -> Result<Option<Route>, StoreError> {
        self.get()?.routes.route(model).await
    }

    async fn routes(&self) -> Result<Vec<Route>, StoreError> {
        self.get()?.routes.routes().await
    }

    async fn put_route(&self, route: Route) -> Result<(), StoreError> {
        self.get()?.routes.put_route(route).await
    }

    async fn history(
        &self,
        model: &ModelName,
        before: u64,
        limit: u32,
    ) -> Result<Vec<Route>, StoreError> {
        self.get()?.routes.history(model, before, limit).await
    }
}

#[async_trait]
impl Plans for Deferred<Relational> {
    async fn plan(&self, id: &PlanId) -> Result<Option<Plan>, StoreError> {
        self.get()?.plans.plan(id).await
    }

    async fn plans(&self, kind: PlanKind, open_only: bool) -> Result<Vec<Plan>, StoreError> {
        self.get()?.plans.plans(kind, open_only).await
    }

    async fn put_plan(&self, plan: Plan) -> Result<(), StoreError> {
        self.get()?.plans.put_plan(plan).await
    }

    async fn count(&self, batches: &[CountBatch]) -> Result<(), StoreError> {
        self.get()?.plans.count(batches).await
    }

    async fn waiting(&self, plan: &PlanId, limit: u32) -> Result<Vec<CountBatch>, StoreError> {
        self.get()?.plans.waiting(plan, limit).await
    }

    async fn take_in(&self, plan: Plan, batches: &[String]) -> Result<(), StoreError> {
        self.get()?.plans.take_in(plan, batches).await
    }

    async fn forget_counts(&self, before: OffsetDateTime) -> Result<u64, StoreError> {
        self.get()?.plans.forget_counts(before).await
    }

    async fn lease(
        &self,
        name: &str,
        holder: &str,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        self.get()?.plans.lease(name, holder, now, until).await
    }
}

#[async_trait]
impl Events for Deferred<Relational> {
    async fn append(
        &self,
        events: &[Event],
        forget_before: OffsetDateTime,
    ) -> Result<(), StoreError> {
        self.get()?.events.append(events, forget_before).await
    }

    async fn page(&self, filter: &EventFilter, limit: u32) -> Result<Vec<PlacedEvent>, StoreError> {
        self.get()?.events.page(filter, limit).await
    }

    async fn put_webhook(&self, webhook: Webhook) -> Result<(), StoreError> {
        self.get()?.events.put_webhook(webhook).await
    }

    async fn webhooks(&self) -> Result<Vec<Webhook>, StoreError> {
        self.get()?.events.webhooks().await
    }

    async fn remove_webhook(&self, id: WebhookId) -> Result<(), StoreError> {
        self.get()?.events.remove_webhook(id).await
    }

    async fn claim(
        &self,
        now: OffsetDateTime,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        self.get()?.events.claim(now, lease, limit).await
    }

    async fn put_delivery(&self, delivery: Delivery) -> Result<(), StoreError> {
        self.get()?.events.put_delivery(delivery).await
    }

    async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        self.get()?.events.deliveries(filter, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable() -> StoreError {
        let source = "connection refused".into();
        StoreError::Unavailable { store: "postgres://h/db".to_owned(), action: "connect", source }
    }

    #[tokio::test]
    async fn it_answers_unavailable_with_the_cause_until_it_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("r.db").display());
        let deferred = Deferred::<Relational>::after(unavailable()).unwrap();
        let store = stores::all_of(Arc::clone(&deferred));
        for error in [store.check().await.unwrap_err(), store.registry.models().await.unwrap_err()]
        {
            let text = chain(&error);
            assert!(matches!(error, StoreError::Unavailable { .. }), "{text}");
            assert!(
                text.contains("`postgres://h/db`") && text.contains("connection refused"),
                "{text}"
            );
        }
        deferred.open(|| stores::relational(&url)).await;
        store.check().await.unwrap();
        assert_eq!(store.registry.models().await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_store_that_is_there_is_not_wrapped_and_a_wrong_url_fails_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("d.db").display());
        let (store, opening) = documents(&url).await.unwrap();
        opening.await;
        store.check().await.unwrap();
        let error = relational("mysql://h/db").await.err().unwrap();
        assert!(matches!(error, StoreError::UnsupportedUrl { .. }), "{error}");
    }
}
