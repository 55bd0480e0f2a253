//! What the router knows by heart: models, versions and routes. A prediction reads nothing else.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use contracts::inference::Target;
use contracts::{ApiError, ErrorCode};
use domain::policy::{ROLES, Rules};
use domain::prediction::{Decision, Reason};
use domain::route::BUCKETS;
use domain::{ModelName, ModelPolicy, PlanId, PredictionId, Role, Route, Version, VersionId};
use runtime::telemetry::VersionMetrics;
use storage::ports::{Registry, Routes};

use crate::choice::{Ready, Steps, Verdict};
use crate::error::RouterError;
use crate::saved::Saved;
use crate::service::{begin_counters, not_shown};
use crate::targeting::Who;

mod imposing;

/// The table, replaced as a whole at each change, so that a reader never waits.
pub(crate) struct Table(ArcSwap<HashMap<ModelName, Entry>>);

/// One model.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    pub(crate) versions: BTreeMap<VersionId, Arc<Version>>,
    /// Of each version.
    pub(crate) metrics: BTreeMap<VersionId, Arc<VersionMetrics>>,
    pub(crate) route: Option<Arc<Ready>>,
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
    /// The route that decided, if one did.
    pub(crate) route: Option<Arc<Ready>>,
    /// The bucket that decided.
    pub(crate) bucket: Option<u32>,
    /// The place in the route of the trial that decided, if its units keep their first arms.
    pub(crate) strict: Option<usize>,
    /// Why the version cannot be asked, if so.
    pub(crate) refused: Option<ApiError>,
}

/// A version that may be asked.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) version: Arc<Version>,
    pub(crate) counted: Arc<VersionMetrics>,
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
        entries.keys().filter(|model| !current.contains_key(*model)).for_each(begin_counters);
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
            let known = current.get(&route.model).and_then(|known| known.route.as_ref());
            // Most are what they were, and need not be made ready again.
            let same = known.filter(|known| known.is_made_of(&route)).cloned();
            entry.route = Some(same.unwrap_or_else(|| Arc::new(Ready::new(route))));
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
        let routes =
            models.iter().filter_map(|model| Some((**table.get(model)?.route.as_deref()?).clone()));
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

    /// Chooses the version that answers. Who is not told of versions cannot name one.
    pub(crate) fn choose(
        &self,
        model: &ModelName,
        pinned: Option<VersionId>,
        who: &Who<'_>,
        id: PredictionId,
        steps: &mut Steps,
    ) -> Result<Choice, ApiError> {
        let table = self.0.load();
        let entry = table.get(model).ok_or_else(|| unknown_model(model))?;
        let shown = entry.policy.policy.shows_version_to(who.role);
        if pinned.is_some() && !shown {
            return Err(not_shown(model));
        }
        let verdict = match (pinned, &entry.route) {
            (Some(version), route) => {
                steps.say(|| format!("the caller names version {version}"));
                let generation = route.as_ref().map_or(0, |route| route.generation);
                let unit = who.unit.map(str::to_owned);
                let decision = Decision::new(generation, Reason::Pinned, 1.0, unit);
                Some(Verdict { version, decision, bucket: None, strict: None })
            }
            (None, Some(route)) => route.decide(who, id, steps),
            (None, None) => None,
        };
        let Verdict { version, decision, bucket, strict } =
            verdict.ok_or_else(|| no_version(model))?;
        let Served { version, counted } = entry
            .served(version)
            .ok_or_else(|| unknown_version(model, version, entry.versions.keys()))?;
        let refused = (!version.enabled).then(|| unloaded(model, &version, shown));
        let (policy, route) = (Arc::clone(&entry.policy), entry.route.clone());
        Ok(Choice { version, decision, counted, policy, route, bucket, strict, refused })
    }

    /// A version that may be asked in the place of another: it is loaded, and its route does not
    /// block it.
    pub(crate) fn stand_in(&self, model: &ModelName, version: VersionId) -> Option<Served> {
        let table = self.0.load();
        let entry = table.get(model)?;
        let blocked = entry.route.as_ref().is_some_and(|route| route.blocks(version).is_some());
        entry.served(version).filter(|served| served.version.enabled && !blocked)
    }

    /// Each model's generation in force.
    pub(crate) fn generations(&self) -> Vec<(ModelName, u64)> {
        let table = self.0.load();
        let routes = table.values().filter_map(|entry| entry.route.as_ref());
        routes.map(|route| (route.model.clone(), route.generation)).collect()
    }

    /// The rollouts in force, each with its step.
    pub(crate) fn ramps(&self) -> Vec<(PlanId, u32)> {
        let table = self.0.load();
        let routes = table.values().filter_map(|entry| entry.route.as_ref());
        let ramps = routes.filter_map(|route| route.rollout.as_ref());
        ramps.map(|ramp| (ramp.id.clone(), ramp.step)).collect()
    }

    /// Each model's canary share in force, 0 to 1: 0 where there is no rollout.
    pub(crate) fn canary_shares(&self) -> Vec<(ModelName, f64)> {
        let table = self.0.load();
        let routes = table.values().filter_map(|entry| entry.route.as_ref());
        let share = |route: &Route| {
            let canary = route.rollout.as_ref()?.canary;
            let arm = route.arms.iter().find(|arm| arm.version == canary)?;
            Some(f64::from(arm.share_ppm) / f64::from(BUCKETS))
        };
        routes.map(|route| (route.model.clone(), share(route).unwrap_or_default())).collect()
    }

    /// All versions.
    pub(crate) fn versions(&self) -> Vec<Arc<Version>> {
        let mut all: Vec<_> =
            self.0.load().values().flat_map(|entry| entry.versions.values().cloned()).collect();
        all.sort_by(|a, b| (&a.model, a.version).cmp(&(&b.model, b.version)));
        all
    }

    /// The versions that routes name in any part, and that may be served: they are kept loaded.
    pub(crate) fn routed(&self) -> Vec<Arc<Version>> {
        self.named(Route::serving)
    }

    /// The versions that routes send requests to, and that may be served.
    pub(crate) fn answering(&self) -> Vec<Arc<Version>> {
        self.named(Route::answering)
    }

    fn named(&self, by: fn(&Route) -> Vec<VersionId>) -> Vec<Arc<Version>> {
        let table = self.0.load();
        let mut named = Vec::new();
        for entry in table.values() {
            for version in entry.route.iter().flat_map(|route| by(route)) {
                let version = entry.versions.get(&version);
                named.extend(version.filter(|version| version.enabled).cloned());
            }
        }
        named
    }
}

impl Entry {
    fn served(&self, version: VersionId) -> Option<Served> {
        let (version, counted) = (self.versions.get(&version)?, self.metrics.get(&version)?);
        Some(Served { version: Arc::clone(version), counted: Arc::clone(counted) })
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

fn unloaded(model: &ModelName, version: &Version, shown: bool) -> ApiError {
    let message = if shown {
        format!(
            "version {} of model `{model}` is unloaded: load it with `POST /v2/repository/models/{model}/load`",
            version.version
        )
    } else {
        format!("model `{model}` cannot answer now")
    };
    ApiError::new(ErrorCode::Unavailable, message)
}

fn no_version(model: &ModelName) -> ApiError {
    ApiError::new(
        ErrorCode::NotFound,
        format!(
            "model `{model}` has no version yet: register one with `POST /api/v1/models/{model}/versions`"
        ),
    )
}
