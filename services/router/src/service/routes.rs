//! How a route is put in force.

mod compiling;
pub(super) mod conditions;

use std::collections::BTreeSet;

use contracts::router::{NewArm, NewRoute, PutRoute};
use contracts::{ApiError, Call, ErrorCode};
use domain::route::Cause;
use domain::{ModelName, Role, Route, Version, hex};
use serde_json::json;
use storage::StoreError;

use super::{READERS, Service};
use crate::error::RouterError;
use compiling::Compiler;

/// How often a change is tried again after another one came first.
const ATTEMPTS: u32 = 5;

impl Service {
    pub(super) async fn route_of(&self, call: Call, model: ModelName) -> Result<Route, ApiError> {
        let role = call.require(READERS)?.role;
        call.require_model(&model)?;
        self.model_shown_to(role, &model).await?;
        self.route_in_store(&model).await
    }

    pub(super) async fn change_route(
        &self,
        call: Call,
        request: PutRoute,
    ) -> Result<Route, ApiError> {
        let caller = call.require(&[Role::Engineer])?;
        call.require_model(&request.model)?;
        self.check_reason(&request.route.reason)?;
        let (model, reason) = (request.model.clone(), request.route.reason.clone());
        let before = self.deps.relational.routes.route(&model).await.map_err(RouterError::from)?;
        let route = self.replace_route(&caller.name, request).await?;
        self.record(&call, "route.put", &model, &reason, json!(before), json!(route)).await;
        Ok(route)
    }

    /// Gives a model its first route: all to this version. `None`, and nothing changed, if it has one.
    /// Whoever calls makes it known.
    pub(super) async fn route_first(
        &self,
        by: &str,
        version: &Version,
    ) -> Result<Option<Route>, ApiError> {
        let routes = &self.deps.relational.routes;
        if routes.route(&version.model).await.map_err(RouterError::from)?.is_some() {
            return Ok(None);
        }
        let arm = NewArm { version: version.version, weight: 100.0 };
        let route = NewRoute { arms: vec![arm], generation: Some(0), ..NewRoute::default() };
        let request = PutRoute { model: version.model.clone(), route };
        match self.store_route(by, request).await {
            // Two first versions at once: one of them has the route.
            Err(error) if error.code == ErrorCode::Conflict => Ok(None),
            result => result.map(Some),
        }
    }

    /// Replaces a route: its versions are loaded first, then it is stored, then it serves from all
    /// routers.
    pub(super) async fn replace_route(
        &self,
        by: &str,
        request: PutRoute,
    ) -> Result<Route, ApiError> {
        let route = self.store_route(by, request).await?;
        self.changed().await?;
        let Route { model, generation, .. } = &route;
        tracing::info!(%model, generation, by, "changed a route");
        Ok(route)
    }

    /// Changes the route that is in force, whatever came in between: `edit` may be called several
    /// times, each time with the newest. The versions that it names are loaded first; it is in force in
    /// every router when this returns.
    pub(super) async fn amend_route(
        &self,
        model: &ModelName,
        amendment: Amendment<'_>,
        edit: impl Fn(&mut Route) -> Result<(), ApiError> + Send + Sync,
    ) -> Result<Route, ApiError> {
        let registry = &self.deps.relational.registry;
        let versions = registry.versions(Some(model)).await.map_err(RouterError::from)?;
        self.store_pending(model).await?;
        for attempt in 1.. {
            let mut route = self.route_in_store(model).await?;
            let (before, at) = (route.serving(), route.updated_at);
            edit(&mut route)?;
            // What serves already is kept loaded; that one of it cannot be must not hold up the others.
            for version in route.serving().into_iter().filter(|new| !before.contains(new)) {
                if let Some(version) = versions.iter().find(|known| known.version == version) {
                    self.fleet.load(version).await?;
                }
            }
            route.generation += 1;
            route.cause = amendment.cause;
            amendment.reason.clone_into(&mut route.reason);
            amendment.by.clone_into(&mut route.updated_by);
            route.updated_at = self.deps.clock.now().max(at);
            match self.deps.relational.routes.put_route(route.clone()).await {
                Ok(()) => {
                    self.changed().await?;
                    let Route { generation, cause, .. } = &route;
                    tracing::info!(%model, generation, ?cause, by = amendment.by, "changed a route");
                    return Ok(route);
                }
                Err(StoreError::Conflict { .. }) if attempt < ATTEMPTS => {}
                Err(error) => return Err(RouterError::from(error).into()),
            }
        }
        Err(ApiError::internal())
    }

    /// The route as the store has it.
    pub(super) async fn route_in_store(&self, model: &ModelName) -> Result<Route, ApiError> {
        let route = self.deps.relational.routes.route(model).await.map_err(RouterError::from)?;
        route.ok_or_else(|| no_route(model))
    }

    async fn store_route(&self, by: &str, request: PutRoute) -> Result<Route, ApiError> {
        let PutRoute { model, route: wanted } = request;
        self.existing_model(&model).await?;
        self.store_pending(&model).await?;
        let registry = &self.deps.relational.registry;
        let versions = registry.versions(Some(&model)).await.map_err(RouterError::from)?;
        let mut loaded = BTreeSet::new();
        for attempt in 1.. {
            let routes = &self.deps.relational.routes;
            let current = routes.route(&model).await.map_err(RouterError::from)?;
            check_basis(&model, current.as_ref(), wanted.generation)?;
            let compiler = Compiler {
                model: &model,
                versions: &versions,
                current: current.as_ref(),
                max_arms: self.settings.max_arms,
                limits: &self.settings.routes,
            };
            let now = self.deps.clock.now();
            let basis = match &current {
                Some(route) => Route {
                    generation: route.generation + 1,
                    cause: Cause::Put,
                    updated_by: by.to_owned(),
                    updated_at: now.max(route.updated_at),
                    ..route.clone()
                },
                None => Route::first(model.clone(), Vec::new(), Vec::new(), new_salt()?, by, now),
            };
            let route = compiler.compile(&wanted, basis)?;
            for version in route.serving() {
                if let Some(version) = versions.iter().find(|known| known.version == version)
                    && loaded.insert(version.version)
                {
                    self.fleet.load(version).await?;
                }
            }
            match routes.put_route(route.clone()).await {
                Ok(()) => return Ok(route),
                Err(StoreError::Conflict { .. }) if attempt < ATTEMPTS => {}
                Err(error) => return Err(RouterError::from(error).into()),
            }
        }
        Err(ApiError::internal())
    }
}

/// Refuses a change that is based on another route than the one in force, or that would come between
/// a rollout and its weights.
fn check_basis(
    model: &ModelName,
    current: Option<&Route>,
    expected: Option<u64>,
) -> Result<(), ApiError> {
    let generation = current.map_or(0, |route| route.generation);
    let conflict = |message: String| Err(ApiError::new(ErrorCode::Conflict, message));
    if let Some(expected) = expected
        && expected != generation
    {
        return conflict(format!(
            "the route of model `{model}` is at generation {generation}, not {expected}: read it again with `GET /api/v1/models/{model}/route`"
        ));
    }
    if let Some(rollout) = current.and_then(|route| route.rollout.as_ref()) {
        return conflict(format!(
            "rollout `{rollout}` sets the weights of model `{model}` now: promote or abort it first, or go back with `POST /api/v1/models/{model}/rollback`"
        ));
    }
    Ok(())
}

/// The failure of who asks for the route of a model without a version.
pub(super) fn no_route(model: &ModelName) -> ApiError {
    ApiError::new(
        ErrorCode::NotFound,
        format!("model `{model}` has no route yet: it gets one with its first version"),
    )
}

/// Who changes a route, and why.
pub(crate) struct Amendment<'a> {
    /// User name, or the id of the plan.
    pub(crate) by: &'a str,
    /// What kind of change.
    pub(crate) cause: Cause,
    /// In words.
    pub(crate) reason: &'a str,
}

/// A salt nobody can guess, so that nobody can choose units for an arm.
pub(super) fn new_salt() -> Result<String, ApiError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the system gives no random bytes");
        ApiError::internal()
    })?;
    Ok(hex(&bytes))
}
