//! What the router does: the trait, by way of the table, the fleet and the spool.

mod answering;
mod events;
mod following;
mod others;
mod policy;
mod routes;
mod telling;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use contracts::inference::{Answered, Target};
use contracts::router::{
    Change, ChangeWebhook, DeliveryPage, DeliveryQuery, EventPage, EventQuery, ModelDetail,
    ModelList, NewModel, NewVersion, NewWebhook, PredictRequest, PredictionView, PutPolicy,
    PutRoute, Readiness, ServingState, SetAlias, SetEnabled, ShownWebhook, VersionState,
    WebhookList, WebhookTested, WebhookView,
};
use contracts::{ApiError, Call, Done, ErrorCode, Framed, RouterApi};
use domain::{
    Delivery, DeliveryId, Model, ModelName, ModelPolicy, PredictionId, PredictionRecord, Role,
    Route, Version, WebhookId,
};
use serde_json::{Value, json};
use storage::StoreError;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::Deps;
use crate::answers::Answers;
use crate::error::RouterError;
use crate::events::Bus;
use crate::fleet::{Fleet, names as target_names};
use crate::settings::Settings;
use crate::spool::{Spool, ship};
use crate::table::{Table, target, unknown_model, unknown_version};

pub(crate) use policy::not_shown;

/// Who may read of models: every person who is signed in.
const READERS: &[Role] = &[Role::Client, Role::Analyst];
/// How long a reader of the log waits for the spool.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// The router service.
pub struct Service {
    pub(crate) settings: Settings,
    pub(crate) deps: Deps,
    pub(crate) table: Table,
    pub(crate) fleet: Fleet,
    pub(crate) answers: Answers,
    pub(crate) spool: Arc<Spool>,
    /// Where everything that happens is published.
    pub(crate) bus: Arc<Bus>,
    /// Tells this router from the others.
    id: String,
    /// Whether the last prediction was lost to the log.
    losing: AtomicBool,
    /// What the file of the last known table holds.
    kept: Mutex<Vec<u8>>,
    /// Held by whoever reads the store into the table.
    refreshing: Mutex<()>,
}

impl Service {
    pub(crate) async fn new(settings: Settings, deps: Deps) -> Result<Arc<Self>, RouterError> {
        let spool = Arc::new(Spool::open(settings.spool.clone())?);
        let load_timeout = Duration::from_secs(settings.load_timeout_s);
        let replicas = Arc::clone(&deps.replicas);
        let fleet = Fleet::new(replicas, settings.replicas.clone(), load_timeout, new_seed()).await;
        let table = Table::new();
        let answers = Answers::new(Arc::clone(&deps.cache.responses), settings.cache.clone());
        let (losing, kept, refreshing) =
            (AtomicBool::default(), Mutex::default(), Mutex::default());
        let id = format!("{:016x}", new_seed());
        let (store, clock) = (Arc::clone(&deps.relational.events), Arc::clone(&deps.clock));
        let bus = Arc::new(Bus::new(settings.events.clone(), store, clock));
        let service = Arc::new(Self {
            settings,
            deps,
            table,
            fleet,
            answers,
            spool,
            bus,
            id,
            losing,
            kept,
            refreshing,
        });
        service.first_table().await?;
        Ok(service)
    }

    /// Ships the prediction log until told to stop.
    pub(crate) async fn ship(&self, stop: CancellationToken) {
        let log = Arc::clone(&self.deps.documents.predictions);
        ship(Arc::clone(&self.spool), log, stop).await;
    }

    /// The versions that routes name and no replica is known to hold.
    fn missing(&self) -> Vec<Target> {
        let held = self.fleet.held();
        let routed = self.table.routed();
        let targets = routed.iter().map(|version| target(version));
        targets.filter(|target| !held.contains(target)).collect()
    }

    /// Puts on record what was done to a model, and tells of it as an event.
    async fn record(
        &self,
        call: &Call,
        action: &'static str,
        model: &ModelName,
        before: Value,
        after: Value,
    ) {
        let (target, reason) = (format!("model:{model}"), String::new());
        let change = runtime::audit::Change { action, target, reason, before, after };
        self.tell_of_change(call, model, change).await;
    }

    async fn existing_model(&self, name: &ModelName) -> Result<Model, ApiError> {
        let model = self.deps.relational.registry.model(name).await.map_err(RouterError::from)?;
        model.ok_or_else(|| unknown_model(name))
    }
}

#[async_trait]
impl RouterApi for Service {
    async fn predict(
        &self,
        call: Call,
        request: Framed<PredictRequest>,
    ) -> Result<Framed<Answered>, ApiError> {
        self.answer(call, request).await
    }

    async fn prediction(&self, call: Call, id: PredictionId) -> Result<PredictionView, ApiError> {
        let caller = call.require(READERS)?;
        let log = &self.deps.documents.predictions;
        let mut record = log.get(id).await.map_err(RouterError::from)?;
        if record.is_none() {
            // It may still be on its way.
            self.flush_all(FLUSH_LIMIT.min(call.deadline.left())).await;
            record = log.get(id).await.map_err(RouterError::from)?;
        }
        let mine = |record: &PredictionRecord| {
            (caller.role.may(Role::Analyst) || record.principal == caller.id)
                && caller.scope.has_model(&record.model)
        };
        let record = record.filter(mine).ok_or_else(|| {
            ApiError::new(ErrorCode::NotFound, format!("there is no prediction `{id}` in the log"))
        })?;
        let shown = self.table.shows_versions(&record.model, Some(caller.role));
        let view = PredictionView::from(record);
        Ok(if shown { view } else { policy::without_version(view) })
    }

    async fn models(&self, call: Call) -> Result<ModelList, ApiError> {
        let caller = call.require(READERS)?;
        let mut models = self.deps.relational.registry.models().await.map_err(RouterError::from)?;
        models.retain(|model| caller.scope.has_model(&model.name));
        let role = caller.role;
        let models = models.into_iter().map(|model| policy::model_for(role, model)).collect();
        Ok(ModelList { models })
    }

    async fn model(&self, call: Call, name: ModelName) -> Result<ModelDetail, ApiError> {
        let role = call.require(READERS)?.role;
        call.require_model(&name)?;
        let model = self.existing_model(&name).await?;
        let relational = &self.deps.relational;
        let versions =
            relational.registry.versions(Some(&name)).await.map_err(RouterError::from)?;
        let route = relational.routes.route(&name).await.map_err(RouterError::from)?;
        let detail = ModelDetail { model, versions, route, interface: None };
        Ok(policy::detail_for(role, detail))
    }

    async fn create_model(&self, call: Call, request: NewModel) -> Result<Model, ApiError> {
        let caller = call.require(&[Role::Engineer])?;
        call.require_model(&request.name)?;
        let model = Model {
            name: request.name,
            description: request.description,
            aliases: BTreeMap::new(),
            policy: None,
            created_by: caller.name.clone(),
            created_at: self.deps.clock.now(),
        };
        let registry = &self.deps.relational.registry;
        registry.create_model(model.clone()).await.map_err(RouterError::from)?;
        self.record(&call, "model.create", &model.name, Value::Null, json!(model)).await;
        self.changed().await?;
        Ok(model)
    }

    async fn create_version(
        &self,
        call: Call,
        request: Framed<NewVersion>,
    ) -> Result<Version, ApiError> {
        let caller = call.require(&[Role::Engineer])?;
        call.require_model(&request.meta.model)?;
        self.existing_model(&request.meta.model).await?;
        let version = self.register(&caller.name, request).await?;
        let after = json!({"version": version.version, "files": version.files});
        self.record(&call, "version.create", &version.model, Value::Null, after).await;
        if let Some(route) = self.route_first(&caller.name, &version).await? {
            let (subject, data) = (format!("model:{}", version.model), json!({"after": route}));
            let why = "its first version";
            self.tell("route.changed", &version.model, &subject, &caller.name, why, data).await;
        }
        self.changed().await?;
        tracing::info!(model = %version.model, version = %version.version, by = caller.name, "registered a version");
        Ok(version)
    }

    async fn version(&self, call: Call, target: Target) -> Result<Version, ApiError> {
        let role = call.require(READERS)?.role;
        call.require_model(&target.model)?;
        let model = self.existing_model(&target.model).await?;
        if !policy::in_force(&model).shows_version_to(role) {
            return Err(not_shown(&target.model));
        }
        let registry = &self.deps.relational.registry;
        let versions = registry.versions(Some(&target.model)).await.map_err(RouterError::from)?;
        let found = versions.iter().find(|version| version.version == target.version).cloned();
        found.ok_or_else(|| {
            let known = versions.iter().map(|version| &version.version);
            unknown_version(&target.model, target.version, known)
        })
    }

    async fn policy(&self, call: Call, model: ModelName) -> Result<ModelPolicy, ApiError> {
        call.require(&[Role::Analyst])?;
        call.require_model(&model)?;
        Ok(policy::in_force(&self.existing_model(&model).await?))
    }

    async fn put_policy(&self, call: Call, request: PutPolicy) -> Result<ModelPolicy, ApiError> {
        let caller = call.require(&[Role::Engineer])?;
        let model = request.model.clone();
        call.require_model(&model)?;
        let before = policy::in_force(&self.existing_model(&model).await?);
        let policy = self.replace_policy(&caller.name, request).await?;
        self.record(&call, "policy.put", &model, json!(before), json!(policy)).await;
        Ok(policy)
    }

    async fn set_alias(&self, call: Call, request: SetAlias) -> Result<Model, ApiError> {
        call.require(&[Role::Engineer])?;
        let SetAlias { model, alias, version } = request;
        call.require_model(&model)?;
        let fits = (1..=64).contains(&alias.len())
            && alias.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'));
        if !fits {
            return Err(ApiError::at(
                "#/alias",
                format!(
                    "must be 1 to 64 characters of `A-Z a-z 0-9 . _ -`, got `{}`",
                    alias.escape_debug()
                ),
            ));
        }
        let registry = &self.deps.relational.registry;
        let before = self.existing_model(&model).await?.aliases;
        registry.set_alias(&model, &alias, version).await.map_err(RouterError::from)?;
        let after = self.existing_model(&model).await?;
        let (was, is) = (json!(before), json!(after.aliases));
        self.record(&call, "alias.set", &model, was, is).await;
        Ok(after)
    }

    async fn route(&self, call: Call, model: ModelName) -> Result<Route, ApiError> {
        let role = call.require(READERS)?.role;
        call.require_model(&model)?;
        let found = self.existing_model(&model).await?;
        if !policy::in_force(&found).shows_version_to(role) {
            return Err(not_shown(&model));
        }
        let route = self.deps.relational.routes.route(&model).await.map_err(RouterError::from)?;
        route.ok_or_else(|| {
            ApiError::new(
                ErrorCode::NotFound,
                format!("model `{model}` has no route yet: it gets one with its first version"),
            )
        })
    }

    async fn put_route(&self, call: Call, request: PutRoute) -> Result<Route, ApiError> {
        let caller = call.require(&[Role::Engineer])?;
        call.require_model(&request.model)?;
        let model = request.model.clone();
        let before = self.deps.relational.routes.route(&model).await.map_err(RouterError::from)?;
        let route = self.replace_route(&caller.name, request).await?;
        self.record(&call, "route.put", &model, json!(before), json!(route)).await;
        Ok(route)
    }

    async fn set_enabled(&self, call: Call, request: SetEnabled) -> Result<Done, ApiError> {
        call.require(&[Role::Engineer])?;
        let SetEnabled { model, version, enabled } = request;
        call.require_model(&model)?;
        self.existing_model(&model).await?;
        let registry = &self.deps.relational.registry;
        let versions = registry.versions(Some(&model)).await.map_err(RouterError::from)?;
        let known: Vec<_> = versions.iter().map(|version| version.version).collect();
        let concerned: Vec<_> = versions
            .into_iter()
            .filter(|known| version.is_none_or(|version| known.version == version))
            .collect();
        if let (Some(version), true) = (version, concerned.is_empty()) {
            return Err(unknown_version(&model, version, known.iter()));
        }
        if enabled {
            for version in &concerned {
                self.fleet.load(version).await?;
            }
        }
        registry.set_enabled(&model, version, enabled).await.map_err(RouterError::from)?;
        let action = if enabled { "version.load" } else { "version.unload" };
        let after = json!({"version": version, "enabled": enabled});
        self.record(&call, action, &model, Value::Null, after).await;
        self.changed().await?;
        if !enabled {
            for version in &concerned {
                self.fleet.unload(&target(version)).await?;
            }
        }
        Ok(Done {})
    }

    async fn follow(&self, call: Call, change: Change) -> Result<Done, ApiError> {
        call.require(&[Role::Service])?;
        if change.by != self.id {
            self.refresh().await?;
            // Another router had replicas load what routes name now.
            if !self.missing().is_empty() {
                self.fleet.survey_all().await;
            }
        }
        Ok(Done {})
    }

    async fn flush(&self, call: Call) -> Result<Done, ApiError> {
        call.require(&[Role::Service])?;
        self.spool.flush(FLUSH_LIMIT.min(call.deadline.left())).await;
        Ok(Done {})
    }

    async fn readiness(&self, call: Call) -> Result<Readiness, ApiError> {
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
        Ok(Readiness { ready: missing.is_empty(), degraded, checks, versions })
    }

    async fn events(&self, call: Call, query: EventQuery) -> Result<EventPage, ApiError> {
        self.list_events(&call, query).await
    }

    async fn webhooks(&self, call: Call) -> Result<WebhookList, ApiError> {
        self.list_webhooks(&call).await
    }

    async fn create_webhook(
        &self,
        call: Call,
        request: NewWebhook,
    ) -> Result<ShownWebhook, ApiError> {
        self.make_webhook(&call, request).await
    }

    async fn change_webhook(
        &self,
        call: Call,
        request: ChangeWebhook,
    ) -> Result<WebhookView, ApiError> {
        self.alter_webhook(&call, request).await
    }

    async fn remove_webhook(&self, call: Call, id: WebhookId) -> Result<Done, ApiError> {
        self.drop_webhook(&call, id).await
    }

    async fn test_webhook(&self, call: Call, id: WebhookId) -> Result<WebhookTested, ApiError> {
        self.try_webhook(&call, id).await
    }

    async fn deliveries(&self, call: Call, query: DeliveryQuery) -> Result<DeliveryPage, ApiError> {
        self.list_deliveries(&call, query).await
    }

    async fn retry_delivery(&self, call: Call, id: DeliveryId) -> Result<Delivery, ApiError> {
        self.revive_delivery(&call, id).await
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

/// Another number for each router: its name to the others, and where its draws of replicas begin, so
/// that routers do not draw the same ones in step.
fn new_seed() -> u64 {
    let mut bytes = [0; 8];
    // Without it they would be drawn just as evenly.
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// A store that does not say within this time that it is there is not.
const CHECK_LIMIT: Duration = Duration::from_millis(800);

async fn in_time(check: impl Future<Output = Result<(), StoreError>>) -> Result<(), String> {
    match tokio::time::timeout(CHECK_LIMIT, check).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_elapsed) => Err(format!("no answer within {} ms", CHECK_LIMIT.as_millis())),
    }
}
