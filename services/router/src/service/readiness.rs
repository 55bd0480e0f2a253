//! What can answer now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use contracts::Call;
use contracts::inference::Target;
use contracts::router::{Readiness, ServingState, VersionState};
use domain::{ModelName, Version};
use storage::StoreError;

use super::Service;
use crate::fleet::names as target_names;
use crate::table::target;

impl Service {
    pub(super) async fn how_ready(&self, call: Call) -> Readiness {
        let role = call.principal.as_ref().map(|caller| caller.role);
        let missing = self.missing();
        let mut checks = BTreeMap::new();
        let mut check = |name: &str, result: Result<(), String>| {
            checks.insert(name.to_owned(), result.err().unwrap_or_else(|| "ok".to_owned()));
        };
        let (relational, documents, cache) = tokio::join!(
            in_time(self.deps.relational.check()),
            in_time(self.deps.documents.check()),
            in_time(self.deps.cache.check()),
        );
        let degraded = relational.is_err() || documents.is_err() || cache.is_err();
        check("relational store", relational);
        check("prediction log", documents);
        check("cache", cache);
        let models = match missing.as_slice() {
            [] => Ok(()),
            missing => Err(not_loaded(missing, |model| self.table.shows_versions(model, role))),
        };
        check("models", models);
        let state = |version: Arc<Version>| {
            let target = target(&version);
            let failure = self.fleet.failure(&target);
            let (state, reason) = match (version.enabled, failure) {
                (false, _) => (ServingState::Unavailable, "unloaded by an engineer".to_owned()),
                (true, Some(failure)) => (ServingState::Unavailable, failure),
                (true, None) if missing.contains(&target) => {
                    (ServingState::Loading, "not loaded yet".to_owned())
                }
                (true, None) => (ServingState::Ready, String::new()),
            };
            let hidden = !self.table.shows_versions(&target.model, role);
            VersionState { target, state, reason, hidden }
        };
        let versions = self.table.versions().into_iter().map(state).collect();
        Readiness { ready: missing.is_empty(), degraded, checks, versions }
    }
}

/// What of these is told to who sees some models' versions.
fn not_loaded(missing: &[Target], shown: impl Fn(&ModelName) -> bool) -> String {
    let (told, hidden): (Vec<_>, Vec<_>) = missing.iter().partition(|one| shown(&one.model));
    let hidden = hidden.into_iter().map(|target| target.model.to_string());
    let names: BTreeSet<String> = hidden.chain([target_names(told.into_iter())]).collect();
    let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
    format!("not loaded: {}", names.join(", "))
}

/// A store that does not say within this time that it is there is not.
const CHECK_LIMIT: Duration = Duration::from_millis(800);

async fn in_time(check: impl Future<Output = Result<(), StoreError>>) -> Result<(), String> {
    match tokio::time::timeout(CHECK_LIMIT, check).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_elapsed) => Err(format!("no answer within {} ms", CHECK_LIMIT.as_millis())),
    }
}
