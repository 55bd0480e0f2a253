//! What the router knows by heart: models, versions and routes. A prediction reads nothing else.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use contracts::inference::Target;
use contracts::{ApiError, ErrorCode};
use domain::policy::{ROLES, Rules};
use domain::prediction::{Decision, Reason};
use domain::route::BUCKETS;
use domain::{ModelName, ModelPolicy, PredictionId, Role, Route, Version, VersionId};
use runtime::telemetry::VersionMetrics;
use storage::ports::{Registry, Routes};

use crate::assignment::{bucket, version_at};
use crate::error::RouterError;
use crate::saved::Saved;
use crate::service::not_shown;

mod imposing;

/// The table, replaced as a whole at each change, so that a reader never waits.
pub(crate) struct Table(ArcSwap<HashMap<ModelName, Entry>>);

/// One model.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    pub(crate) versions: BTreeMap<VersionId, Arc<Version>>,
    /// Of each version.
    pub(crate) metrics: BTreeMap<VersionId, Arc<VersionMetrics>>,
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) policy: Arc<InForce>,
}

/// A policy, made ready.
#[derive(Debug, Default)]
pub(crate) struct InForce {
    pub(crate) policy: ModelPolicy,
    /// What the replica has to keep, if anything.
    pub(crate) rules: Option<Arc<Rules>>,
}

impl InForce {
    fn new(policy: ModelPolicy) -> Arc<Self> {
        let rules = Rules::of(&policy).map(Arc::new);
        Arc::new(Self { policy, rules })
    }
}

/// The version chosen for a request, and why.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) version: Arc<Version>,
    pub(crate) decision: Decision,
    /// Where its requests are counted.
    pub(crate) counted: Arc<VersionMetrics>,
    /// What is ruled for the model.
    pub(crate) policy: Arc<InForce>,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self(ArcSwap::default())
    }

    /// Reads everything from the stores, and puts it in force.
    pub(crate) async fn refresh(
        &self,
        registry: &dyn Registry,
        routes: &dyn Routes,
    ) -> Result<(), RouterError> {
        let (mut models, mut policies) = (Vec::new(), BTreeMap::new());
        for model in registry.models().await? {
            policies.extend(model.policy.map(|policy| (model.name.clone(), policy)));
            models.push(model.name);
        }
        let versions = registry.versions(None).await?;
        self.put(Saved::new(models, policies, versions, routes.routes().await?));
        Ok(())
    }

    /// Puts what was read in force.
    pub(crate) fn put(&self, read: Saved) {
        let mut entries: HashMap<ModelName, Entry> = HashMap::new();
        for model in read.models {
            entries.insert(model, Entry::default());
        }
        let current = self.0.load();
        for version in read.versions {
            let entry = entries.entry(version.model.clone()).or_default();
            let known = current.get(&version.model).and_then(|e| e.metrics.get(&version.version));
            let metrics =
                known.map_or_else(|| Arc::new(VersionMetrics::new(&target(&version))), Arc::clone);
            entry.metrics.insert(version.version, metrics);
            entry.versions.insert(version.version, Arc::new(version));
        }
        for route in read.routes {
            let entry = entries.entry(route.model.clone()).or_default();
            entry.route = Some(Arc::new(route));
        }
        for (model, policy) in read.policies {
            entries.entry(model).or_default().policy = InForce::new(policy);
        }
        // A slower reader must not put an older route or policy back. Of two routes of one generation
        // the one in force stays: a rollback that was made without the store comes before what the
        // store was given meanwhile.
        self.0.rcu(|current| {
            let mut entries = entries.clone();
            for (model, entry) in &mut entries {
                let known = current.get(model).and_then(|entry| entry.route.as_ref());
                let newest = entry.route.iter().chain(known).max_by_key(|r| r.generation);
                entry.route = newest.cloned();
                if let Some(known) = current.get(model).map(|entry| &entry.policy)
                    && known.policy.revision > entry.policy.policy.revision
                {
                    entry.policy = Arc::clone(known);
                }
            }
            entries
        });
    }

    /// What is in force, in order, to be saved.
    pub(crate) fn saved(&self) -> Saved {
        let table = self.0.load();
        let mut models: Vec<_> = table.keys().cloned().collect();
        models.sort();
        let routes = models.iter().filter_map(|model| table.get(model)?.route.as_deref().cloned());
        let routes = routes.collect();
        let policy = |model: &ModelName| {
            let policy = &table.get(model)?.policy.policy;
            (policy.revision > 0).then(|| (model.clone(), policy.clone()))
        };
        let policies = models.iter().filter_map(policy).collect();
        let versions = self.versions().iter().map(|version| (**version).clone()).collect();
        Saved::new(models, policies, versions, routes)
    }

    /// Whether a caller of this role, or anybody, is told of the model's versions.
    pub(crate) fn shows_versions(&self, model: &ModelName, role: Option<Role>) -> bool {
        self.0.load().get(model).is_none_or(|entry| {
            let shown = |role| entry.policy.policy.shows_version_to(role);
            role.map_or_else(|| ROLES.into_iter().all(shown), shown)
        })
    }

    /// Chooses the version that answers.
    pub(crate) fn choose(
        &self,
        model: &ModelName,
        pinned: Option<VersionId>,
        unit: Option<&str>,
        id: PredictionId,
        role: Role,
    ) -> Result<Choice, ApiError> {
        let table = self.0.load();
        let entry = table.get(model).ok_or_else(|| unknown_model(model))?;
        let shown = entry.policy.policy.shows_version_to(role);
        if pinned.is_some() && !shown {
            return Err(not_shown(model));
        }
        let generation = entry.route.as_ref().map_or(0, |route| route.generation);
        let unit_kept = unit.map(str::to_owned);
        let (version, reason, propensity) = match (pinned, &entry.route) {
            (Some(version), _) => (version, Reason::Pinned, 1.0),
            (None, Some(route)) => {
                let (reason, bucket) = match unit {
                    Some(unit) => (Reason::Unit, bucket(&route.salt, unit)),
                    None => (Reason::Request, bucket(&route.salt, &id.to_string())),
                };
                let version =
                    version_at(&route.segments, bucket).ok_or_else(|| no_version(model))?;
                let arm = route.arms.iter().find(|arm| arm.version == version);
                let share = arm.map_or(0, |arm| arm.share_ppm);
                (version, reason, f64::from(share) / f64::from(BUCKETS))
            }
            (None, None) => return Err(no_version(model)),
        };
        let decision = Decision::new(generation, reason, propensity, unit_kept);
        let (version, counted) = entry
            .versions
            .get(&version)
            .zip(entry.metrics.get(&version))
            .ok_or_else(|| unknown_version(model, version, entry.versions.keys()))?;
        if !version.enabled && !shown {
            let message = format!("model `{model}` cannot answer now");
            return Err(ApiError::new(ErrorCode::Unavailable, message));
        }
        if !version.enabled {
            return Err(ApiError::new(
                ErrorCode::Unavailable,
                format!(
                    "version {} of model `{model}` is unloaded: load it with `POST /v2/repository/models/{model}/load`",
                    version.version
                ),
            ));
        }
        let policy = Arc::clone(&entry.policy);
        let (version, counted) = (Arc::clone(version), Arc::clone(counted));
        Ok(Choice { version, decision, counted, policy })
    }

    /// Each model's generation in force.
    pub(crate) fn generations(&self) -> Vec<(ModelName, u64)> {
        let table = self.0.load();
        let routes = table.values().filter_map(|entry| entry.route.as_ref());
        routes.map(|route| (route.model.clone(), route.generation)).collect()
    }

    /// All versions.
    pub(crate) fn versions(&self) -> Vec<Arc<Version>> {
        let mut all: Vec<_> =
            self.0.load().values().flat_map(|entry| entry.versions.values().cloned()).collect();
        all.sort_by(|a, b| (&a.model, a.version).cmp(&(&b.model, b.version)));
        all
    }

    /// The versions that a route names to answer, now or after a switch, and that may be served.
    pub(crate) fn routed(&self) -> Vec<Arc<Version>> {
        let table = self.0.load();
        let mut routed = Vec::new();
        for entry in table.values() {
            for version in entry.route.iter().flat_map(|route| route.serving()) {
                let version = entry.versions.get(&version);
                routed.extend(version.filter(|version| version.enabled).cloned());
            }
        }
        routed
    }
}

/// The target of a version.
pub(crate) fn target(version: &Version) -> Target {
    Target { model: version.model.clone(), version: version.version }
}

pub(crate) fn unknown_model(model: &ModelName) -> ApiError {
    ApiError::new(
        ErrorCode::NotFound,
        format!("there is no model `{model}`: `GET /api/v1/models` lists them"),
    )
}

pub(crate) fn unknown_version<'a>(
    model: &ModelName,
    version: VersionId,
    known: impl Iterator<Item = &'a VersionId>,
) -> ApiError {
    let known: Vec<String> = known.map(|version| format!("`{version}`")).collect();
    ApiError::new(
        ErrorCode::NotFound,
        format!("model `{model}` has no version `{version}`, but {}", known.join(", ")),
    )
}

fn no_version(model: &ModelName) -> ApiError {
    ApiError::new(
        ErrorCode::NotFound,
        format!(
            "model `{model}` has no version yet: register one with `POST /api/v1/models/{model}/versions`"
        ),
    )
}
