//! Routes that come into force before the store is read again.

use std::collections::BTreeMap;
use std::sync::Arc;

use contracts::inference::Target;
use domain::{ModelName, Route, Version, VersionId};

use super::Table;
use crate::choice::Ready;

impl Table {
    /// Puts a route in force, if it is newer than the one in force. Returns the one in force then.
    pub(crate) fn put_route(&self, route: &Arc<Route>) -> Arc<Route> {
        let ready = Arc::new(Ready::new(Arc::clone(route)));
        let newest = |known: Option<&Arc<Ready>>| {
            let known = known.filter(|known| known.generation >= route.generation);
            Arc::clone(known.unwrap_or(&ready))
        };
        self.0.rcu(|current| {
            let mut entries = (**current).clone();
            let entry = entries.entry(route.model.clone()).or_default();
            entry.route = Some(newest(entry.route.as_ref()));
            entries
        });
        self.route(&route.model).unwrap_or_else(|| Arc::clone(route))
    }

    /// The route in force.
    pub(crate) fn route(&self, model: &ModelName) -> Option<Arc<Route>> {
        self.0.load().get(model)?.route.as_ref().map(|route| route.shared())
    }

    /// Whether there is such a model.
    pub(crate) fn has(&self, model: &ModelName) -> bool {
        self.0.load().contains_key(model)
    }

    /// Whether all versions that a route sends requests to are known.
    pub(crate) fn knows(&self, route: &Route) -> bool {
        self.0.load().get(&route.model).is_some_and(|entry| {
            route.serving().iter().all(|version| entry.versions.contains_key(version))
        })
    }

    /// A model's versions, and whether each may be served.
    pub(crate) fn enabled_versions(&self, model: &ModelName) -> BTreeMap<VersionId, bool> {
        let table = self.0.load();
        let versions = table.get(model).into_iter().flat_map(|entry| &entry.versions);
        versions.map(|(number, version)| (*number, version.enabled)).collect()
    }

    /// One version.
    pub(crate) fn version(&self, target: &Target) -> Option<Arc<Version>> {
        self.0.load().get(&target.model)?.versions.get(&target.version).cloned()
    }
}
