//! The life of an experiment: started, paused, resumed, decided, broken off; and its weights.
//!
//! The route comes first, then the store: what assigns units is the trial in the route, and it is the one that cannot
//! change twice. What a router leaves half done when it dies, the driver mends ([`super::looking`]).

use contracts::router::{ActOnExperiment, ExperimentAction};
use contracts::{ApiError, Call, ErrorCode, Faults};
use domain::experiment::{Allocation, Epoch, Experiment, ExperimentState, PlannedArm, Verdict};
use domain::route::{Arm, BUCKETS, Cause, Segment, Trial};
use domain::{PlanId, Role, Route, VersionId};
use time::OffsetDateTime;

use super::{Service, Told, arms, in_short};
use crate::assignment::reassign;
use crate::error::RouterError;
use crate::experiments::design::check_arms;
use crate::service::routes::Amendment;

use ExperimentState::{Decided, Draft, Paused, Running, Stopped};

impl Service {
    pub(in crate::service) async fn act(
        &self,
        call: Call,
        request: ActOnExperiment,
    ) -> Result<Experiment, ApiError> {
        let by = call.require(&[Role::Engineer])?.name.clone();
        let ActOnExperiment { id, action } = request;
        let found = self.experiment_in_store(&id).await?;
        call.require_model(&found.model)?;
        self.check_reason_of(&action)?;
        if matches!(action, ExperimentAction::Start | ExperimentAction::Resume) {
            // Before the turn: it may take long.
            self.load_arms(&found).await?;
        }
        self.in_turn(&turn(&id), async {
            let before = self.experiment_in_store(&id).await?;
            let (told, after) = match &action {
                ExperimentAction::Start => (
                    Told { action: "experiment.start", kind: "experiment.started", reason: "" },
                    self.begin(&by, &before, &[Draft], "started").await?,
                ),
                ExperimentAction::Resume => (
                    Told { action: "experiment.resume", kind: "experiment.resumed", reason: "" },
                    self.begin(&by, &before, &[Paused], "resumed").await?,
                ),
                ExperimentAction::Pause => (
                    Told { action: "experiment.pause", kind: "experiment.paused", reason: "" },
                    self.pause(&by, &before).await?,
                ),
                ExperimentAction::Weights { arms, reason } => (
                    Told {
                        action: "experiment.weights",
                        kind: "experiment.weights_changed",
                        reason,
                    },
                    self.weigh(&by, &before, arms, reason).await?,
                ),
                ExperimentAction::Promote { version, reason } => (
                    Told { action: "experiment.promote", kind: "experiment.promoted", reason },
                    self.promote(&by, &before, *version, reason).await?,
                ),
                ExperimentAction::Abort { reason } => (
                    Told { action: "experiment.abort", kind: "experiment.aborted", reason },
                    self.abort(&by, &before, reason).await?,
                ),
            };
            self.put_on_record(&call, &by, told, in_short(&before), &after).await;
            Ok(after)
        })
        .await
    }

    /// Puts the trial into the route, and the experiment into the running state.
    async fn begin(
        &self,
        by: &str,
        experiment: &Experiment,
        from: &[ExperimentState],
        what: &str,
    ) -> Result<Experiment, ApiError> {
        guard(experiment, from, what)?;
        let now = self.deps.clock.now();
        let number = experiment.epochs.last().map_or(1, |epoch| epoch.number);
        let trial = trial(experiment, number);
        let reason = format!("experiment `{}` {what}", experiment.name);
        let amendment = Amendment { by, cause: Cause::Experiment, reason: &reason };
        self.amend_route(&experiment.model, amendment, |route| {
            room_for(route, experiment)?;
            route.trials.push(trial.clone());
            Ok(())
        })
        .await?;
        self.revise(&experiment.id, |experiment| {
            guard(experiment, from, what)?;
            experiment.state = Running;
            experiment.started_at.get_or_insert(now);
            if experiment.epochs.is_empty() {
                let arms = experiment.arms.clone();
                let (by, reason) = (by.to_owned(), "as planned".to_owned());
                experiment.epochs.push(Epoch { number, from: now, arms, by, reason });
            }
            Ok(())
        })
        .await
    }

    async fn pause(&self, by: &str, experiment: &Experiment) -> Result<Experiment, ApiError> {
        guard(experiment, &[Running], "paused")?;
        self.take_off(by, experiment, "paused").await?;
        self.revise(&experiment.id, |experiment| {
            guard(experiment, &[Running], "paused")?;
            experiment.state = Paused;
            Ok(())
        })
        .await
    }

    async fn weigh(
        &self,
        by: &str,
        experiment: &Experiment,
        planned: &[PlannedArm],
        reason: &str,
    ) -> Result<Experiment, ApiError> {
        guard(experiment, &[Draft, Running, Paused], "given other weights")?;
        if experiment.design.allocation != Allocation::Fixed {
            let message = format!(
                "the weights of experiment `{}` are set by what was earned: abort it, and plan one with fixed weights",
                experiment.name
            );
            return Err(ApiError::new(ErrorCode::Conflict, message));
        }
        let registry = &self.deps.relational.registry;
        let versions = registry.versions(Some(&experiment.model)).await;
        let mut faults = Faults::default();
        let versions = versions.map_err(RouterError::from)?;
        check_arms(planned, &versions, &self.limits(), &mut faults);
        let sorted = |arms: &[PlannedArm]| {
            let mut all: Vec<VersionId> = arms.iter().map(|arm| arm.version).collect();
            all.sort_unstable();
            all
        };
        if sorted(planned) != sorted(&experiment.design.arms) {
            faults.add("#/arms", "must be the arms that the experiment has, no more and no fewer");
        }
        let control = experiment.design.control;
        if let Some(index) =
            planned.iter().position(|arm| arm.version == control && arm.weight == 0.0)
        {
            let detail = "must be above 0: the others are compared with the control";
            faults.add(format!("#/arms/{index}/weight"), detail);
        }
        faults.check()?;
        self.set_weights(by, experiment, &arms(planned)?, reason).await
    }

    /// Sets weights: as few units move as can be, and a new epoch begins. Whoever calls has the turn.
    pub(super) async fn set_weights(
        &self,
        by: &str,
        experiment: &Experiment,
        arms: &[Arm],
        reason: &str,
    ) -> Result<Experiment, ApiError> {
        let now = self.deps.clock.now();
        let segments = reassign(&experiment.segments, arms);
        let number = experiment.epochs.last().map_or(1, |epoch| epoch.number + 1);
        if experiment.state == Running {
            let amendment = Amendment { by, cause: Cause::Experiment, reason };
            self.amend_route(&experiment.model, amendment, |route| {
                let mut trials = route.trials.iter_mut();
                let trial = trials.find(|trial| trial.experiment == experiment.id);
                let trial = trial.ok_or_else(|| not_routed(experiment))?;
                trial.arms = arms.to_vec();
                trial.segments.clone_from(&segments);
                trial.epoch = number;
                Ok(())
            })
            .await?;
        }
        self.revise(&experiment.id, |experiment| {
            guard(experiment, &[Draft, Running, Paused], "given other weights")?;
            experiment.arms = arms.to_vec();
            experiment.segments.clone_from(&segments);
            if experiment.state != Draft {
                experiment.epochs.push(new_epoch(number, now, arms, by, reason));
            }
            Ok(())
        })
        .await
    }

    async fn promote(
        &self,
        by: &str,
        experiment: &Experiment,
        version: Option<VersionId>,
        reason: &str,
    ) -> Result<Experiment, ApiError> {
        guard(experiment, &[Running, Paused], "promoted")?;
        let version = version.unwrap_or(experiment.design.control);
        if !experiment.arms.iter().any(|arm| arm.version == version) {
            let all: Vec<_> =
                experiment.arms.iter().map(|arm| format!("`{}`", arm.version)).collect();
            let detail = format!("must be one of {}, got `{version}`", all.join(", "));
            return Err(ApiError::at("#/version", detail));
        }
        let amendment = Amendment { by, cause: Cause::Experiment, reason };
        self.amend_route(&experiment.model, amendment, |route| {
            if let Some(rollout) = &route.rollout {
                return Err(rollout_under_way(experiment, &rollout.id));
            }
            refuse_blocked(route, version)?;
            route.trials.retain(|trial| trial.experiment != experiment.id);
            let whole = Arm { version, share_ppm: BUCKETS, weight: 100.0 };
            route.segments = reassign(&route.segments, std::slice::from_ref(&whole));
            route.arms = vec![whole];
            Ok(())
        })
        .await?;
        self.end(&experiment.id, Decided, Some(version), by, reason).await
    }

    async fn abort(
        &self,
        by: &str,
        experiment: &Experiment,
        reason: &str,
    ) -> Result<Experiment, ApiError> {
        guard(experiment, &[Draft, Running, Paused], "aborted")?;
        self.take_off(by, experiment, "broken off").await?;
        self.end(&experiment.id, Stopped, None, by, reason).await
    }

    async fn end(
        &self,
        id: &PlanId,
        state: ExperimentState,
        version: Option<VersionId>,
        by: &str,
        reason: &str,
    ) -> Result<Experiment, ApiError> {
        let at = self.deps.clock.now();
        self.revise(id, |experiment| {
            guard(experiment, &[Draft, Running, Paused], "ended")?;
            experiment.state = state;
            experiment.ended_at = Some(at);
            let (by, reason) = (by.to_owned(), reason.to_owned());
            experiment.verdict = Some(Verdict { version, by, reason, at });
            Ok(())
        })
        .await
    }

    /// Takes the trial out of the route, if it is in it.
    pub(super) async fn take_off(
        &self,
        by: &str,
        experiment: &Experiment,
        what: &str,
    ) -> Result<(), ApiError> {
        let route = self.route_in_store(&experiment.model).await?;
        let is_in = |route: &Route| route.trials.iter().any(|one| one.experiment == experiment.id);
        if !is_in(&route) {
            return Ok(());
        }
        let reason = format!("experiment `{}` {what}", experiment.name);
        let amendment = Amendment { by, cause: Cause::Experiment, reason: &reason };
        let amended = self.amend_route(&experiment.model, amendment, |route| {
            route.trials.retain(|trial| trial.experiment != experiment.id);
            Ok(())
        });
        amended.await.map(drop)
    }

    async fn load_arms(&self, experiment: &Experiment) -> Result<(), ApiError> {
        let registry = &self.deps.relational.registry;
        let versions = registry.versions(Some(&experiment.model)).await;
        let versions = versions.map_err(RouterError::from)?;
        for arm in &experiment.arms {
            let known = versions.iter().find(|version| version.version == arm.version);
            match known {
                Some(version) if version.enabled => self.fleet.load(version).await?,
                _ => {
                    let message = format!(
                        "version `{}` is unloaded: load it first with `POST /v2/repository/models/{}/load`",
                        arm.version, experiment.model
                    );
                    return Err(ApiError::new(ErrorCode::Conflict, message));
                }
            }
        }
        Ok(())
    }

    fn check_reason_of(&self, action: &ExperimentAction) -> Result<(), ApiError> {
        let (ExperimentAction::Weights { reason, .. }
        | ExperimentAction::Promote { reason, .. }
        | ExperimentAction::Abort { reason }) = action
        else {
            return Ok(());
        };
        let most = self.settings.experiments.max_characters;
        let count = reason.chars().count();
        if reason.trim().is_empty() || count > most || reason.chars().any(char::is_control) {
            let detail = format!(
                "must say why in 1 to {most} characters (`router.experiments.max_characters`), got {count}"
            );
            return Err(ApiError::at("#/reason", detail));
        }
        Ok(())
    }
}

/// The turn of whoever changes an experiment.
pub(super) fn turn(id: &PlanId) -> String {
    format!("experiment:{id}")
}

pub(super) fn new_epoch(
    number: u32,
    from: OffsetDateTime,
    arms: &[Arm],
    by: &str,
    reason: &str,
) -> Epoch {
    Epoch { number, from, arms: arms.to_vec(), by: by.to_owned(), reason: reason.to_owned() }
}

pub(super) fn guard(
    experiment: &Experiment,
    allowed: &[ExperimentState],
    what: &str,
) -> Result<(), ApiError> {
    if allowed.contains(&experiment.state) {
        return Ok(());
    }
    let allowed: Vec<_> = allowed.iter().map(|state| format!("`{}`", state.as_str())).collect();
    let message = format!(
        "experiment `{}` is `{}`: it can be {what} only while it is {}",
        experiment.name,
        experiment.state.as_str(),
        allowed.join(" or ")
    );
    Err(ApiError::new(ErrorCode::Conflict, message))
}

/// Whether the route has room for the experiment's trial.
fn room_for(route: &Route, experiment: &Experiment) -> Result<(), ApiError> {
    let refuse = |message: String| Err(ApiError::new(ErrorCode::Conflict, message));
    if let Some(rollout) = &route.rollout {
        return Err(rollout_under_way(experiment, &rollout.id));
    }
    for arm in &experiment.arms {
        refuse_blocked(route, arm.version)?;
    }
    for trial in &route.trials {
        if trial.experiment == experiment.id {
            return refuse(format!("experiment `{}` is in the route already", experiment.name));
        }
        if trial.slice.layer != experiment.slice.layer {
            return refuse(format!(
                "experiment `{}` runs on model `{}` in layer `{}`, this one is in layer `{}`: two experiments on one model must share a layer, or a unit could be in both; end that one first, or plan this one with `\"layer\": \"{}\"`",
                trial.experiment,
                route.model,
                trial.slice.layer,
                experiment.slice.layer,
                trial.slice.layer
            ));
        }
        if trial.slice.start < experiment.slice.end && experiment.slice.start < trial.slice.end {
            return refuse(format!(
                "experiment `{}` has some of the units of this one: end it first",
                trial.experiment
            ));
        }
    }
    Ok(())
}

fn refuse_blocked(route: &Route, version: VersionId) -> Result<(), ApiError> {
    let Some(blocked) = route.blocks(version) else { return Ok(()) };
    let message = format!(
        "version `{version}` of model `{}` is blocked by `{}` ({}): clear it first",
        route.model, blocked.by, blocked.reason
    );
    Err(ApiError::new(ErrorCode::Conflict, message))
}

fn rollout_under_way(experiment: &Experiment, rollout: &PlanId) -> ApiError {
    let message = format!(
        "rollout `{rollout}` is under way on model `{}`, and would change what experiment `{}` compares: end it first",
        experiment.model, experiment.name
    );
    ApiError::new(ErrorCode::Conflict, message)
}

fn not_routed(experiment: &Experiment) -> ApiError {
    let message = format!(
        "experiment `{}` is not in the route of model `{}` any more: somebody changed the route by other means; it will be paused in a moment",
        experiment.name, experiment.model
    );
    ApiError::new(ErrorCode::Conflict, message)
}

fn trial(experiment: &Experiment, epoch: u32) -> Trial {
    let design = &experiment.design;
    let segments: Vec<Segment> = experiment.segments.clone();
    Trial {
        experiment: experiment.id.clone(),
        slice: experiment.slice.clone(),
        when: design.when.clone(),
        unit: design.unit,
        salt: experiment.salt.clone(),
        hash: design.hash,
        strict: design.strict,
        arms: experiment.arms.clone(),
        segments,
        epoch,
        bandit: matches!(design.allocation, Allocation::Bandit { .. }),
    }
}
