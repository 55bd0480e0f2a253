//! Where a rollback leads, decided by what is known here and in the store, which decides among changes
//! that are made at once. Without the store, what this router knows decides.

use std::sync::Arc;
use std::time::Duration;

use contracts::inference::Target;
use contracts::{ApiError, ErrorCode};
use domain::{ModelName, Route, VersionId};
use storage::StoreError;

use super::aim::{self, Choices, Signature};
use super::past::{Found, Past};
use super::{ATTEMPTS, Order};
use crate::error::RouterError;
use crate::service::Service;
use crate::service::routes::no_route;
use crate::table::unknown_model;

/// A route that was replaced, and by what.
pub(super) struct Turned {
    pub(super) before: Arc<Route>,
    pub(super) after: Arc<Route>,
    pub(super) stable: bool,
    pub(super) stored: bool,
}

/// What is known of a model's route.
struct Seen {
    route: Arc<Route>,
    past: Past,
    /// The generation that the store has; none if it does not answer.
    in_store: Option<u64>,
}

impl Service {
    /// Decides where to go, and has the store decide among changes that are made at once. Without the
    /// store, what this router knows decides.
    pub(super) async fn turn(&self, order: Order<'_>) -> Result<Turned, ApiError> {
        let model = order.model;
        if !self.table.has(model) {
            // It may be younger than what this router last read.
            self.refresh().await.ok();
        }
        // Fixed at the first look: what whoever asks wants to get away from.
        let mut leaving: Option<Vec<VersionId>> = None;
        let mut reachable = self.store_pending(model).await.is_ok();
        for _ in 0..ATTEMPTS {
            let Seen { route: before, past, in_store } = self.look(model, reachable).await?;
            reachable = in_store.is_some();
            let versions = self.table.enabled_versions(model);
            let now = self.deps.clock.now();
            let choices = Choices {
                route: &before,
                past: &past,
                versions: &versions,
                now,
                long_enough: time::Duration::seconds(
                    i64::try_from(self.settings.stable_after_s).unwrap_or(i64::MAX),
                ),
            };
            let done = leaving.as_ref().is_some_and(|left| aim::is_done(&before, order.to, left));
            if done || aim::is_since(&before, order.to, order.asked_at) {
                let stable = before.whole().is_some_and(|version| choices.is_stable(version));
                let stored = in_store.is_some_and(|generation| generation >= before.generation);
                return Ok(Turned { after: Arc::clone(&before), before, stable, stored });
            }
            let left = leaving.get_or_insert_with(|| choices.leaving(order.to));
            let found = choices.target(order.to, left)?;
            let sign = Signature { by: order.by, reason: order.reason, at: now };
            let after = Arc::new(aim::rolled_back(&before, found.version, left, sign));
            self.have_loaded(model, found).await?;
            // A store that is behind what serves, such as one of a backup, takes it later.
            let behind = in_store.is_some_and(|generation| generation < before.generation);
            let stored = if reachable && !behind {
                let put = self.deps.relational.routes.put_route((*after).clone());
                match self.in_time(put).await {
                    Ok(()) => true,
                    Err(StoreError::Conflict { .. }) => continue,
                    Err(StoreError::Unavailable { .. }) => false,
                    Err(error) => return Err(RouterError::from(error).into()),
                }
            } else {
                false
            };
            return Ok(Turned { before, after, stable: found.stable, stored });
        }
        Err(ApiError::new(
            ErrorCode::Conflict,
            format!("the route of model `{model}` is changed all the time: try again"),
        ))
    }

    /// The newest route that is known here or in the store, with what was before it.
    async fn look(&self, model: &ModelName, ask: bool) -> Result<Seen, ApiError> {
        let relational = &self.deps.relational;
        let (mut stored, mut in_store) = (None, None);
        if ask && let Ok(route) = self.in_time(relational.routes.route(model)).await {
            in_store = Some(route.as_ref().map_or(0, |route| route.generation));
            stored = route.map(Arc::new);
        }
        let here = self.table.route(model);
        if stored.as_ref().map(|route| route.generation) > here.as_ref().map(|r| r.generation) {
            // This router missed a change, and versions with it.
            self.refresh_soon().await;
        }
        let newest = stored.into_iter().chain(here).max_by_key(|route| route.generation);
        let Some(route) = newest else {
            let known = self.table.has(model);
            return Err(if known { no_route(model) } else { unknown_model(model) });
        };
        let mut past = self.back.pasts.of(model);
        if past.generation() != route.generation
            && in_store.is_some()
            && let Ok(Ok(read)) = tokio::time::timeout(self.patience(), self.read_past(model)).await
        {
            past = read;
        }
        past.add(&route);
        Ok(Seen { route, past, in_store })
    }

    /// Takes in versions that this router has not heard of.
    async fn refresh_soon(&self) {
        tokio::time::timeout(self.patience(), self.refresh()).await.ok();
    }

    /// Sees to it that the version can answer. One that some replica holds can; where no replica
    /// answers, it is no worse than what serves.
    async fn have_loaded(&self, model: &ModelName, found: Found) -> Result<(), ApiError> {
        let target = Target { model: model.clone(), version: found.version };
        if self.fleet.held().contains(&target) {
            return Ok(());
        }
        let Some(version) = self.table.version(&target) else { return Ok(()) };
        match self.fleet.load(&version).await {
            Err(error) if matches!(error.code, ErrorCode::Unavailable | ErrorCode::Timeout) => {
                tracing::warn!(%model, version = %target.version, %error, "rolling back to a version that no replica could load yet");
                Ok(())
            }
            Err(error) => Err(ApiError::new(
                ErrorCode::Conflict,
                format!(
                    "version `{}` of model `{model}` does not load ({error}): name another with `to`",
                    target.version
                ),
            )),
            Ok(()) => Ok(()),
        }
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(self.settings.rollback.store_timeout_ms.max(1))
    }

    /// What the store says, or that it is not there if that takes too long.
    pub(super) async fn in_time<T>(
        &self,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let answer = tokio::time::timeout(self.patience(), asked).await;
        answer.unwrap_or_else(|elapsed| {
            Err(StoreError::Unavailable {
                store: "storage.relational".to_owned(),
                action: "answer within `router.rollback.store_timeout_ms`",
                source: Box::new(elapsed),
            })
        })
    }
}
