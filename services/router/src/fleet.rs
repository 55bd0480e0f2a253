//! The inference replicas: which holds what, and who takes the next request.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use contracts::inference::{Answered, PredictTask, Target};
use contracts::{ApiError, Call, ErrorCode, Framed, InferenceApi};
use domain::Version;

use crate::table::target;

/// The replicas behind a router.
pub(crate) struct Fleet {
    replicas: Vec<Replica>,
    load_timeout: Duration,
    /// Why a version could not be loaded when it was last tried.
    failures: RwLock<HashMap<Target, String>>,
}

struct Replica {
    api: Arc<dyn InferenceApi>,
    /// Requests under way.
    busy: AtomicU64,
    loaded: RwLock<HashSet<Target>>,
}

impl Fleet {
    pub(crate) fn new(replicas: Vec<Arc<dyn InferenceApi>>, load_timeout: Duration) -> Self {
        let replica = |api| Replica { api, busy: AtomicU64::new(0), loaded: RwLock::default() };
        let replicas = replicas.into_iter().map(replica).collect();
        Self { replicas, load_timeout, failures: RwLock::default() }
    }

    /// Runs a version on the least busy replica that holds it. A replica that cannot be reached, or
    /// lost the version, is passed over; if none holds it, it is loaded first.
    pub(crate) async fn predict(
        &self,
        call: &Call,
        version: &Version,
        request: &Framed<PredictTask>,
    ) -> Result<Framed<Answered>, ApiError> {
        let wanted = &request.meta.target;
        let mut last = None;
        for round in 0..2 {
            let mut holders: Vec<&Replica> =
                self.replicas.iter().filter(|replica| replica.holds(wanted)).collect();
            holders.sort_by_key(|replica| replica.busy.load(Ordering::Relaxed));
            for replica in holders {
                replica.busy.fetch_add(1, Ordering::Relaxed);
                let answer = replica.api.predict(call.clone(), request.clone()).await;
                replica.busy.fetch_sub(1, Ordering::Relaxed);
                match answer {
                    Err(error) if error.code == ErrorCode::NotFound => {
                        replica.note(wanted, false);
                        last = Some(error);
                    }
                    Err(error) if error.code == ErrorCode::Unavailable => last = Some(error),
                    answer => return answer,
                }
            }
            // Overload is not mended by loading the version once more.
            let overloaded =
                last.as_ref().is_some_and(|error| error.code == ErrorCode::Unavailable);
            if round == 0 && !overloaded {
                self.load(version).await?;
            }
        }
        Err(last.unwrap_or_else(|| {
            ApiError::new(ErrorCode::Unavailable, "no inference replica can be reached")
                .retry_after(1)
        }))
    }

    /// Proves that a version can be served, on the first replica that can be reached.
    pub(crate) async fn check(&self, version: &Version) -> Result<(), ApiError> {
        let mut last = none_reached();
        for replica in &self.replicas {
            match replica.api.check(self.own_call(), version.clone()).await {
                Ok(_) => return Ok(()),
                Err(error) if error.code == ErrorCode::Unavailable => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Loads a version on every replica that can be reached; one must succeed. Again changes
    /// nothing, but counts as a use.
    pub(crate) async fn load(&self, version: &Version) -> Result<(), ApiError> {
        let wanted = target(version);
        let mut failure = none_reached();
        let mut done = false;
        for replica in &self.replicas {
            match replica.api.load(self.own_call(), version.clone()).await {
                Ok(_) => {
                    replica.note(&wanted, true);
                    done = true;
                }
                Err(error) => {
                    replica.note(&wanted, false);
                    failure = error;
                }
            }
        }
        let mut failures = self.failures.write().unwrap_or_else(PoisonError::into_inner);
        if done {
            failures.remove(&wanted);
            return Ok(());
        }
        failures.insert(wanted, failure.to_string());
        Err(failure)
    }

    /// Frees a version on every replica.
    pub(crate) async fn unload(&self, unwanted: &Target) -> Result<(), ApiError> {
        let mut result = Ok(());
        for replica in &self.replicas {
            replica.note(unwanted, false);
            if let Err(error) = replica.api.unload(self.own_call(), unwanted.clone()).await {
                result = Err(error);
            }
        }
        result
    }

    /// Asks every replica what it holds. Returns how many answered.
    pub(crate) async fn survey(&self) -> usize {
        let mut reached = 0;
        for replica in &self.replicas {
            let answer = replica.api.loaded(self.own_call()).await;
            let held = match answer {
                Ok(list) => {
                    reached += 1;
                    list.versions.into_iter().map(|loaded| loaded.target).collect()
                }
                Err(_) => HashSet::new(),
            };
            *replica.loaded.write().unwrap_or_else(PoisonError::into_inner) = held;
        }
        reached
    }

    /// The versions that some replica holds.
    pub(crate) fn held(&self) -> HashSet<Target> {
        let held = |replica: &Replica| {
            replica.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
        };
        self.replicas.iter().flat_map(held).collect()
    }

    /// Why a version could not be loaded when it was last tried, if it could not.
    pub(crate) fn failure(&self, target: &Target) -> Option<String> {
        self.failures.read().unwrap_or_else(PoisonError::into_inner).get(target).cloned()
    }

    fn own_call(&self) -> Call {
        Call::service("router", self.load_timeout)
    }
}

impl Replica {
    fn holds(&self, wanted: &Target) -> bool {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).contains(wanted)
    }

    fn note(&self, wanted: &Target, held: bool) {
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        if held {
            loaded.insert(wanted.clone());
        } else {
            loaded.remove(wanted);
        }
    }
}

fn none_reached() -> ApiError {
    ApiError::new(ErrorCode::Unavailable, "no inference replica can be reached").retry_after(1)
}

/// Names of targets, for a message.
pub(crate) fn names<'a>(targets: impl Iterator<Item = &'a Target>) -> String {
    let names: BTreeSet<String> =
        targets.map(|target| format!("{} {}", target.model, target.version)).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}
