//! How rollouts go on by themselves: counts are taken in, and what follows from them is done.

use std::time::{Duration, Instant};

use contracts::ApiError;
use domain::rollout::{Rollout, RolloutState};
use domain::{Plan, PlanKind, Route};
use storage::StoreError;

use super::{Decided, Service};
use crate::error::RouterError;
use crate::rollouts::evidence::Evidence;
use crate::rollouts::verdict::{Notice, Patience, Verdict, judge, stay};
use crate::service::driving::survived;

/// Batches taken in at once.
const BATCHES: u32 = 1_000;
/// How long a person who changed the route may take to say so of the rollout, too.
const GRACE: time::Duration = time::Duration::seconds(5);
/// How often old counts are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(600);

impl Service {
    /// Looks at each open rollout once. One that fails does not keep others waiting.
    pub(in crate::service) async fn drive_rollouts(&self) {
        self.forget_counts().await;
        let plans = self.deps.relational.plans.plans(PlanKind::Rollout, true).await;
        let plans = plans.unwrap_or_else(|error| {
            tracing::debug!(%error, "the store does not say which rollouts there are");
            Vec::new()
        });
        let mut open = Vec::new();
        for plan in plans {
            let Plan::Rollout(rollout) = plan else { continue };
            open.push(rollout.id.clone());
            let (id, model) = (rollout.id.clone(), rollout.model.clone());
            match survived(self.drive_rollout(*rollout)).await {
                // Somebody else changed it: the next look sees what came of it.
                Ok(()) | Err(Failed::Overtaken) => {}
                Err(Failed::Error(error)) => {
                    tracing::warn!(rollout = %id, %model, %error, "a rollout could not be driven: it is tried again");
                }
            }
        }
        self.rolling.units.lock().await.retain(|id, _| open.contains(id));
        self.rolling.asked.lock().await.retain(|id, _| open.contains(id));
    }

    async fn drive_rollout(&self, mut rollout: Rollout) -> Result<(), Failed> {
        let route = self.route_in_store(&rollout.model).await?;
        if !self.agrees(&rollout, &route).await? {
            return Ok(());
        }
        let plans = &self.deps.relational.plans;
        let waiting = plans.waiting(&rollout.id, BATCHES).await.map_err(RouterError::from)?;
        let mut evidence = Evidence::of(&rollout);
        evidence.take_in(&rollout, &waiting, self.settings.rollouts.max_units);
        let judged_feedback = self.judge_feedback(&rollout, &mut evidence).await?;
        let now = self.deps.clock.now();
        let mut verdict = judge(&rollout, &evidence, self.rollout_patience(), now);
        if let Verdict::GoOn { .. } = &verdict
            && let Some(why) = self.held_by(&rollout).await?
        {
            verdict = stay(&rollout, &evidence, why, now);
        }
        let was = rollout.status.clone();
        let notice = note(&mut rollout, &mut evidence, &verdict);
        // Before a step the rollout is written in any case: who paused it meanwhile comes first.
        let goes_on = matches!(verdict, Verdict::GoOn { .. });
        let is_new = goes_on || notice.is_some() || rollout.status != was;
        if is_new || judged_feedback || !waiting.is_empty() {
            let ids: Vec<String> = waiting.into_iter().map(|batch| batch.id).collect();
            rollout.evidence = serde_json::to_value(&evidence).unwrap_or_default();
            rollout.revision += 1;
            let plan = Plan::Rollout(Box::new(rollout.clone()));
            plans.take_in(plan, &ids).await.map_err(RouterError::from)?;
        }
        match verdict {
            Verdict::RollBack { why } => self.take_back(&rollout, &why).await?,
            Verdict::GoOn { why } => self.go_on(&rollout, &why).await?,
            Verdict::Stay { why, .. } => {
                let what = match notice {
                    Some(Notice::Silent) => Decided::Silent,
                    Some(Notice::Stuck) => Decided::Stuck,
                    None => return Ok(()),
                };
                self.tell_of_own(&rollout, what, &why).await;
            }
        }
        Ok(())
    }

    /// Whether route and rollout agree. Where they do not, whoever drove died in between, or somebody
    /// changed the route: then the rollout is brought to what is in force.
    async fn agrees(&self, rollout: &Rollout, route: &Route) -> Result<bool, Failed> {
        match &route.rollout {
            Some(ramp) if ramp.id == rollout.id && ramp.step == rollout.step => {
                if rollout.moves.is_empty() {
                    self.adopt(rollout.clone(), route, Decided::Started).await?;
                    return Ok(false);
                }
                return Ok(true);
            }
            Some(ramp) if ramp.id == rollout.id => {
                self.adopt(rollout.clone(), route, Decided::Advanced).await?;
                return Ok(false);
            }
            _ => {}
        }
        let now = self.deps.clock.now();
        if rollout.moves.is_empty() {
            // Whoever made it may be about to put it in force.
            if now - rollout.created_at > GRACE + self.load_patience() {
                self.begin_rollout(rollout.clone(), &rollout.status).await?;
            }
            return Ok(false);
        }
        if now - route.updated_at <= GRACE && route.updated_by != rollout.id.as_str() {
            return Ok(false);
        }
        let state = if route.blocks(rollout.canary).is_some() {
            RolloutState::RolledBack
        } else if route.whole() == Some(rollout.canary) && route.updated_by == rollout.id.as_str() {
            RolloutState::Promoted
        } else {
            RolloutState::Superseded
        };
        let ended = self.close(&rollout.id, state, route).await?;
        let what = match state {
            RolloutState::RolledBack => Decided::RolledBack,
            RolloutState::Promoted => Decided::Promoted,
            _ => Decided::Superseded,
        };
        let why = match route.reason.as_str() {
            "" => format!("{} changed the route", route.updated_by),
            reason => format!("{} changed the route: {reason}", route.updated_by),
        };
        self.tell_of_own(&ended, what, &why).await;
        Ok(false)
    }

    fn rollout_patience(&self) -> Patience {
        let settings = &self.settings;
        let flush = time::Duration::milliseconds(milliseconds(settings.plans.flush_ms));
        let limit = i64::try_from(settings.rollouts.silence_limit_s).unwrap_or(i64::MAX);
        Patience {
            // The first batch begins the silence.
            told_after: flush
                * i32::try_from(settings.rollouts.silent_flushes.saturating_sub(1))
                    .unwrap_or(i32::MAX),
            ends_after: time::Duration::seconds(limit),
        }
    }

    fn load_patience(&self) -> time::Duration {
        time::Duration::seconds(i64::try_from(self.settings.load_timeout_s).unwrap_or(i64::MAX))
    }

    async fn forget_counts(&self) {
        let mut forgot = self.rolling.forgot.lock().await;
        if forgot.is_some_and(|at| at.elapsed() < FORGET_EVERY) {
            return;
        }
        *forgot = Some(Instant::now());
        let keep = i64::try_from(self.settings.plans.keep_counts_s).unwrap_or(i64::MAX);
        let before = self.deps.clock.now().checked_sub(time::Duration::seconds(keep));
        let Some(before) = before else { return };
        if let Err(error) = self.deps.relational.plans.forget_counts(before).await {
            tracing::debug!(%error, "old counts were not removed");
        }
    }
}

/// Notes what was judged, and returns what people are to be told.
fn note(rollout: &mut Rollout, evidence: &mut Evidence, verdict: &Verdict) -> Option<Notice> {
    let Verdict::Stay { why, notice } = verdict else { return None };
    why.clone_into(&mut rollout.status);
    match notice {
        Some(Notice::Silent) => evidence.told_silent = true,
        Some(Notice::Stuck) => evidence.told_stuck = Some(rollout.step),
        None => {}
    }
    *notice
}

/// Why a rollout was not driven on.
enum Failed {
    /// Another change came first.
    Overtaken,
    Error(ApiError),
}

impl From<RouterError> for Failed {
    fn from(error: RouterError) -> Self {
        match error {
            RouterError::Store(StoreError::Conflict { .. }) => Self::Overtaken,
            error => Self::Error(error.into()),
        }
    }
}

impl From<ApiError> for Failed {
    fn from(error: ApiError) -> Self {
        if error.code == contracts::ErrorCode::Conflict {
            return Self::Overtaken;
        }
        Self::Error(error)
    }
}

fn milliseconds(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
