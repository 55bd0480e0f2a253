//! Sums up a window of the prediction log.

use async_trait::async_trait;
use contracts::drift::{Summary, SummaryRequest};
use contracts::{ApiError, Call, DriftApi};
use domain::Role;
use time::Duration;

use crate::{Deps, DriftError, Settings, summary};

/// The drift service.
pub struct DriftService {
    pub(crate) settings: Settings,
    pub(crate) deps: Deps,
}

impl DriftService {
    async fn try_summary(
        &self,
        call: Call,
        request: SummaryRequest,
    ) -> Result<Summary, DriftError> {
        call.require(&[Role::Analyst])?;
        let SummaryRequest { model, window_s } = request;
        call.require_model(&model)?;
        let longest = self.settings.max_window_s;
        let seconds = u32::try_from(window_s).ok().filter(|s| (1..=longest).contains(s));
        let Some(seconds) = seconds else {
            let detail = format!("must be 1 to {longest} seconds, got {window_s}");
            return Err(ApiError::at("#/window_s", detail).into());
        };
        call.deadline.check()?;

        let since = self.deps.clock.now() - Duration::seconds(seconds.into());
        let most = self.settings.max_records;
        // One more than is used tells whether there are more.
        let mut records = self.deps.predictions.since(&model, since, most + 1).await?;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let truncated = records.len() > most;
        records.truncate(most);
        Ok(Summary { model, window_s, truncated, versions: summary::by_version(&records) })
    }
}

#[async_trait]
impl DriftApi for DriftService {
    async fn summary(&self, call: Call, request: SummaryRequest) -> Result<Summary, ApiError> {
        Ok(self.try_summary(call, request).await?)
    }
}
