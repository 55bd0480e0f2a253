//! What the router does: the trait, by way of the table, the fleet and the spool.

mod answering;
mod driving;
mod events;
mod experiments;
mod explaining;
mod following;
mod history;
mod layers;
mod others;
mod policy;
mod readiness;
mod registry;
mod rollback;
mod rollouts;
mod routes;
mod shadows;
mod standing_in;
mod sticking;
mod switching;
mod telling;
mod turns;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use contracts::inference::{Answered, Target};
use contracts::router::{
    Acknowledged, ActOnExperiment, ActOnRollout, Change, ChangeWebhook, ClearBlock, DeliveryPage,
    DeliveryQuery, EventPage, EventQuery, ExperimentList, ExperimentQuery, Explain, Explained,
    History, HistoryQuery, Imposed, LayerList, ModelDetail, ModelList, NewExperiment, NewLayer,
    NewModel, NewRollout, NewVersion, NewWebhook, PredictRequest, PredictionView, PutPolicy,
    PutRoute, Readiness, Report, Rollback, RolledBack, RolloutList, RolloutQuery, RolloutView,
    SetAlias, SetEnabled, ShadowQuery, ShadowReport, ShownWebhook, Switch, WebhookList,
    WebhookTested, WebhookView, WhatIf, WhatIfAnswer,
};
use contracts::{ApiError, Call, Done, ErrorCode, Framed, RouterApi};
use domain::experiment::Experiment;
use domain::layer::Layer;
use domain::{
    Delivery, DeliveryId, Model, ModelName, ModelPolicy, PlanId, PredictionId, PredictionRecord,
    Role, Route, Version, WebhookId,
};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::Deps;
use crate::answers::Answers;
use crate::counting::Counting;
use crate::error::RouterError;
use crate::events::Bus;
use crate::fleet::Fleet;
use crate::settings::Settings;
use crate::shadows::Shadows;
use crate::spool::{Spool, ship};
use crate::table::{Table, target, unknown_model};

use rollouts::Rolling;

pub(crate) use policy::not_shown;
pub(crate) use rollback::KnownPast;

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
    pub(crate) shadows: Shadows,
    counting: Counting,
    rolling: Rolling,
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
    /// What rollbacks need.
    back: rollback::Back,
}

impl Service {
    pub(crate) async fn new(settings: Settings, deps: Deps) -> Result<Arc<Self>, RouterError> {
        let spool = Arc::new(Spool::open(settings.spool.clone())?);
        let load_timeout = Duration::from_secs(settings.load_timeout_s);
        let replicas = Arc::clone(&deps.replicas);
        let fleet = Fleet::new(replicas, settings.replicas.clone(), load_timeout, new_seed()).await;
        let table = Table::new();
        let answers = Answers::new(Arc::clone(&deps.cache.responses), settings.cache.clone());
        let shadows = Shadows::new(settings.shadows.clone());
        let (losing, kept, refreshing) =
            (AtomicBool::default(), Mutex::default(), Mutex::default());
        let id = format!("{:016x}", new_seed());
        let back = rollback::Back::new(settings.pending.clone());
        let (most, waiting) = (settings.rollouts.max_units, settings.plans.max_waiting_batches);
        let counting = Counting::new(&id, most, waiting);
        let (store, clock) = (Arc::clone(&deps.relational.events), Arc::clone(&deps.clock));
        let bus = Arc::new(Bus::new(settings.events.clone(), store, clock));
        let service = Arc::new(Self {
            settings,
            deps,
            table,
            fleet,
            answers,
            spool,
            shadows,
            counting,
            rolling: Rolling::default(),
            bus,
            id,
            losing,
            kept,
            refreshing,
            back,
        });
        service.first_table().await?;
        service.put_pending().await;
        Ok(service)
    }

    /// Ships the prediction log until told to stop.
    pub(crate) async fn ship(&self, stop: CancellationToken) {
        let log = Arc::clone(&self.deps.documents.predictions);
        ship(Arc::clone(&self.spool), log, stop).await;
    }

    /// The versions that routes send requests to and no replica is known to hold.
    fn missing(&self) -> Vec<Target> {
        let held = self.fleet.held();
        let routed = self.table.answering();
        let targets = routed.iter().map(|version| target(version));
        targets.filter(|target| !held.contains(target)).collect()
    }

    /// Puts on record what was done to a model, and tells of it as an event.
    async fn record(
        &self,
        call: &Call,
        action: &'static str,
        model: &ModelName,
        reason: &str,
        before: Value,
        after: Value,
    ) {
        let (target, reason) = (format!("model:{model}"), reason.to_owned());
        let change = runtime::audit::Change { action, target, reason, before, after };
        self.tell_of_change(call, model, change).await;
    }

    /// Puts on record what was done to a model, and why. Whoever does it tells of it, too.
    async fn record_why(
        &self,
        call: &Call,
        action: &'static str,
        model: &ModelName,
        reason: &str,
        before: Value,
        after: Value,
    ) {
        let (target, reason) = (format!("model:{model}"), reason.to_owned());
        let change = runtime::audit::Change { action, target, reason, before, after };
        self.deps.recorder.done(call, change).await;
    }

    async fn existing_model(&self, name: &ModelName) -> Result<Model, ApiError> {
        let model = self.deps.relational.registry.model(name).await.map_err(RouterError::from)?;
        model.ok_or_else(|| unknown_model(name))
    }

    /// A model whose versions this role is told of.
    async fn model_shown_to(&self, role: Role, name: &ModelName) -> Result<Model, ApiError> {
        let model = self.existing_model(name).await?;
        if policy::in_force(&model).shows_version_to(role) {
            Ok(model)
        } else {
            Err(not_shown(name))
        }
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
        self.list_models(call).await
    }

    async fn model(&self, call: Call, name: ModelName) -> Result<ModelDetail, ApiError> {
        self.model_detail(call, name).await
    }

    async fn create_model(&self, call: Call, request: NewModel) -> Result<Model, ApiError> {
        self.register_model(call, request).await
    }

    async fn create_version(
        &self,
        call: Call,
        request: Framed<NewVersion>,
    ) -> Result<Version, ApiError> {
        self.register_version(call, request).await
    }

    async fn version(&self, call: Call, target: Target) -> Result<Version, ApiError> {
        self.version_of(call, target).await
    }

    async fn policy(&self, call: Call, model: ModelName) -> Result<ModelPolicy, ApiError> {
        self.policy_of(call, model).await
    }

    async fn put_policy(&self, call: Call, request: PutPolicy) -> Result<ModelPolicy, ApiError> {
        self.change_policy(call, request).await
    }

    async fn set_alias(&self, call: Call, request: SetAlias) -> Result<Model, ApiError> {
        self.change_alias(call, request).await
    }

    async fn route(&self, call: Call, model: ModelName) -> Result<Route, ApiError> {
        self.route_of(call, model).await
    }

    async fn put_route(&self, call: Call, request: PutRoute) -> Result<Route, ApiError> {
        self.change_route(call, request).await
    }

    async fn set_enabled(&self, call: Call, request: SetEnabled) -> Result<Done, ApiError> {
        self.enable(call, request).await
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
        Ok(self.how_ready(call).await)
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

    async fn explain(&self, call: Call, request: Explain) -> Result<Explained, ApiError> {
        self.explained(&call, request)
    }

    async fn rollback(&self, call: Call, request: Rollback) -> Result<RolledBack, ApiError> {
        self.roll_back(call, request).await
    }

    async fn switch(&self, call: Call, request: Switch) -> Result<Route, ApiError> {
        self.switch_sets(call, request).await
    }

    async fn clear_block(&self, call: Call, request: ClearBlock) -> Result<Route, ApiError> {
        self.clear(call, request).await
    }

    async fn history(&self, call: Call, query: HistoryQuery) -> Result<History, ApiError> {
        self.history_of(call, query).await
    }

    async fn impose(&self, call: Call, imposed: Imposed) -> Result<Acknowledged, ApiError> {
        self.take_over(call, imposed).await
    }

    async fn shadow_report(
        &self,
        call: Call,
        query: ShadowQuery,
    ) -> Result<ShadowReport, ApiError> {
        self.compare_shadow(call, query).await
    }

    async fn experiments(
        &self,
        call: Call,
        query: ExperimentQuery,
    ) -> Result<ExperimentList, ApiError> {
        self.list_experiments(call, query).await
    }

    async fn experiment(&self, call: Call, id: PlanId) -> Result<Experiment, ApiError> {
        self.experiment_of(call, id).await
    }

    async fn create_experiment(
        &self,
        call: Call,
        request: NewExperiment,
    ) -> Result<Experiment, ApiError> {
        self.plan_experiment(call, request).await
    }

    async fn act_on_experiment(
        &self,
        call: Call,
        request: ActOnExperiment,
    ) -> Result<Experiment, ApiError> {
        self.act(call, request).await
    }

    async fn report(&self, call: Call, id: PlanId) -> Result<Report, ApiError> {
        self.report_of(call, id).await
    }

    async fn what_if(&self, call: Call, request: WhatIf) -> Result<WhatIfAnswer, ApiError> {
        self.what_if_of(call, request).await
    }

    async fn layers(&self, call: Call) -> Result<LayerList, ApiError> {
        self.list_layers(call).await
    }

    async fn put_layer(&self, call: Call, request: NewLayer) -> Result<Layer, ApiError> {
        self.change_layer(call, request).await
    }

    async fn rollouts(&self, call: Call, query: RolloutQuery) -> Result<RolloutList, ApiError> {
        self.list_rollouts(call, query).await
    }

    async fn rollout(&self, call: Call, id: PlanId) -> Result<RolloutView, ApiError> {
        self.rollout_of(call, id).await
    }

    async fn create_rollout(
        &self,
        call: Call,
        request: NewRollout,
    ) -> Result<RolloutView, ApiError> {
        self.start_rollout(call, request).await
    }

    async fn act_on_rollout(
        &self,
        call: Call,
        request: ActOnRollout,
    ) -> Result<RolloutView, ApiError> {
        self.change_rollout(call, request).await
    }
}

/// Another number for each router: its name to the others, and where its draws of replicas begin, so
/// that routers do not draw the same ones in step.
fn new_seed() -> u64 {
    let mut bytes = [0; 8];
    // Without it they would be drawn just as evenly.
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Makes the counters of what happens to a model known before they count: what rises from nothing at
/// all is no rise to Prometheus.
pub(crate) fn begin_counters(model: &ModelName) {
    rollouts::begin_counters(model);
    rollback::begin_counters(model);
    standing_in::begin_counters(model);
}
