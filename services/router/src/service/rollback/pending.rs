//! Rollbacks that the store has not got yet: kept in a file, in force, and stored when the store is
//! back.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::{ModelName, Route};
use serde::{Deserialize, Serialize};
use storage::StoreError;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::aim::{Signature, is_done, rolled_back};
use super::{ATTEMPTS, Service};
use crate::error::RouterError;
use crate::saved;
use crate::service::driving::own_call;

/// How the file is written; another number is not read.
const FORMAT: u32 = 1;

/// The file, and what it holds.
pub(crate) struct Pending {
    path: PathBuf,
    /// Of each model, oldest first.
    routes: Mutex<BTreeMap<ModelName, Vec<Arc<Route>>>>,
    /// Held by whoever brings them to the store.
    settling: Mutex<()>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    format: u32,
    routes: Vec<Arc<Route>>,
}

impl Pending {
    /// With what an earlier run left.
    pub(super) fn new(path: PathBuf) -> Self {
        let kept = read(&path).unwrap_or_else(|error| {
            tracing::error!(path = %path.display(), %error, "rollbacks that the store has not got yet cannot be read (`router.pending`): look into the file");
            Vec::new()
        });
        let mut routes = BTreeMap::<_, Vec<_>>::new();
        for route in kept {
            routes.entry(route.model.clone()).or_default().push(route);
        }
        let settling = Mutex::default();
        Self { path, routes: Mutex::new(routes), settling }
    }

    /// All of them, oldest first for each model.
    pub(in crate::service) async fn all(&self) -> Vec<Arc<Route>> {
        self.routes.lock().await.values().flatten().cloned().collect()
    }

    async fn of(&self, model: &ModelName) -> Vec<Arc<Route>> {
        self.routes.lock().await.get(model).cloned().unwrap_or_default()
    }

    /// Keeps one. When this returns it survives a power cut, unless the disk is at fault, which the
    /// log says.
    pub(super) async fn keep(&self, route: &Arc<Route>) {
        let mut routes = self.routes.lock().await;
        let of_model = routes.entry(route.model.clone()).or_default();
        if of_model.contains(route) {
            return;
        }
        of_model.push(Arc::clone(route));
        self.write(&routes).await;
    }

    /// Lets go of those up to a generation.
    pub(super) async fn forget(&self, model: &ModelName, up_to: u64) {
        let mut routes = self.routes.lock().await;
        let Some(of_model) = routes.get_mut(model) else { return };
        of_model.retain(|route| route.generation > up_to);
        if of_model.is_empty() {
            routes.remove(model);
        }
        self.write(&routes).await;
    }

    async fn write(&self, routes: &BTreeMap<ModelName, Vec<Arc<Route>>>) {
        let kept = Kept { format: FORMAT, routes: routes.values().flatten().cloned().collect() };
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || {
            let bytes = serde_json::to_vec(&kept).map_err(io::Error::other)?;
            saved::write(&path, &bytes)
        });
        let written = written.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        if let Err(error) = written {
            let path = self.path.display();
            tracing::error!(%path, %error, "a rollback is in force, but cannot be kept for a restart while the store is down (`router.pending`)");
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<Arc<Route>>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let kept: Kept = serde_json::from_slice(&bytes)?;
    if kept.format == FORMAT {
        return Ok(kept.routes);
    }
    let text = format!("it has format {}, this release reads {FORMAT}", kept.format);
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
}

impl Service {
    /// Puts in force what an earlier run kept, whatever the store said meanwhile.
    pub(in crate::service) async fn put_pending(&self) {
        for route in self.back.pending.all().await {
            tracing::warn!(model = %route.model, generation = route.generation, "a rollback that the store has not got yet is in force");
            self.put_here(&route);
        }
    }

    /// Makes known what was put in force, and brings to the store what it has not got yet. Runs until
    /// told to stop.
    pub(crate) async fn settle(&self, stop: CancellationToken) {
        let pause = Duration::from_millis(self.settings.rollback.retry_ms.max(10));
        loop {
            let woken = tokio::select! {
                () = stop.cancelled() => return,
                () = self.back.wake.notified() => true,
                () = tokio::time::sleep(pause) => false,
            };
            if woken {
                self.keep_table().await;
            }
            if self.back.untold.swap(false, Ordering::Relaxed) {
                self.announce().await;
            }
            let mut models: Vec<_> =
                self.back.pending.all().await.iter().map(|route| route.model.clone()).collect();
            models.dedup();
            for model in models {
                let Err(error) = self.store_pending(&model).await else { continue };
                tracing::debug!(%model, %error, "the store does not take a rollback yet");
                // For those that did not hear of it, or began anew since.
                if !woken && let Some(newest) = self.back.pending.of(&model).await.last() {
                    self.impose_on_others(newest, false).await;
                }
            }
        }
    }

    /// Brings a model's rollbacks to the store. Does nothing if there are none.
    ///
    /// # Errors
    /// What the store says.
    pub(in crate::service) async fn store_pending(
        &self,
        model: &ModelName,
    ) -> Result<(), RouterError> {
        if self.back.pending.of(model).await.is_empty() {
            return Ok(());
        }
        let _alone = self.back.pending.settling.lock().await;
        for _ in 0..ATTEMPTS {
            let waiting = self.back.pending.of(model).await;
            let Some(newest) = waiting.last() else { return Ok(()) };
            let settled = match self.bring_to_store(&waiting, newest).await {
                Ok(settled) => settled,
                Err(StoreError::Conflict { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let generation = settled.generation;
            tracing::info!(%model, generation, "the store has a rollback that was made while it was down");
            self.end_plans(&own_call(), &settled, None).await;
            self.back.pending.forget(model, newest.generation).await;
        }
        Ok(())
    }

    /// Stores the routes in their order, or, if the store went another way meanwhile, the newest once
    /// more on top of that. Returns the one that the store has.
    async fn bring_to_store(
        &self,
        waiting: &[Arc<Route>],
        newest: &Arc<Route>,
    ) -> Result<Arc<Route>, StoreError> {
        let routes = &self.deps.relational.routes;
        let model = &newest.model;
        let mut stored = self.in_time(routes.route(model)).await?;
        while stored.as_ref().map_or(0, |route| route.generation) < newest.generation {
            let generation = stored.as_ref().map_or(0, |route| route.generation) + 1;
            // Where generations were passed over, the route that came into force next fills the gap.
            let next = waiting.iter().find(|route| route.generation >= generation);
            let Some(next) = next else { break };
            let route = Route { generation, ..(**next).clone() };
            self.in_time(routes.put_route(route.clone())).await?;
            stored = Some(route);
        }
        let stored = stored.map(Arc::new).unwrap_or_else(|| Arc::clone(newest));
        let same = if stored.generation == newest.generation {
            stored == *newest
        } else {
            let at = routes.history(model, newest.generation + 1, 1);
            self.in_time(at).await?.first() == Some(&**newest)
        };
        let Some(to) = newest.whole() else { return Ok(stored) };
        let left: Vec<_> = newest
            .blocked
            .iter()
            .filter(|blocked| blocked.at == newest.updated_at)
            .map(|blocked| blocked.version)
            .collect();
        if same || is_done(&stored, Some(to), &left) {
            return Ok(if same { Arc::clone(newest) } else { stored });
        }
        let sign =
            Signature { by: &newest.updated_by, reason: &newest.reason, at: self.deps.clock.now() };
        let on_top = Arc::new(rolled_back(&stored, to, &left, sign));
        self.in_time(routes.put_route((*on_top).clone())).await?;
        self.put_everywhere(Arc::clone(&on_top), true).await;
        Ok(on_top)
    }
}
