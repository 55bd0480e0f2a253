//! What people do with rollouts.

use contracts::router::{ActOnRollout, RolloutAction, RolloutView};
use contracts::{ApiError, Call, ErrorCode};
use domain::Role;
use domain::rollout::{Rollout, RolloutState};
use storage::StoreError;

use super::moving::Blocks;
use super::{Decided, Service, name_of, view};
use crate::error::RouterError;
use crate::rollouts::{next_share, ppm, words::percent};

/// How often an action is tried again after a change that came first: the driver takes counts in
/// every second or so.
const ATTEMPTS: u32 = 20;
/// The longest reason, characters.
const MAX_REASON: usize = 2_000;

impl Service {
    pub(in crate::service) async fn change_rollout(
        &self,
        call: Call,
        request: ActOnRollout,
    ) -> Result<RolloutView, ApiError> {
        call.require(&[Role::Engineer])?;
        check_reason(&request.action)?;
        let by = name_of(&call);
        for attempt in 1.. {
            let mut rollout = self.rollout_in_store(&request.id).await?;
            call.require_model(&rollout.model)?;
            if attempt == 1 {
                is_open(&rollout)?;
            }
            let (what, why) = match self.do_to_rollout(&mut rollout, &request.action, &by).await {
                Ok(done) => done,
                Err(Acted::Refused(error)) => return Err(error),
                // The driver took counts in meanwhile, or moved.
                Err(Acted::Overtaken) if attempt < ATTEMPTS => continue,
                Err(Acted::Overtaken) => break,
            };
            self.tell_of(&call, &rollout, what, &by, &why).await;
            return Ok(view(rollout));
        }
        Err(ApiError::new(
            ErrorCode::Unavailable,
            format!("rollout `{}` changes too fast to be changed: try again", request.id),
        ))
    }

    async fn do_to_rollout(
        &self,
        rollout: &mut Rollout,
        action: &RolloutAction,
        by: &str,
    ) -> Result<(Decided, String), Acted> {
        is_open(rollout)?;
        let said = |reason: &str| match reason {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        match action {
            RolloutAction::Pause { reason } => {
                if rollout.state == RolloutState::Paused {
                    let why =
                        format!("rollout `{}` is paused already: {}", rollout.id, rollout.status);
                    return Err(Acted::Refused(ApiError::new(ErrorCode::Conflict, why)));
                }
                rollout.state = RolloutState::Paused;
                rollout.status = format!("paused by {by}{}", said(reason));
                self.keep_rollout(rollout).await?;
                Ok((Decided::Paused, rollout.status.clone()))
            }
            RolloutAction::Resume => {
                if rollout.state != RolloutState::Paused {
                    let why = format!("rollout `{}` is not paused", rollout.id);
                    return Err(Acted::Refused(ApiError::new(ErrorCode::Conflict, why)));
                }
                rollout.state = RolloutState::Running;
                rollout.status = format!("resumed by {by}");
                self.keep_rollout(rollout).await?;
                Ok((Decided::Resumed, rollout.status.clone()))
            }
            RolloutAction::Approve => {
                let next = next_share(rollout);
                if !rollout.plan.approve.iter().any(|share| ppm(*share) == ppm(next)) {
                    let why = format!(
                        "the next step of rollout `{}`, {}, waits for nobody's approval",
                        rollout.id,
                        percent(next)
                    );
                    return Err(Acted::Refused(ApiError::new(ErrorCode::Conflict, why)));
                }
                rollout.approved_by = Some(by.to_owned());
                let why = format!("{} approved by {by}", percent(next));
                rollout.status = format!("{why}: it goes on at the next look");
                self.keep_rollout(rollout).await?;
                Ok((Decided::Approved, why))
            }
            RolloutAction::Promote { reason } => {
                *rollout = self
                    .promote_canary(rollout, by, &format!("promoted by {by}{}", said(reason)))
                    .await?;
                Ok((Decided::Promoted, rollout.status.clone()))
            }
            RolloutAction::Abort { reason } => {
                let why = format!("aborted by {by}{}", said(reason));
                let route = self.give_back(rollout, by, &why, Blocks::No).await?;
                *rollout = self.close(&rollout.id, RolloutState::Aborted, &route).await?;
                Ok((Decided::Aborted, why))
            }
        }
    }
}

/// Why an action was not done.
enum Acted {
    Refused(ApiError),
    /// Another change came first: what is to be done has to be seen anew.
    Overtaken,
}

impl From<ApiError> for Acted {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

impl From<RouterError> for Acted {
    fn from(error: RouterError) -> Self {
        match error {
            RouterError::Store(StoreError::Conflict { .. }) => Self::Overtaken,
            error => Self::Refused(error.into()),
        }
    }
}

fn is_open(rollout: &Rollout) -> Result<(), ApiError> {
    if rollout.state.is_open() {
        return Ok(());
    }
    let why = format!("rollout `{}` is over: {}", rollout.id, rollout.status);
    Err(ApiError::new(ErrorCode::Conflict, why))
}

fn check_reason(action: &RolloutAction) -> Result<(), ApiError> {
    let reason = match action {
        RolloutAction::Pause { reason }
        | RolloutAction::Promote { reason }
        | RolloutAction::Abort { reason } => reason,
        RolloutAction::Resume | RolloutAction::Approve => return Ok(()),
    };
    let length = reason.chars().count();
    if length > MAX_REASON {
        let detail = format!("must have at most {MAX_REASON} characters, got {length}");
        return Err(ApiError::at("#/reason", detail));
    }
    Ok(())
}
