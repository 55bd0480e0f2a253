//! Takes ground truth, and tells what is known.

use std::time::Duration;

use async_trait::async_trait;
use contracts::feedback::{
    FeedbackForm, FeedbackList, FeedbackQuery, FeedbackSummary, PendingList, PendingQuery,
    SubmitAnswer,
};
use contracts::{ApiError, Call, ErrorCode, FeedbackApi, Framed};
use domain::{PredictionId, Principal, Role};
use time::OffsetDateTime;

use crate::{Deps, FeedbackError, Settings};

mod accepting;
mod waiting;

pub(crate) use accepting::begin_counters;

/// The feedback service.
pub struct FeedbackService {
    pub(crate) settings: Settings,
    pub(crate) deps: Deps,
}

/// Predictions on one page of what is pending.
const MOST_ON_A_PAGE: u32 = 1000;

impl FeedbackService {
    async fn try_of_prediction(
        &self,
        call: &Call,
        id: PredictionId,
    ) -> Result<FeedbackList, FeedbackError> {
        call.require(&[Role::Analyst])?;
        if is_scoped(call)
            && let Some(model) = self.deps.predictions.known(&[id]).await?.get(&id)
        {
            call.require_model(model)?;
        }
        Ok(FeedbackList { feedback: self.deps.feedback.of_prediction(id).await? })
    }

    async fn try_summary(
        &self,
        call: &Call,
        query: FeedbackQuery,
    ) -> Result<FeedbackSummary, FeedbackError> {
        call.require(&[Role::Analyst])?;
        match &query.model {
            Some(model) => call.require_model(model)?,
            None if is_scoped(call) => return Err(out_of_scope("ask for one of them").into()),
            None => {}
        }
        if query.window_s == 0 {
            return Err(ApiError::at("#/window_s", "must be 1 or more").into());
        }
        let oldest_pending = self.settle(call).await?;
        let window = Duration::from_secs(query.window_s);
        let since = time::Duration::try_from(window).ok();
        let since = since.and_then(|window| self.deps.clock.now().checked_sub(window));
        let since = since.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let kinds = self.deps.feedback.tally(query.model.as_ref(), since).await?;
        let (mut matched, mut pending, mut of_units) = (0, 0, 0);
        for kind in &kinds {
            matched += kind.matched;
            pending += kind.pending;
            of_units += kind.of_units;
        }
        Ok(FeedbackSummary {
            received: matched + pending + of_units,
            matched,
            pending,
            of_units,
            kinds,
            oldest_pending: if query.model.is_none() { oldest_pending } else { None },
        })
    }

    async fn try_pending(
        &self,
        call: &Call,
        query: PendingQuery,
    ) -> Result<PendingList, FeedbackError> {
        call.require(&[Role::Analyst])?;
        if is_scoped(call) {
            return Err(out_of_scope("and what is pending belongs to none yet").into());
        }
        if !(1..=MOST_ON_A_PAGE).contains(&query.limit) {
            let detail = format!("must be 1 to {MOST_ON_A_PAGE}, got {}", query.limit);
            return Err(ApiError::at("#/limit", detail).into());
        }
        self.still_waiting(call, query).await
    }
}

#[async_trait]
impl FeedbackApi for FeedbackService {
    async fn submit(
        &self,
        call: Call,
        request: Framed<FeedbackForm>,
    ) -> Result<SubmitAnswer, ApiError> {
        Ok(self.try_submit(&call, request).await?)
    }

    async fn of_prediction(&self, call: Call, id: PredictionId) -> Result<FeedbackList, ApiError> {
        Ok(self.try_of_prediction(&call, id).await?)
    }

    async fn summary(&self, call: Call, query: FeedbackQuery) -> Result<FeedbackSummary, ApiError> {
        Ok(self.try_summary(&call, query).await?)
    }

    async fn pending(&self, call: Call, query: PendingQuery) -> Result<PendingList, ApiError> {
        Ok(self.try_pending(&call, query).await?)
    }
}

/// Whether the caller may use some models only.
fn is_scoped(call: &Call) -> bool {
    let scoped = |caller: &Principal| !caller.scope.models.is_empty();
    call.principal.as_ref().is_some_and(scoped)
}

fn out_of_scope(hint: &str) -> ApiError {
    ApiError::new(ErrorCode::Forbidden, format!("you may use some models only: {hint}"))
}
