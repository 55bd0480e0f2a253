//! Which route served when.

use contracts::router::{History, HistoryQuery, Served};
use contracts::{ApiError, Call, ErrorCode};
use domain::{ModelName, Role, Route};
use time::OffsetDateTime;

use super::Service;
use crate::error::RouterError;

impl Service {
    pub(super) async fn history_of(
        &self,
        call: Call,
        query: HistoryQuery,
    ) -> Result<History, ApiError> {
        let role = call.require(&[Role::Analyst])?.role;
        let HistoryQuery { model, at, before, limit } = query;
        call.require_model(&model)?;
        let most = self.settings.max_history;
        if !(1..=most).contains(&limit) {
            let why = format!("must be 1 to {most} (`router.max_history`), got `{limit}`");
            return Err(ApiError::new(ErrorCode::Unprocessable, format!("query: `limit` {why}")));
        }
        self.model_shown_to(role, &model).await?;
        let Some(newest) = self.newest(&model).await? else {
            return Ok(History { routes: Vec::new() });
        };
        if at.is_some() && before.is_some() {
            let why = "query: give `at` or `before`, not both";
            return Err(ApiError::new(ErrorCode::Unprocessable, why));
        }
        let before = before.unwrap_or(u64::MAX).min(newest.generation.saturating_add(1));
        let (before, limit) = match at {
            None => (before, limit),
            Some(at) => (self.in_force_at(&newest, at).await?.saturating_add(1), 1),
        };
        let routes = self.deps.relational.routes.history(&model, before, limit);
        let routes = routes.await.map_err(RouterError::from)?;
        let mut until = match before {
            before if before > newest.generation => None,
            before => self.at_generation(&newest, before).await?.map(|route| route.updated_at),
        };
        let served = |route: Route| {
            let next = until.replace(route.updated_at);
            Served { cause: route.cause, route, until: next }
        };
        Ok(History { routes: routes.into_iter().map(served).collect() })
    }

    async fn newest(&self, model: &ModelName) -> Result<Option<Route>, ApiError> {
        Ok(self.deps.relational.routes.route(model).await.map_err(RouterError::from)?)
    }

    /// The generation that was in force at a moment; 0 if that is before the first. Looks at a number
    /// of routes that grows with the logarithm of how many there are.
    async fn in_force_at(&self, newest: &Route, at: OffsetDateTime) -> Result<u64, ApiError> {
        if newest.updated_at <= at {
            return Ok(newest.generation);
        }
        // The one before `late` is not known to be too late; `early` is not too late.
        let (mut early, mut late) = (0, newest.generation);
        while early + 1 < late {
            let middle = early + (late - early) / 2;
            match self.at_generation(newest, middle).await? {
                Some(route) if route.updated_at <= at => early = middle,
                _ => late = middle,
            }
        }
        Ok(early)
    }

    async fn at_generation(
        &self,
        newest: &Route,
        generation: u64,
    ) -> Result<Option<Route>, ApiError> {
        if generation == newest.generation {
            return Ok(Some(newest.clone()));
        }
        let routes = &self.deps.relational.routes;
        let found = routes.history(&newest.model, generation.saturating_add(1), 1);
        Ok(found.await.map_err(RouterError::from)?.into_iter().next())
    }
}
