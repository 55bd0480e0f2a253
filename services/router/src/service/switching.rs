//! Blue and green: two sets of versions, of which one serves; and versions that are let back in.

use std::collections::BTreeMap;

use contracts::router::{ClearBlock, Switch};
use contracts::{ApiError, Call, ErrorCode};
use domain::route::{Arm, Cause};
use domain::{Role, Route, VersionId};
use serde_json::json;

use super::Service;
use super::rollback::refuses_blocked;
use super::routes::Amendment;
use crate::assignment::reassign;

impl Service {
    /// Has the two sets change places, in one generation. Both were loaded all the time.
    pub(super) async fn switch_sets(&self, call: Call, request: Switch) -> Result<Route, ApiError> {
        let caller = call.require(&[Role::Engineer])?;
        let Switch { model, switch } = request;
        call.require_model(&model)?;
        self.check_reason(&switch.reason)?;
        let before = self.route_in_store(&model).await?;
        let amendment =
            Amendment { by: &caller.name, cause: Cause::Switch, reason: &switch.reason };
        let versions = self.table.enabled_versions(&model);
        let edit = |route: &mut Route| {
            let refused = |why: String| Err(ApiError::new(ErrorCode::Conflict, why));
            let generation = route.generation;
            if let Some(expected) = switch.generation.filter(|expected| *expected != generation) {
                return refused(format!(
                    "the route of model `{model}` is at generation {generation}, not {expected}: read it again with `GET /api/v1/models/{model}/route`"
                ));
            }
            if route.standby.is_empty() {
                return refused(format!(
                    "the route of model `{model}` has no `standby` to switch to: put one with `PUT /api/v1/models/{model}/route`"
                ));
            }
            if same_shares(&route.standby, &route.arms) {
                return refused(format!(
                    "the `standby` of model `{model}` is what answers already: a switch would change nothing"
                ));
            }
            if let Some(rollout) = &route.rollout {
                return refused(format!(
                    "rollout `{rollout}` of model `{model}` is under way: end it first"
                ));
            }
            for version in route.standby.iter().map(|arm| arm.version) {
                if let Some(blocked) = route.blocks(version) {
                    return Err(refuses_blocked(&route.model, blocked));
                }
                if versions.get(&version) == Some(&false) {
                    return refused(format!(
                        "version `{version}` of model `{model}` is unloaded: load it with `POST /v2/repository/models/{model}/load`"
                    ));
                }
            }
            std::mem::swap(&mut route.arms, &mut route.standby);
            route.segments = reassign(&route.segments, &route.arms);
            Ok(())
        };
        let route = self.amend_route(&model, amendment, edit).await?;
        let (was, is) = (json!(before), json!(route));
        self.record_why(&call, "route.switch", &model, &switch.reason, was, is).await;
        let subject = format!("model:{model}");
        let data =
            json!({"generation": route.generation, "arms": route.arms, "standby": route.standby});
        let (by, reason) = (&caller.name, &switch.reason);
        self.tell("route.switched", &model, &subject, by, reason, data).await;
        Ok(route)
    }

    /// Lets a version be routed again that was found bad.
    pub(super) async fn clear(&self, call: Call, request: ClearBlock) -> Result<Route, ApiError> {
        let caller = call.require(&[Role::Engineer])?;
        let ClearBlock { model, version, reason } = request;
        call.require_model(&model)?;
        self.check_reason(&reason)?;
        let before = self.route_in_store(&model).await?;
        let amendment = Amendment { by: &caller.name, cause: Cause::Clear, reason: &reason };
        let edit = |route: &mut Route| {
            let count = route.blocked.len();
            route.blocked.retain(|blocked| blocked.version != version);
            if route.blocked.len() < count {
                return Ok(());
            }
            Err(ApiError::new(
                ErrorCode::NotFound,
                format!(
                    "version `{version}` of model `{model}` is not blocked: `GET /api/v1/models/{model}/route` lists those that are"
                ),
            ))
        };
        let route = self.amend_route(&model, amendment, edit).await?;
        let (was, is) = (json!(before.blocked), json!(route.blocked));
        self.record_why(&call, "route.clear", &model, &reason, was, is).await;
        let (subject, by) = (format!("model:{model}"), &caller.name);
        let data = json!({"version": version, "blocked": route.blocked});
        self.tell("version.cleared", &model, &subject, by, &reason, data).await;
        Ok(route)
    }
}

/// Whether two sets give the same versions the same shares.
pub(super) fn same_shares(one: &[Arm], other: &[Arm]) -> bool {
    let shares = |arms: &[Arm]| -> BTreeMap<VersionId, u32> {
        let some = arms.iter().filter(|arm| arm.share_ppm > 0);
        some.map(|arm| (arm.version, arm.share_ppm)).collect()
    };
    shares(one) == shares(other)
}
