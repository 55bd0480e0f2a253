//! What a person asks of a route, checked as a whole and made the route.

use std::collections::{BTreeMap, BTreeSet};

use contracts::pointer::step;
use contracts::router::{NewArm, NewRoute, NewRule};
use contracts::{ApiError, Faults};
use domain::route::{Arm, HashKind, Shadow};
use domain::targeting::{Audience, Fallback, Rule};
use domain::{ModelName, Route, Version, VersionId};

use super::conditions::{Conditions, check_name};
use crate::assignment::{reassign, shares};
use crate::service::rollback::refuses_blocked;
use crate::service::switching::same_shares;
use crate::settings::RouteSettings;

/// The greatest weight: a sum of as many as a route may have stays exact enough.
const MAX_WEIGHT: f64 = 1e9;

/// What a route is made for.
pub(super) struct Compiler<'a> {
    pub(super) model: &'a ModelName,
    /// All of the model's.
    pub(super) versions: &'a [Version],
    /// The route in force.
    pub(super) current: Option<&'a Route>,
    pub(super) max_arms: usize,
    pub(super) limits: &'a RouteSettings,
}

impl Compiler<'_> {
    /// Puts what is wanted into the place of what `route` had, with as few units moving as possible.
    /// What others own (its salt, experiments, blocked versions) stays.
    ///
    /// # Errors
    /// `unprocessable` with all faults; `conflict` if it sends requests to a blocked version.
    pub(super) fn compile(&self, wanted: &NewRoute, route: Route) -> Result<Route, ApiError> {
        let mut faults = Faults::default();
        let arms = self.arms(&wanted.arms, "#/arms", &mut faults);
        let rules = self.rules(wanted, &mut faults);
        let standby = match wanted.standby.as_slice() {
            [] => Vec::new(),
            standby => self.arms(standby, "#/standby", &mut faults),
        };
        if !standby.is_empty() && same_shares(&standby, &arms) {
            faults.add("#/standby", "is what `arms` are: a switch would change nothing");
        }
        self.check_audiences(&wanted.audiences, &mut faults);
        let others = rules.iter().flat_map(|rule| &rule.arms);
        let others = others.chain(route.trials.iter().flat_map(|trial| &trial.arms));
        let answering: BTreeSet<_> = arms.iter().chain(others).map(|arm| arm.version).collect();
        self.check_shadows(&wanted.shadows, &answering, &mut faults);
        self.check_fallback(&wanted.fallback, &mut faults);
        let hash = self.hash(wanted.hash, &mut faults);
        faults.check()?;
        let route = Route {
            segments: reassign(&route.segments, &arms),
            arms,
            rules,
            hash,
            audiences: wanted.audiences.clone(),
            shadows: wanted.shadows.clone(),
            fallback: wanted.fallback.clone(),
            standby,
            reason: wanted.reason.clone(),
            ..route
        };
        refuse_blocked(&route)?;
        Ok(route)
    }

    /// The arms for these weights.
    fn arms(&self, wanted: &[NewArm], pointer: &str, faults: &mut Faults) -> Vec<Arm> {
        if wanted.is_empty() || wanted.len() > self.max_arms {
            let most = self.max_arms;
            let detail =
                format!("must hold 1 to {most} arms (`router.max_arms`), got {}", wanted.len());
            faults.add(pointer, detail);
            return Vec::new();
        }
        for (index, arm) in wanted.iter().enumerate() {
            let place = format!("{pointer}/{index}/version");
            self.check_version(arm.version, &place, faults);
            if !(0.0..=MAX_WEIGHT).contains(&arm.weight) {
                let detail = format!("must be 0 to {MAX_WEIGHT}, got `{:e}`", arm.weight);
                faults.add(format!("{pointer}/{index}/weight"), detail);
            }
            if wanted.iter().take(index).any(|earlier| earlier.version == arm.version) {
                faults.add(place, format!("version `{}` is named twice", arm.version));
            }
        }
        let weights: Vec<f64> = wanted.iter().map(|arm| arm.weight).collect();
        let Some(shares) = shares(&weights) else {
            if weights.iter().all(|weight| *weight == 0.0) {
                faults.add(pointer, "the weights must not all be zero");
            }
            return Vec::new();
        };
        let arm = |(arm, share_ppm): (&NewArm, u32)| Arm {
            version: arm.version,
            share_ppm,
            weight: arm.weight,
        };
        wanted.iter().zip(shares).map(arm).collect()
    }

    fn rules(&self, wanted: &NewRoute, faults: &mut Faults) -> Vec<Rule> {
        let most = self.limits.max_rules;
        if wanted.rules.len() > most {
            let detail = format!(
                "must hold at most {most} rules (`router.routes.max_rules`), got {}",
                wanted.rules.len()
            );
            faults.add("#/rules", detail);
            return Vec::new();
        }
        let conditions = Conditions { limits: self.limits, audiences: Some(&wanted.audiences) };
        let mut rules = Vec::with_capacity(wanted.rules.len());
        for (index, NewRule { name, when, arms }) in wanted.rules.iter().enumerate() {
            let pointer = format!("#/rules/{index}");
            check_name(name, &format!("{pointer}/name"), faults);
            if wanted.rules.iter().take(index).any(|earlier| earlier.name == *name) {
                faults.add(format!("{pointer}/name"), format!("`{name}` is there twice"));
            }
            if when.is_empty() {
                let detail = "must hold a condition: who none of the rules fits gets the route's own arms anyway";
                faults.add(format!("{pointer}/when"), detail);
            }
            conditions.check(when, &format!("{pointer}/when"), faults);
            let arms = self.arms(arms, &format!("{pointer}/arms"), faults);
            let earlier = self.current.iter().flat_map(|route| &route.rules);
            let earlier = earlier.into_iter().find(|rule| rule.name == *name);
            let segments = reassign(earlier.map_or(&[], |rule| &rule.segments), &arms);
            rules.push(Rule { name: name.clone(), when: when.clone(), arms, segments });
        }
        rules
    }

    fn check_audiences(&self, audiences: &BTreeMap<String, Audience>, faults: &mut Faults) {
        let most = self.limits.max_audiences;
        if audiences.len() > most {
            let detail = format!(
                "must hold at most {most} audiences (`router.routes.max_audiences`), got {}",
                audiences.len()
            );
            return faults.add("#/audiences", detail);
        }
        let conditions = Conditions { limits: self.limits, audiences: None };
        for (name, audience) in audiences {
            let pointer = step("#/audiences", name);
            check_name(name, &pointer, faults);
            if audience.units.is_empty() && audience.when.is_empty() {
                faults.add(&pointer, "must hold `units`, or conditions in `when`");
            }
            let most = self.limits.max_audience_units;
            if audience.units.len() > most {
                let detail = format!(
                    "must hold at most {most} units (`router.routes.max_audience_units`), got {}",
                    audience.units.len()
                );
                faults.add(format!("{pointer}/units"), detail);
            }
            let most = self.limits.max_text_bytes;
            for (index, unit) in audience.units.iter().enumerate() {
                if unit.is_empty() || unit.len() > most {
                    let detail = format!(
                        "must have 1 to {most} bytes (`router.routes.max_text_bytes`), got {}",
                        unit.len()
                    );
                    faults.add(format!("{pointer}/units/{index}"), detail);
                }
            }
            conditions.check(&audience.when, &format!("{pointer}/when"), faults);
        }
    }

    fn check_shadows(
        &self,
        shadows: &[Shadow],
        answering: &BTreeSet<VersionId>,
        faults: &mut Faults,
    ) {
        let most = self.limits.max_shadows;
        if shadows.len() > most {
            let detail = format!(
                "must hold at most {most} versions (`router.routes.max_shadows`), got {}",
                shadows.len()
            );
            faults.add("#/shadows", detail);
        }
        for (index, shadow) in shadows.iter().enumerate() {
            let place = format!("#/shadows/{index}/version");
            self.check_version(shadow.version, &place, faults);
            if shadows.iter().take(index).any(|earlier| earlier.version == shadow.version) {
                faults.add(&place, format!("version `{}` is named twice", shadow.version));
            }
            if answering.iter().eq([&shadow.version]) {
                faults.add(&place, "would be compared with itself: no other version answers");
            }
            if !(0.0..=1.0).contains(&shadow.share) {
                let detail = format!("must be 0 to 1, got `{:e}`", shadow.share);
                faults.add(format!("#/shadows/{index}/share"), detail);
            }
        }
    }

    fn check_fallback(&self, fallback: &Fallback, faults: &mut Faults) {
        let most = self.limits.max_fallbacks;
        if fallback.versions.len() > most {
            let detail = format!(
                "must hold at most {most} versions (`router.routes.max_fallbacks`), got {}",
                fallback.versions.len()
            );
            faults.add("#/fallback/versions", detail);
        }
        for (index, version) in fallback.versions.iter().enumerate() {
            let place = format!("#/fallback/versions/{index}");
            self.check_version(*version, &place, faults);
            if fallback.versions.iter().take(index).any(|earlier| earlier == version) {
                faults.add(place, format!("version `{version}` is named twice"));
            }
        }
        let most = self.limits.max_default_bytes;
        let bytes = fallback.default.as_ref().map_or(0, |value| value.to_string().len());
        if bytes > most {
            let detail = format!(
                "must have at most {most} bytes (`router.routes.max_default_bytes`), got {bytes}"
            );
            faults.add("#/fallback/default", detail);
        }
    }

    fn check_version(&self, version: VersionId, pointer: &str, faults: &mut Faults) {
        match self.versions.iter().find(|known| known.version == version) {
            None => {
                let detail =
                    format!("must be a version of model `{}`, got `{version}`", self.model);
                faults.add(pointer, detail);
            }
            Some(known) if !known.enabled => {
                faults.add(pointer, format!("version `{version}` is unloaded: load it first"));
            }
            Some(_) => {}
        }
    }

    /// How units are hashed from now on. It may change for as long as nobody would get another version
    /// by it.
    fn hash(&self, wanted: Option<HashKind>, faults: &mut Faults) -> HashKind {
        let Some(route) = self.current else { return wanted.unwrap_or_default() };
        let several = |arms: &[Arm]| arms.iter().filter(|arm| arm.share_ppm > 0).count() > 1;
        let split = several(&route.arms) || route.rules.iter().any(|rule| several(&rule.arms));
        match wanted {
            Some(hash) if hash != route.hash && split => {
                let detail = "cannot be changed while units are split among versions: nearly all would move. Give one version everything first";
                faults.add("#/hash", detail);
                route.hash
            }
            Some(hash) => hash,
            None => route.hash,
        }
    }
}

/// Refuses a route that sends requests to a version that was found bad.
///
/// # Errors
/// `conflict` that says why it is blocked and how to clear it.
pub(in crate::service) fn refuse_blocked(route: &Route) -> Result<(), ApiError> {
    let arms = route.arms.iter().chain(route.rules.iter().flat_map(|rule| &rule.arms));
    let arms = arms.chain(route.trials.iter().flat_map(|trial| &trial.arms));
    let arms = arms.chain(&route.standby).filter(|arm| arm.share_ppm > 0);
    let versions = arms.map(|arm| arm.version).chain(route.fallback.versions.iter().copied());
    let blocked = versions.into_iter().find_map(|version| route.blocks(version));
    blocked.map_or(Ok(()), |blocked| Err(refuses_blocked(&route.model, blocked)))
}
