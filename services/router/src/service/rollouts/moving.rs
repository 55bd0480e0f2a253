//! How a rollout changes the route.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use contracts::{ApiError, ErrorCode};
use domain::rollout::{Move, Ramp, Rollout, RolloutState};
use domain::route::{Arm, BUCKETS, Blocked, Cause};
use domain::{PlanId, Route};
use storage::StoreError;

use super::{Decided, Service};
use crate::assignment::reassign;
use crate::error::RouterError;
use crate::rollouts::evidence::Evidence;
use crate::rollouts::words::percent;
use crate::rollouts::{arms, next_share, share};
use crate::service::rollback::refuses_blocked;
use crate::service::routes::Amendment;

impl Service {
    /// Puts the step that the rollout is at in force: the arms have its shares, and what moves is
    /// what has to. Who is in the canary stays in it while it grows.
    pub(super) async fn put_step(
        &self,
        rollout: &Rollout,
        by: &str,
        reason: &str,
    ) -> Result<Route, ApiError> {
        let amendment = Amendment { by, cause: Cause::Rollout, reason };
        let ramp = Ramp {
            id: rollout.id.clone(),
            step: rollout.step,
            since: rollout.step_since,
            canary: rollout.canary,
            baseline: rollout.baseline,
            guardrails: rollout.plan.guardrails.clone(),
            warm_up_requests: rollout.plan.warm_up_requests,
            warm_up_s: rollout.plan.warm_up_s,
        };
        let share = share(rollout);
        self.amend_route(&rollout.model, amendment, |route| {
            match &route.rollout {
                Some(other) if other.id != rollout.id => return Err(another_runs(&other.id)),
                // A driver that was held up must not put an older step back.
                Some(own) if own.step + 1 != rollout.step => return Err(changed(rollout)),
                // The first step is put where there is no rollout, the others where this one is.
                None if rollout.step > 0 => return Err(changed(rollout)),
                None if route.whole() != Some(rollout.baseline) => return Err(changed(rollout)),
                None => refuse_trials(route)?,
                _ => {}
            }
            if let Some(blocked) = route.blocks(rollout.canary) {
                return Err(refuses_blocked(&rollout.model, blocked));
            }
            route.arms = arms(rollout.baseline, rollout.canary, share);
            route.segments = reassign(&route.segments, &route.arms);
            route.rollout = Some(ramp.clone());
            Ok(())
        })
        .await
    }

    /// Takes the next step, or, where that is all of the traffic, ends in success.
    pub(super) async fn go_on(&self, rollout: &Rollout, why: &str) -> Result<(), ApiError> {
        let by = rollout.id.as_str();
        let mut next = rollout.clone();
        next.step += 1;
        next.step_since = self.deps.clock.now();
        if next_share(rollout) >= 1.0 {
            let ended = self.promote_canary(rollout, by, &format!("promoted: {why}")).await?;
            self.tell_of_own(&ended, Decided::Promoted, &ended.status).await;
            return Ok(());
        }
        let route = self.put_step(&next, by, why).await?;
        self.adopt(rollout.clone(), &route, Decided::Advanced).await
    }

    /// Puts the first step in force.
    pub(super) async fn begin_rollout(&self, rollout: Rollout, why: &str) -> Result<(), ApiError> {
        let by = rollout.created_by.clone();
        let route = self.put_step(&rollout, &by, why).await?;
        self.adopt(rollout, &route, Decided::Started).await
    }

    /// Notes the step that a route has in force. If another change comes first, the driver does it at
    /// its next look.
    pub(super) async fn adopt(
        &self,
        mut rollout: Rollout,
        route: &Route,
        what: Decided,
    ) -> Result<(), ApiError> {
        stepped(&mut rollout, route);
        self.keep_rollout(&mut rollout).await?;
        self.tell_of_own(&rollout, what, &route.reason).await;
        Ok(())
    }

    /// Gives the canary everything.
    pub(super) async fn promote_canary(
        &self,
        rollout: &Rollout,
        by: &str,
        why: &str,
    ) -> Result<Rollout, ApiError> {
        let amendment = Amendment { by, cause: Cause::Rollout, reason: why };
        let route = self
            .amend_route(&rollout.model, amendment, |route| {
                still_ours(rollout, route)?;
                if let Some(blocked) = route.blocks(rollout.canary) {
                    return Err(refuses_blocked(&rollout.model, blocked));
                }
                route.arms = arms(rollout.baseline, rollout.canary, 1.0);
                route.arms.retain(|arm| arm.share_ppm > 0);
                route.segments = reassign(&route.segments, &route.arms);
                route.rollout = None;
                Ok(())
            })
            .await?;
        self.close(&rollout.id, RolloutState::Promoted, &route).await
    }

    /// Gives everything back at once, and blocks the version until a person clears it.
    pub(super) async fn take_back(&self, rollout: &Rollout, why: &str) -> Result<(), ApiError> {
        let reason = format!("rolled back: {why}");
        let route = self.give_back(rollout, rollout.id.as_str(), &reason, Blocks::Yes).await?;
        let ended = self.close(&rollout.id, RolloutState::RolledBack, &route).await?;
        self.tell_of_own(&ended, Decided::RolledBack, &reason).await;
        Ok(())
    }

    /// Puts the baseline in the canary's place, on the fast way of every rollback: the baseline serves
    /// already, so nothing is loaded, and the other routers are given the route itself.
    pub(super) async fn give_back(
        &self,
        rollout: &Rollout,
        by: &str,
        reason: &str,
        blocks: Blocks,
    ) -> Result<Route, ApiError> {
        self.store_pending(&rollout.model).await?;
        for _ in 0..ATTEMPTS {
            let before = self.route_in_store(&rollout.model).await?;
            still_ours(rollout, &before)?;
            let at = self.deps.clock.now().max(before.updated_at);
            let mut route = Route {
                arms: vec![Arm { version: rollout.baseline, share_ppm: BUCKETS, weight: 100.0 }],
                rollout: None,
                generation: before.generation + 1,
                cause: Cause::Rollback,
                reason: reason.to_owned(),
                updated_by: by.to_owned(),
                updated_at: at,
                ..before
            };
            route.segments = reassign(&route.segments, &route.arms);
            if blocks == Blocks::Yes && route.blocks(rollout.canary).is_none() {
                let (reason, by) = (reason.to_owned(), by.to_owned());
                route.blocked.push(Blocked { version: rollout.canary, reason, by, at });
                route.leave_out_blocked();
            }
            match self.deps.relational.routes.put_route(route.clone()).await {
                Ok(()) => {
                    let (route, everywhere) = self.put_everywhere(Arc::new(route), true).await;
                    // Whoever could not be given it hears that there is something to read.
                    self.back.untold.store(true, Ordering::Relaxed);
                    self.back.wake.notify_one();
                    let (model, generation) = (&route.model, route.generation);
                    let unconfirmed = everywhere.unconfirmed.join(", ");
                    tracing::info!(%model, generation, by, unconfirmed, "a rollout gave everything back");
                    return Ok((*route).clone());
                }
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(RouterError::from(error).into()),
            }
        }
        Err(ApiError::new(
            ErrorCode::Conflict,
            format!("the route of model `{}` is changed all the time: try again", rollout.model),
        ))
    }

    /// Ends a rollout, as far as it is kept, once a route is in force without it. Whoever finds it
    /// ended leaves it so.
    pub(super) async fn close(
        &self,
        id: &PlanId,
        state: RolloutState,
        route: &Route,
    ) -> Result<Rollout, ApiError> {
        for _ in 0..ATTEMPTS {
            let mut rollout = self.rollout_in_store(id).await?;
            if !rollout.state.is_open() {
                return Ok(rollout);
            }
            rollout.state = state;
            route.reason.clone_into(&mut rollout.status);
            rollout.ended_at = Some(self.deps.clock.now());
            rollout.approved_by = None;
            rollout.moves.push(Move {
                at: route.updated_at,
                share: if state == RolloutState::Promoted { 1.0 } else { 0.0 },
                generation: route.generation,
                by: route.updated_by.clone(),
                reason: route.reason.clone(),
            });
            match self.keep_rollout(&mut rollout).await {
                Ok(()) => return Ok(rollout),
                // Counts were taken in meanwhile.
                Err(RouterError::Store(StoreError::Conflict { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ApiError::new(
            ErrorCode::Conflict,
            format!("rollout `{id}` changes too fast to be changed: try again"),
        ))
    }
}

/// How often a route or a rollout is read again after another change came first.
const ATTEMPTS: u32 = 20;

/// Whether the version is blocked, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocks {
    Yes,
    No,
}

/// Notes a step that a route has in force.
pub(super) fn stepped(rollout: &mut Rollout, route: &Route) {
    let Some(ramp) = &route.rollout else { return };
    (rollout.step, rollout.step_since) = (ramp.step, ramp.since);
    rollout.approved_by = None;
    rollout.status = format!("at {}: {}", percent(share(rollout)), route.reason);
    rollout.moves.push(Move {
        at: route.updated_at,
        share: share(rollout),
        generation: route.generation,
        by: route.updated_by.clone(),
        reason: route.reason.clone(),
    });
    let mut evidence = Evidence::of(rollout);
    evidence.begin_step();
    rollout.evidence = serde_json::to_value(evidence).unwrap_or_default();
}

fn still_ours(rollout: &Rollout, route: &Route) -> Result<(), ApiError> {
    let ramp = route.rollout.as_ref();
    if ramp.is_some_and(|ramp| ramp.id == rollout.id) { Ok(()) } else { Err(changed(rollout)) }
}

fn changed(rollout: &Rollout) -> ApiError {
    ApiError::new(
        ErrorCode::Conflict,
        format!(
            "the route of model `{}` was changed by other means since rollout `{}` began: see `GET /api/v1/models/{}/route`",
            rollout.model, rollout.id, rollout.model
        ),
    )
}

/// Refuses to begin beside an experiment that runs.
pub(super) fn refuse_trials(route: &Route) -> Result<(), ApiError> {
    let Some(trial) = route.trials.first() else { return Ok(()) };
    Err(ApiError::new(
        ErrorCode::Conflict,
        format!(
            "experiment `{}` runs on model `{}`: promote or abort it first, as what the two find could not be told apart",
            trial.experiment, route.model
        ),
    ))
}

pub(super) fn another_runs(id: &domain::PlanId) -> ApiError {
    ApiError::new(
        ErrorCode::Conflict,
        format!("rollout `{id}` of the model is not over: promote it or abort it first"),
    )
}
