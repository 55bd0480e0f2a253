//! How a rollout begins.

use contracts::router::{NewRollout, RolloutView};
use contracts::{ApiError, Call, ErrorCode};
use domain::rollout::{Guardrail, Rollout, RolloutPlan, RolloutState};
use domain::{ModelName, Plan, PlanId, PlanKind, Role, VersionId};

use super::moving::{another_runs, refuse_trials};
use super::{Decided, Service, name_of, view};
use crate::error::RouterError;
use crate::rollouts::evidence::Evidence;
use crate::rollouts::plan;
use crate::service::FLUSH_LIMIT;
use crate::service::rollback::refuses_blocked;
use crate::table::unknown_version;

/// The longest reason, characters.
const MAX_REASON: usize = 2_000;
/// The answers that a baseline's latency is found from were given within this time.
const BASELINE_WINDOW: time::Duration = time::Duration::hours(1);

impl Service {
    pub(in crate::service) async fn start_rollout(
        &self,
        call: Call,
        request: NewRollout,
    ) -> Result<RolloutView, ApiError> {
        call.require(&[Role::Engineer])?;
        call.require_model(&request.model)?;
        if request.reason.chars().count() > MAX_REASON {
            let detail = format!("must have at most {MAX_REASON} characters");
            return Err(ApiError::at("#/reason", detail));
        }
        plan::check(&request.plan, &self.settings.rollouts)?;
        let baseline = self.check_versions(&request).await?;
        self.check_gates(&request.plan).await?;
        let mut plan = request.plan;
        self.set_slow(&request.model, baseline, &mut plan, &call).await?;
        let (now, by) = (self.deps.clock.now(), name_of(&call));
        let status = match request.reason.as_str() {
            "" => format!("started by {by}"),
            reason => format!("started by {by}: {reason}"),
        };
        let evidence = Evidence::new(&plan.guardrails);
        let mut rollout = Rollout {
            id: PlanId::new(PlanKind::Rollout),
            model: request.model,
            canary: request.canary,
            baseline,
            plan,
            state: RolloutState::Running,
            step: 0,
            step_since: now,
            evidence: serde_json::to_value(evidence).unwrap_or_default(),
            status: status.clone(),
            moves: Vec::new(),
            approved_by: None,
            created_by: by,
            created_at: now,
            ended_at: None,
            revision: 0,
        };
        // Kept first, so that there is always somebody to drive what is in force.
        self.keep_rollout(&mut rollout).await?;
        match self.put_in_force(&call, &rollout, &status).await {
            Ok(rollout) => Ok(view(rollout)),
            Err(error) => {
                self.give_up(&rollout.id, &error).await;
                Err(error)
            }
        }
    }

    async fn put_in_force(
        &self,
        call: &Call,
        rollout: &Rollout,
        why: &str,
    ) -> Result<Rollout, ApiError> {
        if rollout.plan.steps.first().is_some_and(|share| *share >= 1.0) {
            let by = rollout.created_by.as_str();
            self.put_step(rollout, by, why).await?;
            let ended = self.promote_canary(rollout, by, &format!("promoted: {why}")).await?;
            self.tell_of(call, &ended, Decided::Promoted, by, &ended.status).await;
            return Ok(ended);
        }
        let route = self.put_step(rollout, &rollout.created_by, why).await?;
        let mut begun = rollout.clone();
        super::moving::stepped(&mut begun, &route);
        match self.keep_rollout(&mut begun).await {
            Ok(()) => {}
            // The driver was faster.
            Err(RouterError::Store(storage::StoreError::Conflict { .. })) => {
                return self.rollout_in_store(&rollout.id).await;
            }
            Err(error) => return Err(error.into()),
        }
        self.tell_of(call, &begun, Decided::Started, &begun.created_by, why).await;
        Ok(begun)
    }

    /// Ends a rollout that could not be put in force.
    async fn give_up(&self, id: &PlanId, error: &ApiError) {
        let Ok(mut rollout) = self.rollout_in_store(id).await else { return };
        if !rollout.state.is_open() || !rollout.moves.is_empty() {
            return;
        }
        rollout.state = RolloutState::Aborted;
        rollout.status = format!("could not begin: {error}");
        rollout.ended_at = Some(self.deps.clock.now());
        if let Err(error) = self.keep_rollout(&mut rollout).await {
            tracing::warn!(rollout = %id, %error, "a rollout that could not begin stays open");
        }
    }

    /// Whether the rollout can begin; returns the baseline.
    async fn check_versions(&self, request: &NewRollout) -> Result<VersionId, ApiError> {
        let NewRollout { model, canary, baseline, .. } = request;
        self.existing_model(model).await?;
        let registry = &self.deps.relational.registry;
        let versions = registry.versions(Some(model)).await.map_err(RouterError::from)?;
        let known = versions.iter().find(|version| version.version == *canary);
        let Some(known) = known else {
            return Err(unknown_version(model, *canary, versions.iter().map(|v| &v.version)));
        };
        if !known.enabled {
            let detail = format!("version `{canary}` is unloaded: load it first");
            return Err(ApiError::at("#/canary", detail));
        }
        let route = self.route_in_store(model).await?;
        let conflict = |why: String| Err(ApiError::new(ErrorCode::Conflict, why));
        if let Some(ramp) = &route.rollout {
            return Err(another_runs(&ramp.id));
        }
        if let Some(blocked) = route.blocks(*canary) {
            return Err(refuses_blocked(model, blocked));
        }
        refuse_trials(&route)?;
        let Some(whole) = route.whole() else {
            return conflict(format!(
                "the route of model `{model}` is split between versions: put everything on the baseline first, with `PUT /api/v1/models/{model}/route`"
            ));
        };
        if let Some(baseline) = baseline
            && *baseline != whole
        {
            return conflict(format!(
                "version {baseline} cannot be the baseline: version {whole} of model `{model}` has everything now"
            ));
        }
        if whole == *canary {
            return conflict(format!("version {canary} of model `{model}` has everything already"));
        }
        if let Some(open) = self.open_rollout(model).await? {
            return Err(another_runs(&open));
        }
        Ok(whole)
    }

    async fn open_rollout(&self, model: &ModelName) -> Result<Option<PlanId>, ApiError> {
        let plans = self.deps.relational.plans.plans(PlanKind::Rollout, true).await;
        let plans = plans.map_err(RouterError::from)?;
        let mut of_model = plans.iter().filter(|plan: &&Plan| plan.model() == Some(model));
        Ok(of_model.next().map(|plan| plan.id().clone()))
    }

    async fn check_gates(&self, plan: &RolloutPlan) -> Result<(), ApiError> {
        for (index, gate) in plan.gates.iter().enumerate() {
            if let Err(error) = self.deps.outbound.check(&gate.url).await {
                return Err(ApiError::at(format!("#/plan/gates/{index}/url"), error.to_string()));
            }
        }
        Ok(())
    }

    /// Finds how long the baseline takes, where the plan does not say what is slow.
    async fn set_slow(
        &self,
        model: &ModelName,
        baseline: VersionId,
        plan: &mut RolloutPlan,
        call: &Call,
    ) -> Result<(), ApiError> {
        for (index, guardrail) in plan.guardrails.iter_mut().enumerate() {
            let Guardrail::Slow { over_ms } = guardrail else { continue };
            if over_ms.is_some() {
                continue;
            }
            self.flush_all(FLUSH_LIMIT.min(call.deadline.left())).await;
            let settings = &self.settings.rollouts;
            let since = self.deps.clock.now() - BASELINE_WINDOW;
            let most = settings.baseline_most_records;
            let log = &self.deps.documents.predictions;
            let records = log.since(model, since, most).await.map_err(RouterError::from)?;
            let plain = records.iter().filter(|record| {
                record.version == baseline
                    && !record.cached
                    && record.degraded.is_none()
                    && record.error.is_none()
            });
            let mut latencies: Vec<u64> = plain.map(|record| record.latency_us).collect();
            if latencies.len() < settings.baseline_least_records {
                return Err(ApiError::at(
                    format!("#/plan/guardrails/{index}/over_ms"),
                    format!(
                        "cannot be found: it would be the 99th percentile of the baseline's latency in the last hour, but the log holds {} of the {} answers it takes (`router.rollouts.baseline_least_records`): give a number of milliseconds",
                        latencies.len(),
                        settings.baseline_least_records
                    ),
                ));
            }
            latencies.sort_unstable();
            // The smallest value that 99 % do not exceed.
            let place = (latencies.len() * 99).div_ceil(100).saturating_sub(1);
            let p99_us = latencies.get(place).copied().unwrap_or_default().max(1);
            *over_ms = Some(p99_us as f64 / 1e3);
        }
        Ok(())
    }
}
