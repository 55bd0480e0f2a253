//! Rollouts: how they are made, shown, and moved by people and by evidence.
//!
//! What is served is what the route says; a rollout follows it. So a move changes the route first, and
//! whoever drives next finds out from the route what a driver that died had done.

mod acting;
mod bringing;
mod driving;
mod feedback;
mod holding;
mod moving;
mod starting;

use std::collections::HashMap;
use std::time::Instant;

use contracts::router::{GuardrailView, RolloutList, RolloutQuery, RolloutView};
use contracts::{ApiError, Call, ErrorCode};
use domain::rollout::{Rollout, RolloutState};
use domain::{ModelName, Plan, PlanId, PlanKind, Role};
use runtime::telemetry::{label, metrics};
use serde_json::json;
use tokio::sync::Mutex;

use super::Service;
use super::driving::own_call;
use crate::error::RouterError;
use crate::rollouts::evidence::Evidence;
use crate::rollouts::units::Units;
use crate::rollouts::{next_share, share, verdict};

/// What the router that drives keeps to itself: whoever drives next finds it out again.
#[derive(Default)]
pub(crate) struct Rolling {
    units: Mutex<HashMap<PlanId, Units>>,
    /// When the gates were asked last, and what came of it.
    asked: Mutex<HashMap<PlanId, (Instant, String)>>,
    /// When counts were last forgotten.
    forgot: Mutex<Option<Instant>>,
}

/// What was decided, as metrics and events have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decided {
    Started,
    Advanced,
    Promoted,
    RolledBack,
    Aborted,
    Superseded,
    Paused,
    Resumed,
    Approved,
    Stuck,
    Silent,
}

impl Decided {
    const ALL: [Self; 11] = [
        Self::Started,
        Self::Advanced,
        Self::Promoted,
        Self::RolledBack,
        Self::Aborted,
        Self::Superseded,
        Self::Paused,
        Self::Resumed,
        Self::Approved,
        Self::Stuck,
        Self::Silent,
    ];

    fn as_str(self) -> &'static str {
        self.kind().strip_prefix("rollout.").unwrap_or_default()
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Started => "rollout.started",
            Self::Advanced => "rollout.advanced",
            Self::Promoted => "rollout.promoted",
            Self::RolledBack => "rollout.rolled_back",
            Self::Aborted => "rollout.aborted",
            Self::Superseded => "rollout.superseded",
            Self::Paused => "rollout.paused",
            Self::Resumed => "rollout.resumed",
            Self::Approved => "rollout.approved",
            Self::Stuck => "rollout.stuck",
            Self::Silent => "rollout.silent",
        }
    }
}

impl Service {
    pub(super) async fn list_rollouts(
        &self,
        call: Call,
        query: RolloutQuery,
    ) -> Result<RolloutList, ApiError> {
        let caller = call.require(&[Role::Analyst])?;
        let plans = &self.deps.relational.plans;
        let all = plans.plans(PlanKind::Rollout, query.open).await.map_err(RouterError::from)?;
        let rollouts = all.into_iter().filter_map(|plan| match plan {
            Plan::Rollout(rollout) => Some(*rollout),
            _ => None,
        });
        let wanted = |rollout: &Rollout| {
            caller.scope.has_model(&rollout.model)
                && self.table.shows_versions(&rollout.model, Some(caller.role))
                && query.model.as_ref().is_none_or(|model| rollout.model == *model)
        };
        Ok(RolloutList { rollouts: rollouts.filter(wanted).map(view).collect() })
    }

    pub(super) async fn rollout_of(&self, call: Call, id: PlanId) -> Result<RolloutView, ApiError> {
        let role = call.require(&[Role::Analyst])?.role;
        let rollout = self.rollout_in_store(&id).await?;
        call.require_model(&rollout.model)?;
        self.model_shown_to(role, &rollout.model).await?;
        Ok(view(rollout))
    }

    async fn rollout_in_store(&self, id: &PlanId) -> Result<Rollout, ApiError> {
        match self.deps.relational.plans.plan(id).await.map_err(RouterError::from)? {
            Some(Plan::Rollout(rollout)) => Ok(*rollout),
            _ => Err(ApiError::new(
                ErrorCode::NotFound,
                format!("there is no rollout `{id}`: `GET /api/v1/rollouts` lists them"),
            )),
        }
    }

    /// Keeps a changed rollout, under the revision that follows. `Conflict` if another change came
    /// first.
    async fn keep_rollout(&self, rollout: &mut Rollout) -> Result<(), RouterError> {
        rollout.revision += 1;
        let plan = Plan::Rollout(Box::new(rollout.clone()));
        Ok(self.deps.relational.plans.put_plan(plan).await?)
    }

    /// Tells what was decided: in the trail, to who listens, and in the metrics.
    pub(super) async fn tell_of(
        &self,
        call: &Call,
        rollout: &Rollout,
        what: Decided,
        by: &str,
        why: &str,
    ) {
        let Rollout { id, model, canary, baseline, state, .. } = rollout;
        let share = match state {
            RolloutState::Promoted => 1.0,
            RolloutState::Running | RolloutState::Paused => share(rollout),
            _ => 0.0,
        };
        let facts = json!({"rollout": id, "canary": canary, "baseline": baseline, "state": state, "step": rollout.step, "share": share});
        let labels = [label("model", model.to_string()), label("decision", what.as_str())];
        metrics().rollout_decisions.add(1, &labels);
        self.tell(what.kind(), model, id.as_str(), by, why, facts.clone()).await;
        let change = runtime::audit::Change {
            action: what.kind(),
            target: format!("model:{model}"),
            reason: why.to_owned(),
            before: serde_json::Value::Null,
            after: facts,
        };
        self.deps.recorder.done(call, change).await;
    }

    /// As [`Service::tell_of`], for what the rollout does by itself.
    async fn tell_of_own(&self, rollout: &Rollout, what: Decided, why: &str) {
        self.tell_of(&own_call(), rollout, what, rollout.id.as_str(), why).await;
    }
}

/// A rollout as people read it.
fn view(mut rollout: Rollout) -> RolloutView {
    let evidence = Evidence::of(&rollout);
    rollout.evidence = serde_json::Value::Null;
    let alpha = rollout.plan.alpha / rollout.plan.guardrails.len().max(1) as f64;
    let (budget, next) = (verdict::budget(&rollout), next_share(&rollout));
    let watched = rollout.plan.guardrails.iter().zip(&evidence.guardrails);
    let guardrails = watched
        .map(|(guardrail, watch)| {
            let (all, interval) = (watch.ratio.compared(), watch.ratio.interval(alpha));
            let known = all.canary_requests > 0;
            GuardrailView {
                name: guardrail.name(),
                canary_requests: all.canary_requests,
                canary_bad: all.canary_events,
                baseline_requests: all.baseline_requests,
                baseline_bad: all.baseline_events,
                // The edge of what is weighed is no bound.
                ratio_lower: Some(interval.lower).filter(|_| known && !interval.lower_at_grid_edge),
                ratio_upper: Some(interval.upper).filter(|_| known && !interval.upper_at_grid_edge),
                harm_at_next_step: known
                    .then(|| budget.look(&watch.ratio, next).worst_harm)
                    .filter(|_| rollout.state.is_open()),
            }
        })
        .collect();
    let (canary_requests, baseline_requests) = evidence.requests;
    RolloutView { rollout, canary_requests, baseline_requests, guardrails }
}

/// Makes the counters of a model's rollouts known before they count.
pub(super) fn begin_counters(model: &ModelName) {
    for what in Decided::ALL {
        let labels = [label("model", model.to_string()), label("decision", what.as_str())];
        metrics().rollout_decisions.add(0, &labels);
    }
}

/// Who called: for what is done in their name.
fn name_of(call: &Call) -> String {
    call.principal.as_ref().map(|principal| principal.name.clone()).unwrap_or_default()
}
