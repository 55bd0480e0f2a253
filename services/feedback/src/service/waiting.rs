//! What waits for its prediction: looked up in the log again, and settled where it has come.

use std::collections::HashMap;

use contracts::Call;
use contracts::feedback::{PendingList, PendingQuery};
use domain::{ModelName, Pending, PredictionId};
use time::OffsetDateTime;

use super::FeedbackService;
use crate::FeedbackError;

/// Predictions looked up at once.
const PAGE: u32 = 1000;

impl FeedbackService {
    /// Settles what the log knows by now; tells since when the oldest of the rest waits.
    pub(super) async fn settle(
        &self,
        call: &Call,
    ) -> Result<Option<OffsetDateTime>, FeedbackError> {
        let (mut after, mut oldest) = (None, None);
        let mut left = self.settings.max_pending_checked;
        while left > 0 {
            call.deadline.check()?;
            let (page, known) = self.page(after, PAGE.min(left)).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.prediction_id);
            left = left.saturating_sub(PAGE);
            let waits = page.iter().filter(|one| !known.contains_key(&one.prediction_id));
            oldest = waits.map(|one| one.since).chain(oldest).min();
        }
        Ok(oldest)
    }

    /// A page of what the log does not know by now either.
    pub(super) async fn still_waiting(
        &self,
        call: &Call,
        query: PendingQuery,
    ) -> Result<PendingList, FeedbackError> {
        let wanted = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let (mut after, mut pending) = (query.after, Vec::new());
        loop {
            call.deadline.check()?;
            let (page, known) = self.page(after, query.limit).await?;
            let Some(last) = page.last() else {
                return Ok(PendingList { pending, next: None });
            };
            after = Some(last.prediction_id);
            for one in page {
                if known.contains_key(&one.prediction_id) {
                    continue;
                }
                if pending.len() == wanted {
                    let next = pending.last().map(|last: &Pending| last.prediction_id);
                    return Ok(PendingList { pending, next });
                }
                pending.push(one);
            }
        }
    }

    /// Some that wait, and which of them the log knows by now, which wait no longer.
    async fn page(
        &self,
        after: Option<PredictionId>,
        limit: u32,
    ) -> Result<(Vec<Pending>, HashMap<PredictionId, ModelName>), FeedbackError> {
        let page = self.deps.feedback.pending(after, limit).await?;
        let ids: Vec<_> = page.iter().map(|one| one.prediction_id).collect();
        let known = self.deps.predictions.known(&ids).await?;
        self.deps.feedback.settle(&known).await?;
        Ok((page, known))
    }
}
