//! How a route is put in force.

use contracts::router::{NewArm, NewRoute, PutRoute};
use contracts::{ApiError, ErrorCode, Faults};
use domain::route::Arm;
use domain::{ModelName, Route, Version, hex};
use storage::StoreError;

use super::Service;
use crate::assignment::{reassign, shares};
use crate::error::RouterError;

/// How often a change is tried again after another one came first.
const ATTEMPTS: u32 = 5;

/// The greatest weight: a sum of as many as a route may have stays exact enough.
const MAX_WEIGHT: f64 = 1e9;

impl Service {
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
        let route = NewRoute { arms: vec![arm], generation: Some(0) };
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

    async fn store_route(&self, by: &str, request: PutRoute) -> Result<Route, ApiError> {
        let PutRoute { model, route: wanted } = request;
        self.existing_model(&model).await?;
        let registry = &self.deps.relational.registry;
        let versions = registry.versions(Some(&model)).await.map_err(RouterError::from)?;
        let arms = self.check_arms(&model, &wanted.arms, &versions)?;
        for arm in arms.iter().filter(|arm| arm.share_ppm > 0) {
            if let Some(version) = versions.iter().find(|version| version.version == arm.version) {
                self.fleet.load(version).await?;
            }
        }
        for attempt in 1.. {
            let routes = &self.deps.relational.routes;
            let current = routes.route(&model).await.map_err(RouterError::from)?;
            let generation = current.as_ref().map_or(0, |route| route.generation);
            if let Some(expected) = wanted.generation
                && expected != generation
            {
                return Err(ApiError::new(
                    ErrorCode::Conflict,
                    format!(
                        "the route of model `{model}` is at generation {generation}, not {expected}: read it again with `GET /api/v1/models/{model}/route`"
                    ),
                ));
            }
            let (salt, segments) = match current {
                Some(route) => (route.salt, route.segments),
                None => (new_salt()?, Vec::new()),
            };
            let route = Route {
                model: model.clone(),
                segments: reassign(&segments, &arms),
                arms: arms.clone(),
                salt,
                generation: generation + 1,
                updated_by: by.to_owned(),
                updated_at: self.deps.clock.now(),
            };
            match routes.put_route(route.clone()).await {
                Ok(()) => return Ok(route),
                Err(StoreError::Conflict { .. }) if attempt < ATTEMPTS => {}
                Err(error) => return Err(RouterError::from(error).into()),
            }
        }
        Err(ApiError::internal())
    }

    fn check_arms(
        &self,
        model: &ModelName,
        wanted: &[NewArm],
        versions: &[Version],
    ) -> Result<Vec<Arm>, ApiError> {
        let limit = self.settings.max_arms;
        if wanted.is_empty() || wanted.len() > limit {
            return Err(ApiError::at(
                "#/arms",
                format!("must hold 1 to {limit} arms, got {}", wanted.len()),
            ));
        }
        let mut faults = Faults::default();
        let mut fault = |index: usize, field: &str, detail: String| {
            faults.add(format!("#/arms/{index}/{field}"), detail);
        };
        for (index, arm) in wanted.iter().enumerate() {
            let known = versions.iter().find(|version| version.version == arm.version);
            match known {
                None => fault(
                    index,
                    "version",
                    format!("must be a version of model `{model}`, got `{}`", arm.version),
                ),
                Some(version) if !version.enabled => fault(
                    index,
                    "version",
                    format!("version `{}` is unloaded: load it first", arm.version),
                ),
                Some(_) => {}
            }
            if !(0.0..=MAX_WEIGHT).contains(&arm.weight) {
                let detail = format!("must be 0 to {MAX_WEIGHT}, got `{:e}`", arm.weight);
                fault(index, "weight", detail);
            }
            if wanted.iter().take(index).any(|earlier| earlier.version == arm.version) {
                fault(index, "version", format!("version `{}` is named twice", arm.version));
            }
        }
        faults.check()?;
        let weights: Vec<f64> = wanted.iter().map(|arm| arm.weight).collect();
        let shares = shares(&weights)
            .ok_or_else(|| ApiError::at("#/arms", "the weights must not all be zero"))?;
        let arm = |(arm, share_ppm): (&NewArm, u32)| Arm {
            version: arm.version,
            share_ppm,
            weight: arm.weight,
        };
        Ok(wanted.iter().zip(shares).map(arm).collect())
    }
}

/// A salt nobody can guess, so that nobody can choose units for an arm.
fn new_salt() -> Result<String, ApiError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the system gives no random bytes");
        ApiError::internal()
    })?;
    Ok(hex(&bytes))
}
