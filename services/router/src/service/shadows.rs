//! How a shadow version compares.

use std::time::Duration;

use contracts::router::{ShadowQuery, ShadowReport};
use contracts::{ApiError, Call};
use domain::Role;

use super::Service;
use crate::error::RouterError;
use crate::shadows::compare;

impl Service {
    pub(super) async fn compare_shadow(
        &self,
        call: Call,
        query: ShadowQuery,
    ) -> Result<ShadowReport, ApiError> {
        call.require(&[Role::Analyst])?;
        call.require_model(&query.model)?;
        self.existing_model(&query.model).await?;
        let settings = &self.settings.shadows;
        let since = self.deps.clock.now() - Duration::from_secs(query.window_s);
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
