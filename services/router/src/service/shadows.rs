//! How a shadow version compares.

use std::time::Duration;

use contracts::inference::{Answered, CacheUse};
use contracts::router::{ShadowQuery, ShadowReport};
use contracts::{ApiError, Call};
use domain::Role;
use time::OffsetDateTime;

use super::Service;
use super::answering::Asking;
use crate::error::RouterError;
use crate::shadows::{Answer, compare};
use crate::table::unknown_version;

impl Service {
    /// Hands over what the route's shadow versions are to be asked. Never waits.
    pub(super) fn ask_shadows(&self, asking: &Asking<'_>, answered: &Answered) {
        let Some(route) = &asking.choice.route else { return };
        if route.shadows.is_empty() || answered.cache == Some(CacheUse::Hit) {
            return;
        }
        let answer = Answer {
            id: asking.request.meta.prediction_id,
            route,
            version: asking.choice.version.version,
            request: asking.request,
            answered,
        };
        let version =
            |version| self.table.stand_in(&route.model, version).map(|served| served.version);
        let input = || self.payload(&asking.request.meta.content_type, &asking.request.body);
        self.shadows.offer(&answer, version, input);
    }

    pub(super) async fn compare_shadow(
        &self,
        call: Call,
        query: ShadowQuery,
    ) -> Result<ShadowReport, ApiError> {
        let role = call.require(&[Role::Analyst])?.role;
        call.require_model(&query.model)?;
        self.model_shown_to(role, &query.model).await?;
        let versions = self.table.enabled_versions(&query.model);
        if !versions.contains_key(&query.version) {
            return Err(unknown_version(&query.model, query.version, versions.keys()));
        }
        let settings = &self.settings.shadows;
        if query.window_s == 0 {
            return Err(ApiError::at("#/window_s", "must be 1 or more"));
        }
        let window = time::Duration::try_from(Duration::from_secs(query.window_s)).ok();
        let since = window.and_then(|window| self.deps.clock.now().checked_sub(window));
        let since = since.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let shadows = &self.deps.documents.shadows;
        let records = shadows
            .compared(&query.model, query.version, since, settings.max_reported)
            .await
            .map_err(RouterError::from)?;
        let (tolerance, worst) = (settings.tolerance, settings.worst);
        let (version, dropped) = (query.version, self.shadows.dropped());
        // Thousands of records take too long for an asynchronous thread.
        let report = move || compare(version, &records, tolerance, worst, dropped);
        tokio::task::spawn_blocking(report).await.map_err(|_cause| ApiError::internal())
    }
}
