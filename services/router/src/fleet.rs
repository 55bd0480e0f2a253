//! The inference replicas: which holds what, and who takes the next request.
//!
//! Reading order: [`source`] (which replicas there are), `member` (what is known of one), `breaker`,
//! `budget`, `attempts` (the way of one prediction), `keeping` (the background: who joins, who
//! leaves, who holds what).

mod attempts;
mod breaker;
mod budget;
mod keeping;
mod member;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use contracts::inference::Target;
use contracts::{ApiError, Call, Deadline, ErrorCode};
use domain::Version;
use futures_util::stream::{FuturesUnordered, StreamExt};
use runtime::telemetry::{label, metrics, names as metric};

use crate::replicas::Replicas;
use crate::settings::ReplicaSettings;
use crate::table::target;
use budget::Budget;
use member::Member;

pub(crate) use keeping::keep;

/// Replicas that load more slowly than the first are waited for at least this long. Later they are
/// seen to in the background.
const STRAGGLERS: Duration = Duration::from_secs(2);

/// The replicas behind a router.
pub(crate) struct Fleet {
    source: Arc<dyn Replicas>,
    members: Arc<ArcSwap<Vec<Arc<Member>>>>,
    settings: ReplicaSettings,
    load_timeout: Duration,
    budget: Budget,
    /// Draws the two replicas of a choice.
    draws: AtomicU64,
    /// Why a version could not be loaded when it was last tried.
    failures: RwLock<HashMap<Target, String>>,
}

impl Fleet {
    /// The replicas that `source` names now; [`keep`] follows it. `seed` begins the draws.
    pub(crate) async fn new(
        source: Arc<dyn Replicas>,
        settings: ReplicaSettings,
        load_timeout: Duration,
        seed: u64,
    ) -> Self {
        let members: Arc<ArcSwap<Vec<Arc<Member>>>> = Arc::default();
        let counted = Arc::downgrade(&members);
        metrics().gauge_by(metric::ROUTER_REPLICAS, move |observe| {
            let members = counted.upgrade().map(|members| members.load_full()).unwrap_or_default();
            for state in ["ready", "silent", "half_open", "open"] {
                let count = members.iter().filter(|member| member.state() == state).count();
                observe(count as u64, &[label("state", state)]);
            }
        });
        metrics().router_retries_refused.add(0, &[]);
        metrics().breaker_opens.add(0, &[]);
        for reason in ["failed", "slow", "lost", "overloaded"] {
            metrics().router_retries.add(0, &[label("reason", reason)]);
        }
        let fleet = Self {
            source,
            members,
            budget: Budget::new(settings.retry_ratio, settings.retry_reserve),
            settings,
            load_timeout,
            draws: AtomicU64::new(seed),
            failures: RwLock::default(),
        };
        fleet.follow().await;
        fleet
    }

    /// Takes in replicas that joined and lets go of those that left. Requests under way on one that
    /// left go on to their end.
    pub(crate) async fn follow(&self) {
        let found = self.source.current().await;
        let known = self.members.load_full();
        let mut next: Vec<Arc<Member>> = Vec::with_capacity(found.len());
        for replica in found {
            let same = known.iter().find(|member| {
                member.address == replica.address && Arc::ptr_eq(&member.api, &replica.api)
            });
            next.push(match same {
                Some(member) => Arc::clone(member),
                None => {
                    tracing::info!(replica = replica.address, "an inference replica joined");
                    Member::new(replica, &self.settings)
                }
            });
        }
        for member in known.iter().filter(|member| !contains(&next, member)) {
            tracing::info!(replica = member.address, "an inference replica left");
        }
        self.members.store(Arc::new(next));
    }

    /// Proves that a version can be served, on the first replica that can be reached.
    pub(crate) async fn check(&self, version: &Version) -> Result<(), ApiError> {
        let mut members = self.members.load_full().to_vec();
        members.sort_by_key(|member| !member.answers());
        let mut last = none_reached();
        for member in members {
            let call = self.own_call();
            let asked = within(call.deadline, member.api.check(call, version.clone())).await;
            match asked {
                Ok(_) => return Ok(()),
                Err(error) if may_help_elsewhere(&error) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Loads a version on every replica that answers; one must succeed. The others are not waited
    /// for much longer than for the first. Again changes nothing, but counts as a use.
    pub(crate) async fn load(&self, version: &Version) -> Result<(), ApiError> {
        self.load_on_several(version, true).await
    }

    /// Loads a version somewhere.
    async fn load_on_one(&self, version: &Version) -> Result<(), ApiError> {
        self.load_on_several(version, false).await
    }

    async fn load_on_several(&self, version: &Version, wait: bool) -> Result<(), ApiError> {
        let members = self.members.load_full();
        let some_answer = members.iter().any(|member| member.answers());
        let began = Instant::now();
        let mut loads: FuturesUnordered<_> = members
            .iter()
            .filter(|member| member.answers() || !some_answer)
            .map(|member| self.load_on(member, version))
            .collect();
        let mut failure = none_reached();
        while let Some(result) = loads.next().await {
            match result {
                Ok(()) => {
                    if wait {
                        let limit = began.elapsed().max(STRAGGLERS);
                        let rest = async { while loads.next().await.is_some() {} };
                        let _ = tokio::time::timeout(limit, rest).await;
                    }
                    return Ok(());
                }
                Err(error) => failure = error,
            }
        }
        self.note_failure(&target(version), &failure);
        Err(failure)
    }

    /// Notes why a version does not load, unless some replica holds it.
    fn note_failure(&self, wanted: &Target, failure: &ApiError) {
        if !self.members.load().iter().any(|member| member.answers() && member.holds(wanted)) {
            let mut failures = self.failures.write().unwrap_or_else(PoisonError::into_inner);
            failures.insert(wanted.clone(), failure.to_string());
        }
    }

    /// Loads a version on one replica.
    async fn load_on(&self, member: &Member, version: &Version) -> Result<(), ApiError> {
        let wanted = target(version);
        let call = self.own_call();
        match within(call.deadline, member.api.load(call, version.clone())).await {
            Ok(_) => {
                member.note(&wanted, true);
                self.failures.write().unwrap_or_else(PoisonError::into_inner).remove(&wanted);
                Ok(())
            }
            Err(error) => {
                if !may_help_elsewhere(&error) {
                    member.note(&wanted, false);
                }
                Err(error)
            }
        }
    }

    /// Frees a version on every replica. One that cannot be reached is told later, once it answers.
    pub(crate) async fn unload(&self, unwanted: &Target) -> Result<(), ApiError> {
        let members = self.members.load_full();
        let unload = |member: &Arc<Member>| {
            let member = Arc::clone(member);
            async move {
                member.note(unwanted, false);
                if !member.answers() {
                    return Ok(());
                }
                let call = self.own_call();
                within(call.deadline, member.api.unload(call, unwanted.clone())).await.map(drop)
            }
        };
        let mut unloads: FuturesUnordered<_> = members.iter().map(unload).collect();
        let mut result = Ok(());
        while let Some(done) = unloads.next().await {
            match done {
                Err(error) if !may_help_elsewhere(&error) => result = Err(error),
                _ => {}
            }
        }
        result
    }

    /// The versions that some replica holds.
    pub(crate) fn held(&self) -> HashSet<Target> {
        self.members.load().iter().flat_map(|member| member.held()).collect()
    }

    /// Why a version could not be loaded when it was last tried, if it could not.
    pub(crate) fn failure(&self, target: &Target) -> Option<String> {
        self.failures.read().unwrap_or_else(PoisonError::into_inner).get(target).cloned()
    }

    fn own_call(&self) -> Call {
        Call::service("router", self.load_timeout)
    }

    /// The next number of a SplitMix64 sequence: well mixed, and no lock.
    fn draw(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.draws.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Waits no longer than until the deadline, also for a replica that does not know of it.
async fn within<T>(
    deadline: Deadline,
    asked: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let answer = tokio::time::timeout_at(deadline.instant().into(), asked).await;
    answer.unwrap_or_else(|_passed| Err(Deadline::passed()))
}

/// Whether the failure says nothing of the version, but of the replica.
fn may_help_elsewhere(error: &ApiError) -> bool {
    matches!(error.code, ErrorCode::Unavailable | ErrorCode::Timeout)
}

fn contains(members: &[Arc<Member>], member: &Arc<Member>) -> bool {
    members.iter().any(|known| Arc::ptr_eq(known, member))
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

#[cfg(test)]
mod tests;
