//! The background of the fleet: who joined, who left, who holds what. Every replica is seen to by
//! itself, so that one that is dead or slow delays no other.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use contracts::Call;
use contracts::inference::Target;
use futures_util::future::join_all;
use tokio::task::JoinSet;

use super::member::Member;
use super::{Fleet, contains, within};
use crate::service::Service;
use crate::table::{Table, target};

/// Follows the set of replicas, and sees to each until it leaves. Runs until it is dropped.
pub(crate) async fn keep(service: Arc<Service>) {
    let interval = Duration::from_secs(service.settings.replicas.resolve_interval_s.max(1));
    // Dropped with this future, and its tasks with it.
    let mut tasks = JoinSet::new();
    let mut seen_to = Vec::new();
    loop {
        let members = service.fleet.members.load_full();
        seen_to.retain(|(member, task): &(Arc<Member>, tokio::task::AbortHandle)| {
            let stays = contains(&members, member);
            if !stays {
                task.abort();
            }
            stays
        });
        for member in members.iter() {
            if !seen_to.iter().any(|(known, _)| Arc::ptr_eq(known, member)) {
                let task = tasks.spawn(see_to(Arc::clone(&service), Arc::clone(member)));
                seen_to.push((Arc::clone(member), task));
            }
        }
        while tasks.try_join_next().is_some() {}
        tokio::time::sleep(interval).await;
        service.fleet.follow().await;
    }
}

async fn see_to(service: Arc<Service>, member: Arc<Member>) {
    tokio::join!(
        service.fleet.watch(&member, &service.table),
        service.fleet.fill(&member, &service.table, service.settings.poll_interval_s),
    );
}

impl Fleet {
    /// Asks a replica again and again what it holds.
    async fn watch(&self, member: &Member, table: &Table) {
        loop {
            self.survey(member).await;
            let missing = |version: &Arc<_>| !member.holds(&target(version));
            if member.answers() && table.routed().iter().any(missing) {
                member.wake.notify_one();
            }
            tokio::time::sleep(self.survey_interval()).await;
        }
    }

    /// Asks all replicas at once what they hold.
    pub(crate) async fn survey_all(&self) {
        let members = self.members.load_full();
        join_all(members.iter().map(|member| self.survey(member))).await;
    }

    /// Asks a replica what it holds.
    async fn survey(&self, member: &Member) {
        let limit = Duration::from_millis(self.settings.survey_timeout_ms.max(1));
        let call = Call::service("router", limit);
        match within(call.deadline, member.api.loaded(call)).await {
            Ok(list) => {
                let held = list.versions.into_iter().map(|loaded| loaded.target).collect();
                member.note_all(held);
            }
            Err(error) => {
                tracing::debug!(replica = member.address, %error, "a survey was not answered");
                member.note_silent();
            }
        }
    }

    /// Loads what a replica lacks, tells it from time to time that what it holds is in use, and
    /// frees what was switched off while it could not be reached.
    async fn fill(&self, member: &Member, table: &Table, poll_interval_s: u64) {
        let poll_interval = Duration::from_secs(poll_interval_s.max(1));
        let mut failed: HashMap<Target, Instant> = HashMap::new();
        let mut told_at: Option<Instant> = None;
        loop {
            if member.answers() {
                let tell = told_at.is_none_or(|at| at.elapsed() >= poll_interval);
                if tell {
                    told_at = Some(Instant::now());
                }
                let routed = table.routed();
                failed.retain(|_, at| at.elapsed() < poll_interval);
                for version in &routed {
                    let wanted = target(version);
                    let due =
                        if member.holds(&wanted) { tell } else { !failed.contains_key(&wanted) };
                    if !due || !member.answers() {
                        continue;
                    }
                    if let Err(error) = self.load_on(member, version).await {
                        tracing::warn!(replica = member.address, model = %version.model, version = %version.version, %error, "a routed version does not load");
                        self.note_failure(&wanted, &error);
                        failed.insert(wanted, Instant::now());
                    }
                }
                self.free(member, table).await;
            }
            tokio::select! {
                () = member.wake.notified() => {}
                () = tokio::time::sleep(self.survey_interval()) => {}
            }
        }
    }

    async fn free(&self, member: &Member, table: &Table) {
        let off = table.versions().into_iter().filter(|version| !version.enabled);
        let off: HashSet<Target> = off.map(|version| target(&version)).collect();
        for unwanted in member.held().intersection(&off) {
            member.note(unwanted, false);
            let call = self.own_call();
            // If it fails, the next survey shows it again.
            let _ = within(call.deadline, member.api.unload(call, unwanted.clone())).await;
        }
    }

    fn survey_interval(&self) -> Duration {
        Duration::from_millis(self.settings.survey_interval_ms.max(1))
    }
}
