//! Experiments: planned, read, told about.

mod acting;
mod looking;
mod reading;

use std::collections::BTreeMap;

use contracts::router::{ExperimentList, ExperimentQuery, NewExperiment};
use contracts::{ApiError, Call, ErrorCode, Faults};
use domain::experiment::{Experiment, ExperimentState, PlannedArm};
use domain::route::{Arm, Slice};
use domain::{ModelName, Plan, PlanId, PlanKind, Role};
use serde_json::{Value, json};
use storage::StoreError;

use super::Service;
use super::routes::conditions::Conditions;
use super::routes::new_salt;
use crate::assignment::{reassign, shares};
use crate::error::RouterError;
use crate::experiments::design::{Limits, check};

/// How often a change of an experiment is tried again after another one came first.
const ATTEMPTS: u32 = 5;

impl Service {
    pub(super) async fn list_experiments(
        &self,
        call: Call,
        query: ExperimentQuery,
    ) -> Result<ExperimentList, ApiError> {
        let caller = call.require(&[Role::Analyst])?;
        let plans = self.deps.relational.plans.plans(PlanKind::Experiment, false).await;
        let may_see = |model: &ModelName| {
            caller.scope.has_model(model) && self.table.shows_versions(model, Some(caller.role))
        };
        let mut experiments = Vec::new();
        for plan in plans.map_err(RouterError::from)? {
            let Plan::Experiment(experiment) = plan else { continue };
            let fits = query.model.as_ref().is_none_or(|model| *model == experiment.model)
                && query.state.is_none_or(|state| state == experiment.state);
            if fits && may_see(&experiment.model) {
                experiments.push(*experiment);
            }
        }
        Ok(ExperimentList { experiments })
    }

    pub(super) async fn experiment_of(
        &self,
        call: Call,
        id: PlanId,
    ) -> Result<Experiment, ApiError> {
        self.shown_experiment(&call, &id).await
    }

    pub(super) async fn plan_experiment(
        &self,
        call: Call,
        request: NewExperiment,
    ) -> Result<Experiment, ApiError> {
        let by = call.require(&[Role::Engineer])?.name.clone();
        call.require_model(&request.model)?;
        self.existing_model(&request.model).await?;
        self.check_plan(&request).await?;
        let all = self.deps.relational.plans.plans(PlanKind::Experiment, false).await;
        let all = all.map_err(RouterError::from)?;
        if let Some(other) = all.iter().find(|plan| plan.unique() == request.name) {
            return Err(name_taken(&request.name, Some(other.id())));
        }
        let most = self.settings.experiments.max_open;
        if all.iter().filter(|plan| plan.is_open()).count() >= most {
            let message = format!(
                "there are {most} experiments that have not ended (`router.experiments.max_open`): promote or abort one first"
            );
            return Err(ApiError::new(ErrorCode::Conflict, message));
        }
        let keep = |slice| self.keep_new(&by, &request, slice);
        let experiment = self.with_slice(&by, &request, keep).await?;
        let told = Told { action: "experiment.create", kind: "experiment.created", reason: "" };
        self.put_on_record(&call, &by, told, Value::Null, &experiment).await;
        Ok(experiment)
    }

    async fn keep_new(
        &self,
        by: &str,
        request: &NewExperiment,
        slice: Slice,
    ) -> Result<Experiment, ApiError> {
        let design = request.design.clone();
        let arms = arms(&design.arms)?;
        let experiment = Experiment {
            id: PlanId::new(PlanKind::Experiment),
            name: request.name.clone(),
            model: request.model.clone(),
            hypothesis: request.hypothesis.clone(),
            state: ExperimentState::Draft,
            slice,
            salt: new_salt()?,
            segments: reassign(&[], &arms),
            arms,
            epochs: Vec::new(),
            verdict: None,
            looks: Vec::new(),
            least_p: BTreeMap::new(),
            advice: None,
            created_by: by.to_owned(),
            created_at: self.deps.clock.now(),
            started_at: None,
            ended_at: None,
            revision: 1,
            design,
        };
        let plan = Plan::Experiment(Box::new(experiment.clone()));
        match self.deps.relational.plans.put_plan(plan).await {
            Ok(()) => Ok(experiment),
            Err(StoreError::Conflict { .. }) => Err(name_taken(&request.name, None)),
            Err(error) => Err(RouterError::from(error).into()),
        }
    }

    async fn check_plan(&self, request: &NewExperiment) -> Result<(), ApiError> {
        let registry = &self.deps.relational.registry;
        let versions = registry.versions(Some(&request.model)).await.map_err(RouterError::from)?;
        let mut faults = Faults::default();
        check(request, &versions, &self.limits(), &mut faults);
        let conditions = Conditions { limits: &self.settings.routes, audiences: None };
        conditions.check(&request.design.when, "#/when", &mut faults);
        faults.check()
    }

    fn limits(&self) -> Limits {
        let settings = &self.settings.experiments;
        Limits {
            arms: settings.max_arms,
            metrics: settings.max_metrics,
            characters: settings.max_characters,
            runtime_s: settings.max_runtime_s,
            least_epoch_s: settings.min_epoch_s,
        }
    }

    /// An experiment, if the caller may see it.
    async fn shown_experiment(&self, call: &Call, id: &PlanId) -> Result<Experiment, ApiError> {
        let role = call.require(&[Role::Analyst])?.role;
        let experiment = self.experiment_in_store(id).await?;
        call.require_model(&experiment.model)?;
        self.model_shown_to(role, &experiment.model).await?;
        Ok(experiment)
    }

    async fn experiment_in_store(&self, id: &PlanId) -> Result<Experiment, ApiError> {
        let plan = self.deps.relational.plans.plan(id).await.map_err(RouterError::from)?;
        match plan {
            Some(Plan::Experiment(experiment)) => Ok(*experiment),
            _ => {
                let message =
                    format!("there is no experiment `{id}`: `GET /api/v1/experiments` lists them");
                Err(ApiError::new(ErrorCode::NotFound, message))
            }
        }
    }

    /// Changes an experiment in the store, whatever came in between: `edit` may be called several times,
    /// each time with the newest.
    async fn revise(
        &self,
        id: &PlanId,
        edit: impl Fn(&mut Experiment) -> Result<(), ApiError> + Send + Sync,
    ) -> Result<Experiment, ApiError> {
        for attempt in 1.. {
            let mut experiment = self.experiment_in_store(id).await?;
            edit(&mut experiment)?;
            experiment.revision += 1;
            let plan = Plan::Experiment(Box::new(experiment.clone()));
            match self.deps.relational.plans.put_plan(plan).await {
                Ok(()) => return Ok(experiment),
                Err(StoreError::Conflict { .. }) if attempt < ATTEMPTS => {}
                Err(error) => return Err(RouterError::from(error).into()),
            }
        }
        Err(ApiError::internal())
    }

    /// Tells the audit trail, and whoever listens.
    pub(super) async fn put_on_record(
        &self,
        call: &Call,
        by: &str,
        told: Told<'_>,
        before: Value,
        after: &Experiment,
    ) {
        let change = runtime::audit::Change {
            action: told.action,
            target: format!("model:{}", after.model),
            reason: told.reason.to_owned(),
            before,
            after: in_short(after),
        };
        self.deps.recorder.done(call, change).await;
        let data = in_short(after);
        self.tell(told.kind, &after.model, after.id.as_str(), by, told.reason, data).await;
    }
}

/// What was done to an experiment, in the words of the trail and of the events.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) action: &'static str,
    pub(super) kind: &'static str,
    pub(super) reason: &'a str,
}

/// Keeps the lesser of what was seen so far and what is seen now.
fn keep_least(experiment: &mut Experiment, seen: &BTreeMap<String, f64>) {
    for (name, p) in seen {
        let least = experiment.least_p.entry(name.clone()).or_insert(*p);
        *least = least.min(*p);
    }
}

/// An experiment without what grows: the looks.
fn in_short(experiment: &Experiment) -> Value {
    json!({
        "experiment": experiment.id,
        "name": experiment.name,
        "state": experiment.state,
        "arms": experiment.arms,
        "epoch": experiment.epochs.last().map(|epoch| epoch.number),
        "slice": experiment.slice,
        "verdict": experiment.verdict,
    })
}

/// Weights as shares.
fn arms(planned: &[PlannedArm]) -> Result<Vec<Arm>, ApiError> {
    let weights: Vec<f64> = planned.iter().map(|arm| arm.weight).collect();
    let shares = shares(&weights)
        .ok_or_else(|| ApiError::at("#/arms", "the weights must not all be zero"))?;
    let arm = |(arm, share_ppm): (&PlannedArm, u32)| Arm {
        version: arm.version,
        share_ppm,
        weight: arm.weight,
    };
    Ok(planned.iter().zip(shares).map(arm).collect())
}

fn name_taken(name: &str, other: Option<&PlanId>) -> ApiError {
    let id = other.map_or_else(String::new, |id| format!(", `{id}`"));
    let message = format!(
        "there is an experiment named `{name}` already{id}: name this one otherwise; a name stays taken when its experiment has ended"
    );
    ApiError::new(ErrorCode::Conflict, message)
}
