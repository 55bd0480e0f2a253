//! What becomes of the rollouts and experiments of a model that was rolled back.

use contracts::Call;
use domain::experiment::{ExperimentState, Verdict};
use domain::rollout::{Move, RolloutState};
use domain::{Plan, PlanId, PlanKind, Route};
use serde_json::Value;
use storage::StoreError;

use super::{ATTEMPTS, Service};
use crate::service::experiments::Told;
use crate::service::rollouts::Decided;

impl Service {
    /// Ends the rollouts and experiments that ran when this route came into force, tells of each, and
    /// returns them. What cannot be ended now is ended later: the route does not name it any more.
    pub(super) async fn end_plans(
        &self,
        call: &Call,
        route: &Route,
        spare: Option<&PlanId>,
    ) -> Vec<PlanId> {
        let mut ended = Vec::new();
        for kind in [PlanKind::Rollout, PlanKind::Experiment] {
            let plans = self.in_time(self.deps.relational.plans.plans(kind, true)).await;
            let plans = plans.unwrap_or_else(|error| {
                tracing::warn!(model = %route.model, %error, "the plans of a model that was rolled back cannot be read");
                Vec::new()
            });
            let concerned = plans.into_iter().filter(|plan| plan.model() == Some(&route.model));
            for plan in concerned.filter(|plan| Some(plan.id()) != spare) {
                let id = plan.id().clone();
                match self.end_plan(plan, route).await {
                    Ok(Some(plan)) => {
                        self.tell_of_end(call, &plan, route).await;
                        ended.push(id);
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(plan = %id, model = %route.model, %error, "a plan was not ended by a rollback");
                    }
                }
            }
        }
        ended
    }

    async fn tell_of_end(&self, call: &Call, plan: &Plan, route: &Route) {
        let by = &route.updated_by;
        match plan {
            Plan::Rollout(rollout) => {
                self.tell_of(call, rollout, Decided::RolledBack, by, &rollout.status).await;
            }
            Plan::Experiment(experiment) => {
                let reason = experiment.verdict.as_ref().map_or("", |verdict| &verdict.reason);
                let told = Told { action: "experiment.abort", kind: "experiment.aborted", reason };
                self.put_on_record(call, by, told, Value::Null, experiment).await;
            }
            Plan::Layer(_) => {}
        }
    }

    async fn end_plan(&self, plan: Plan, route: &Route) -> Result<Option<Plan>, StoreError> {
        let plans = &self.deps.relational.plans;
        let (id, mut plan) = (plan.id().clone(), Some(plan));
        for attempt in 1.. {
            let Some(ended) = plan.as_ref().and_then(|plan| ended(plan, route)) else {
                return Ok(None);
            };
            match self.in_time(plans.put_plan(ended.clone())).await {
                Ok(()) => return Ok(Some(ended)),
                Err(StoreError::Conflict { .. }) if attempt < ATTEMPTS => {
                    plan = self.in_time(plans.plan(&id)).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// The plan, ended by the route. `None` if nothing of it runs, or it is younger than the route.
fn ended(plan: &Plan, route: &Route) -> Option<Plan> {
    let (by, at, generation) = (&route.updated_by, route.updated_at, route.generation);
    let to = route.whole()?;
    let words = if route.reason.is_empty() { "no reason given" } else { &route.reason };
    let reason = format!("the model was rolled back to version {to}: {words}");
    match plan {
        Plan::Rollout(rollout) if rollout.state.is_open() && rollout.created_at <= at => {
            let mut rollout = rollout.clone();
            let share = if to == rollout.canary { 1.0 } else { 0.0 };
            rollout.state = RolloutState::RolledBack;
            rollout.status.clone_from(&reason);
            rollout.moves.push(Move { at, share, generation, by: by.clone(), reason });
            rollout.ended_at = Some(at);
            rollout.revision += 1;
            Some(Plan::Rollout(rollout))
        }
        // A draft has no unit: it may still be started, with versions that are not blocked.
        Plan::Experiment(experiment)
            if matches!(experiment.state, ExperimentState::Running | ExperimentState::Paused)
                && experiment.created_at <= at =>
        {
            let mut experiment = experiment.clone();
            experiment.state = ExperimentState::Stopped;
            experiment.verdict = Some(Verdict { version: Some(to), by: by.clone(), reason, at });
            experiment.ended_at = Some(at);
            experiment.revision += 1;
            Some(Plan::Experiment(experiment))
        }
        _ => None,
    }
}
