//! Who had all of a model's requests, and since when: what a rollback looks back on, also while the
//! store that keeps the history does not answer.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use domain::{ModelName, Route, VersionId};
use futures_util::StreamExt as _;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::error::RouterError;
use crate::service::Service;

/// Models whose history is read at the same time.
const AT_ONCE: usize = 8;

/// A time in which one version had all of the route's own arms, or none had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stay {
    /// The version; none where several shared.
    version: Option<VersionId>,
    #[serde(with = "time::serde::rfc3339")]
    since: OffsetDateTime,
}

/// The stays of a model, oldest first; the last one goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Past {
    /// Up to which generation of the route it goes.
    generation: u64,
    stays: Vec<Stay>,
}

/// A version that had everything once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) version: VersionId,
    /// Whether it had it for long enough.
    pub(crate) stable: bool,
}

impl Past {
    /// From routes, newest first.
    pub(crate) fn of(routes: &[Route]) -> Self {
        let mut past = Self::default();
        routes.iter().rev().for_each(|route| past.add(route));
        past
    }

    /// The next route. One that is known already changes nothing.
    pub(crate) fn add(&mut self, route: &Route) {
        if route.generation <= self.generation && self.generation > 0 {
            return;
        }
        let version = route.whole();
        if self.stays.last().is_none_or(|last| last.version != version) {
            self.stays.push(Stay { version, since: route.updated_at });
        }
        self.generation = route.generation;
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Looks back for the version that last had everything for `long_enough`, among those that are
    /// `wanted`. If none had, the one that last had everything at all.
    pub(crate) fn look_back(
        &self,
        now: OffsetDateTime,
        long_enough: Duration,
        wanted: impl Fn(VersionId) -> bool,
    ) -> Option<Found> {
        let mut until = now;
        let mut unstable = None;
        for stay in self.stays.iter().rev() {
            if let Some(version) = stay.version.filter(|version| wanted(*version)) {
                if until - stay.since >= long_enough {
                    return Some(Found { version, stable: true });
                }
                unstable.get_or_insert(Found { version, stable: false });
            }
            until = stay.since;
        }
        unstable
    }
}

/// What is known of all models.
#[derive(Default)]
pub(crate) struct Pasts(RwLock<BTreeMap<ModelName, Past>>);

impl Pasts {
    pub(crate) fn of(&self, model: &ModelName) -> Past {
        let pasts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        pasts.get(model).cloned().unwrap_or_default()
    }

    pub(crate) fn all(&self) -> BTreeMap<ModelName, Past> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes in what an earlier run knew.
    pub(crate) fn put(&self, known: BTreeMap<ModelName, Past>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).extend(known);
    }

    /// Takes in a route that is in force now. If one before it was missed, nothing is taken in: the
    /// store is asked for both.
    pub(crate) fn add(&self, route: &Route) {
        let mut pasts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let past = pasts.entry(route.model.clone()).or_default();
        if past.generation + 1 == route.generation {
            past.add(route);
        }
    }

    fn generation(&self, model: &ModelName) -> u64 {
        let pasts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        pasts.get(model).map_or(0, Past::generation)
    }
}

impl Service {
    /// Keeps up with the routes in force: reads of the store what was missed of their history.
    pub(in crate::service) async fn remember(&self) {
        let mut missed = Vec::new();
        for (model, generation) in self.table.generations() {
            let known = self.back.pasts.generation(&model);
            if known + 1 == generation
                && let Some(route) = self.table.route(&model)
            {
                self.back.pasts.add(&route);
            } else if known < generation {
                missed.push(model);
            }
        }
        let read = stream::iter(missed).map(|model| async move {
            match self.read_past(&model).await {
                Ok(past) => self.back.pasts.put([(model, past)].into()),
                Err(error) => tracing::debug!(%model, %error, "the history is read later"),
            }
        });
        read.buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    /// A model's past as the store has it, and as it goes on here.
    pub(super) async fn read_past(&self, model: &ModelName) -> Result<Past, RouterError> {
        let routes = &self.deps.relational.routes;
        let read = routes.history(model, u64::MAX, self.settings.rollback.history.max(1));
        let mut past = Past::of(&read.await?);
        if let Some(route) = self.table.route(model) {
            past.add(&route);
        }
        Ok(past)
    }
}

#[cfg(test)]
mod tests;
