//! Where a rollback leads, and what it makes of a route. Pure.

use std::collections::BTreeMap;

use contracts::{ApiError, ErrorCode};
use domain::route::{Arm, BUCKETS, Blocked, Cause};
use domain::{ModelName, Route, VersionId};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::past::{Found, Past};
use crate::assignment::reassign;

/// What there is to choose from.
pub(super) struct Choices<'a> {
    /// The route in force.
    pub(super) route: &'a Route,
    pub(super) past: &'a Past,
    /// The model's versions, and whether each may be served.
    pub(super) versions: &'a BTreeMap<VersionId, bool>,
    pub(super) now: OffsetDateTime,
    /// How long a version has to have had everything to be stable.
    pub(super) long_enough: Duration,
}

/// The versions that answer a request that names none.
pub(super) fn answering(route: &Route) -> Vec<VersionId> {
    let arms = route.arms.iter();
    let arms = arms.chain(route.rules.iter().flat_map(|rule| &rule.arms));
    let arms = arms.chain(route.trials.iter().flat_map(|trial| &trial.arms));
    let mut all: Vec<_> = arms.filter(|arm| arm.share_ppm > 0).map(|arm| arm.version).collect();
    all.sort_unstable();
    all.dedup();
    all
}

impl Choices<'_> {
    /// The versions to get away from, as whoever asks sees things now: the one that answers all; of
    /// several, all but the one that is stable.
    pub(super) fn leaving(&self, to: Option<VersionId>) -> Vec<VersionId> {
        let mut leaving = answering(self.route);
        let keep = match (to, leaving.as_slice()) {
            (Some(to), _) => Some(to),
            (None, [_]) => None,
            (None, _) => self.look_back(&[]).map(|found| found.version),
        };
        leaving.retain(|version| Some(*version) != keep);
        leaving
    }

    /// The version that is to have everything.
    ///
    /// # Errors
    /// `not_found` if `to` is no version; `conflict` if it is blocked or unloaded, or if without `to`
    /// there is none to go back to.
    pub(super) fn target(
        &self,
        to: Option<VersionId>,
        leaving: &[VersionId],
    ) -> Result<Found, ApiError> {
        let Some(version) = to else {
            return self.look_back(leaving).ok_or_else(|| self.nowhere(leaving));
        };
        let model = &self.route.model;
        let known = self.versions.keys();
        let Some(enabled) = self.versions.get(&version) else {
            return Err(crate::table::unknown_version(model, version, known));
        };
        if let Some(blocked) = self.route.blocks(version) {
            return Err(refuses_blocked(&self.route.model, blocked));
        }
        if !enabled {
            let how = format!(
                "version `{version}` of model `{model}` is unloaded: load it with `POST /v2/repository/models/{model}/load`, or name another"
            );
            return Err(ApiError::new(ErrorCode::Conflict, how));
        }
        Ok(Found { version, stable: self.is_stable(version) })
    }

    /// Whether a version once had everything for long enough.
    pub(super) fn is_stable(&self, version: VersionId) -> bool {
        let found = self.past.look_back(self.now, self.long_enough, |one| one == version);
        found.is_some_and(|found| found.stable)
    }

    fn look_back(&self, leaving: &[VersionId]) -> Option<Found> {
        let wanted = |version| {
            self.versions.get(&version).is_some_and(|enabled| *enabled)
                && self.route.blocks(version).is_none()
                && !leaving.contains(&version)
        };
        self.past.look_back(self.now, self.long_enough, wanted)
    }

    fn nowhere(&self, leaving: &[VersionId]) -> ApiError {
        let why = |(version, enabled): (&VersionId, &bool)| {
            let why = if let Some(blocked) = self.route.blocks(*version) {
                format!("blocked: {}", blocked.reason)
            } else if leaving.contains(version) {
                "to be left".to_owned()
            } else if !enabled {
                "unloaded".to_owned()
            } else {
                "never had all requests".to_owned()
            };
            format!("`{version}` ({why})")
        };
        let versions: Vec<_> = self.versions.iter().map(why).collect();
        ApiError::new(
            ErrorCode::Conflict,
            format!(
                "model `{}` has no version to go back to, of {}: name one with `to`",
                self.route.model,
                versions.join(", ")
            ),
        )
    }
}

/// The refusal to send requests to a blocked version.
pub(in crate::service) fn refuses_blocked(model: &ModelName, blocked: &Blocked) -> ApiError {
    let Blocked { version, reason, by, at } = blocked;
    let at = at.replace_nanosecond(0).unwrap_or(*at).format(&Rfc3339).unwrap_or_default();
    ApiError::new(
        ErrorCode::Conflict,
        format!(
            "version `{version}` of model `{model}` is blocked since {at}, by `{by}`: {reason}. Name another, or, if it may serve again, clear it with `DELETE /api/v1/models/{model}/blocks/{version}`"
        ),
    )
}

/// Whether the route is what a rollback from these versions would make of it, as another one came
/// first.
pub(super) fn is_done(route: &Route, to: Option<VersionId>, leaving: &[VersionId]) -> bool {
    let Some(version) = route.whole() else { return false };
    route.cause == Cause::Rollback
        && to.is_none_or(|to| to == version)
        && answering(route) == [version]
        && leaving.iter().all(|left| route.blocks(*left).is_some())
}

/// Whether the route came into force by a rollback since that moment: what is asked for at once by
/// two, or once more as no answer came, is done once.
pub(super) fn is_since(
    route: &Route,
    to: Option<VersionId>,
    moment: Option<OffsetDateTime>,
) -> bool {
    moment.is_some_and(|moment| route.updated_at >= moment) && is_done(route, to, &[])
}

/// Who rolls back, and why.
#[derive(Clone, Copy)]
pub(super) struct Signature<'a> {
    pub(super) by: &'a str,
    pub(super) reason: &'a str,
    pub(super) at: OffsetDateTime,
}

/// The route after it: everything to one version, and nothing of those that it leaves, or that got
/// requests beside it.
pub(super) fn rolled_back(
    route: &Route,
    to: VersionId,
    leaving: &[VersionId],
    signature: Signature<'_>,
) -> Route {
    let mut next = route.clone();
    // Clocks differ; the history goes forward.
    let at = signature.at.max(route.updated_at);
    let mut away = answering(route);
    away.extend(leaving);
    away.retain(|version| *version != to && route.blocks(*version).is_none());
    away.sort_unstable();
    away.dedup();
    let reason = if signature.reason.is_empty() { "rolled back" } else { signature.reason };
    next.blocked.extend(away.into_iter().map(|version| Blocked {
        version,
        reason: reason.to_owned(),
        by: signature.by.to_owned(),
        at,
    }));
    next.arms = vec![Arm { version: to, share_ppm: BUCKETS, weight: 100.0 }];
    next.segments = reassign(&route.segments, &next.arms);
    // What an experiment found is not worth more than a way back.
    next.trials.clear();
    next.leave_out_blocked();
    if next.standby.iter().all(|arm| arm.version == to) {
        next.standby.clear();
    }
    next.rollout = None;
    next.generation = route.generation + 1;
    next.cause = Cause::Rollback;
    signature.reason.clone_into(&mut next.reason);
    signature.by.clone_into(&mut next.updated_by);
    next.updated_at = at;
    next
}

#[cfg(test)]
mod tests;
