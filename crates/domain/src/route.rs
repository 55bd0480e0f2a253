//! Which version answers: the route of a model, as data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::experiment::UnitKind;
use crate::plan::PlanId;
use crate::rollout::Ramp;
use crate::targeting::{Audience, Condition, Fallback, Rule};
use crate::{ModelName, VersionId};

/// How many buckets units are hashed into. Weights are whole numbers of buckets (parts per million).
pub const BUCKETS: u32 = 1_000_000;

/// Which versions of a model answer, and who gets which.
///
/// A request goes by the first of these that concerns it: a version that the caller names, a rule,
/// an experiment whose slice of its layer the unit is in, the route's own arms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Route {
    /// The model.
    pub model: ModelName,
    /// The versions that answer whom nothing else concerns, each with its share.
    pub arms: Vec<Arm>,
    /// Hashed with the unit. Made once, kept for good, so that a unit keeps its arm.
    pub salt: String,
    /// How units are hashed.
    #[serde(default)]
    pub hash: HashKind,
    /// Which buckets belong to which arm: sorted, without gaps, covering 0 to 1,000,000.
    pub segments: Vec<Segment>,
    /// Looked at in this order; the first that fits decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// What rules call by a name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub audiences: BTreeMap<String, Audience>,
    /// The experiments that run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trials: Vec<Trial>,
    /// The versions that are also asked, after the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadows: Vec<Shadow>,
    /// What answers in the place of a version that cannot.
    #[serde(default, skip_serializing_if = "Fallback::is_none")]
    pub fallback: Fallback,
    /// The other set of a blue-green pair: loaded, and one switch away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standby: Vec<Arm>,
    /// Versions that were found bad: no change may send requests to them until a person clears them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked: Vec<Blocked>,
    /// The rollout that sets the arms' weights now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Ramp>,
    /// Counts up by one with every change.
    pub generation: u64,
    /// What kind of change made it so.
    #[serde(default)]
    pub cause: Cause,
    /// Why, in the words of who made this change.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Who made this change (user name).
    pub updated_by: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

impl Route {
    /// A model's first route: generation 1, with nothing but its arms.
    pub fn first(
        model: ModelName,
        arms: Vec<Arm>,
        segments: Vec<Segment>,
        salt: String,
        by: &str,
        at: OffsetDateTime,
    ) -> Self {
        Self {
            model,
            arms,
            salt,
            hash: HashKind::default(),
            segments,
            rules: Vec::new(),
            audiences: BTreeMap::new(),
            trials: Vec::new(),
            shadows: Vec::new(),
            fallback: Fallback::default(),
            standby: Vec::new(),
            blocked: Vec::new(),
            rollout: None,
            generation: 1,
            cause: Cause::First,
            reason: String::new(),
            updated_by: by.to_owned(),
            updated_at: at,
        }
    }

    /// The version that has all of the route's own arms, if one has.
    pub fn whole(&self) -> Option<VersionId> {
        self.arms.iter().find(|arm| arm.share_ppm == BUCKETS).map(|arm| arm.version)
    }

    /// Leaves out every rule, shadow, stand-in and standby set that names a blocked version.
    pub fn leave_out_blocked(&mut self) {
        let blocked: Vec<VersionId> = self.blocked.iter().map(|blocked| blocked.version).collect();
        let names = |arms: &[Arm]| arms.iter().any(|arm| blocked.contains(&arm.version));
        self.rules.retain(|rule| !names(&rule.arms));
        self.shadows.retain(|shadow| !blocked.contains(&shadow.version));
        self.fallback.versions.retain(|version| !blocked.contains(version));
        if names(&self.standby) {
            self.standby.clear();
        }
    }

    /// Whether no change may send requests to this version.
    pub fn blocks(&self, version: VersionId) -> Option<&Blocked> {
        self.blocked.iter().find(|blocked| blocked.version == version)
    }

    /// The versions that answer somebody who names none, each once.
    pub fn answering(&self) -> Vec<VersionId> {
        let arms = self.arms.iter();
        let arms = arms.chain(self.rules.iter().flat_map(|rule| &rule.arms));
        let arms = arms.chain(self.trials.iter().flat_map(|trial| &trial.arms));
        let mut all: Vec<_> = arms.filter(|arm| arm.share_ppm > 0).map(|arm| arm.version).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// These, those that stand in for them, and those that are asked besides or may be switched to,
    /// each once.
    pub fn serving(&self) -> Vec<VersionId> {
        let mut all = self.answering();
        let standby = self.standby.iter().filter(|arm| arm.share_ppm > 0);
        all.extend(standby.map(|arm| arm.version));
        all.extend(self.shadows.iter().map(|shadow| shadow.version));
        all.extend(&self.fallback.versions);
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// How units are hashed into buckets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HashKind {
    /// The first 8 bytes of SHA-256(`salt:unit`), big-endian, modulo 1,000,000.
    #[default]
    Sha256,
    /// FNV-1a twice, as GrowthBook's SDKs do it (hash version 2): steps of 1/10,000.
    GrowthbookV2,
}

/// What kind of change made a route what it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A person put it.
    #[default]
    Put,
    /// The model got its first version.
    First,
    /// A person rolled back, or a rollout did by itself.
    Rollback,
    /// The two sets of a blue-green pair changed places.
    Switch,
    /// A rollout moved on, or ended.
    Rollout,
    /// An experiment began, changed its weights or ended.
    Experiment,
    /// A person cleared a blocked version.
    Clear,
}

/// A version with its share of the units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Arm {
    /// The version that answers.
    pub version: VersionId,
    /// Its share in buckets (parts per million); the arms of a route sum to 1,000,000.
    pub share_ppm: u32,
    /// Its weight as it was asked for, in whatever unit the request used.
    pub weight: f64,
}

/// A run of buckets `[start, end)` that belongs to one arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Segment {
    /// First bucket.
    pub start: u32,
    /// One past the last bucket.
    pub end: u32,
    /// The arm's version.
    pub version: VersionId,
}

/// A running experiment, as far as a request needs to know it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Trial {
    /// The experiment.
    pub experiment: PlanId,
    /// The units it takes: those whose bucket under the layer's salt is within.
    pub slice: Slice,
    /// And who meets all of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Condition>,
    /// What it assigns: a request without a unit is in no experiment that assigns units.
    #[serde(default)]
    pub unit: UnitKind,
    /// The experiment's own salt, which its layer does not share.
    pub salt: String,
    /// How units are hashed.
    #[serde(default)]
    pub hash: HashKind,
    /// Whether a unit keeps its first arm although weights change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// The versions under trial, each with its share.
    pub arms: Vec<Arm>,
    /// Which buckets belong to which arm.
    pub segments: Vec<Segment>,
    /// Counts the changes of its weights, from 1.
    pub epoch: u32,
    /// Whether the weights are an experiment's chances for each decision, to be logged in full.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bandit: bool,
}

/// A run of a layer's buckets `[start, end)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Slice {
    /// The layer's name.
    pub layer: String,
    /// The layer's salt.
    pub salt: String,
    /// First bucket.
    pub start: u32,
    /// One past the last bucket.
    pub end: u32,
}

/// A version that is asked after the answer, for comparison only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// The version.
    pub version: VersionId,
    /// The share of the requests that it is asked, 0 to 1.
    pub share: f64,
}

/// A version that was found bad.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Blocked {
    /// Which.
    pub version: VersionId,
    /// Why.
    pub reason: String,
    /// Who says so (user name, or the rollout).
    pub by: String,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}
