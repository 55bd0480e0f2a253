//! An experiment: versions compared on what comes of them, by evidence that may be looked at any
//! time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::plan::PlanId;
use crate::route::{Arm, HashKind, Segment, Slice};
use crate::targeting::Condition;
use crate::{ModelName, VersionId};

/// An experiment with all that is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Experiment {
    /// Its id.
    pub id: PlanId,
    /// Its name, of which there is one.
    pub name: String,
    /// The model whose versions are compared.
    pub model: ModelName,
    /// What is believed, and why, in a sentence or two.
    pub hypothesis: String,
    /// How it was planned. Fixed once it runs, but for the weights.
    pub design: Design,
    /// Where it stands.
    pub state: ExperimentState,
    /// The units it takes.
    pub slice: Slice,
    /// Hashed with the unit to choose the arm; made once.
    pub salt: String,
    /// The arms as they are now.
    pub arms: Vec<Arm>,
    /// Which buckets belong to which arm now.
    pub segments: Vec<Segment>,
    /// Its weights over time, oldest first; the last one is in force.
    pub epochs: Vec<Epoch>,
    /// What became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The report as it was now and then, oldest first: the chart. Thinned out as it grows.
    #[serde(default)]
    pub looks: Vec<Look>,
    /// The least always-valid p-value seen so far of each comparison, by `metric/version`, and of
    /// the sample ratio, by `sample_ratio`.
    #[serde(default)]
    pub least_p: BTreeMap<String, f64>,
    /// Its advice when it was last looked at: who waits for it is told when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<Advice>,
    /// Who made it (user name).
    pub created_by: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it first ran.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<OffsetDateTime>,
    /// Counts the changes; refused unless one more than in the store.
    pub revision: u32,
}

/// Where an experiment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExperimentState {
    /// Planned; no unit is in it.
    Draft,
    /// Units are assigned.
    Running,
    /// No unit is assigned for now; those it had get the route's arms.
    Paused,
    /// A person took its advice, or another choice: it is over.
    Decided,
    /// It was broken off.
    Stopped,
}

impl ExperimentState {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Decided => "decided",
            Self::Stopped => "stopped",
        }
    }

    /// Whether something is still to come of it.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Draft | Self::Running | Self::Paused)
    }
}

/// The advice an experiment gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    /// Give everybody the version.
    Ship,
    /// Go back to the control.
    RollBack,
    /// Wait for more.
    KeepGoing,
    /// There is no difference worth having: keep what is cheaper.
    NoDifference,
    /// Time is up without an answer: keep the control.
    Inconclusive,
    /// The data cannot be trusted: find out why first.
    Invalid,
}

impl Advice {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ship => "ship",
            Self::RollBack => "roll_back",
            Self::KeepGoing => "keep_going",
            Self::NoDifference => "no_difference",
            Self::Inconclusive => "inconclusive",
            Self::Invalid => "invalid",
        }
    }
}

/// How an experiment is planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Design {
    /// The versions with their weights, in any unit: only the ratio counts.
    pub arms: Vec<PlannedArm>,
    /// The version the others are compared with.
    pub control: VersionId,
    /// What is assigned.
    #[serde(default)]
    pub unit: UnitKind,
    /// Who may be in it at all; all of these have to hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Condition>,
    /// How units are hashed.
    #[serde(default)]
    pub hash: HashKind,
    /// Whether a unit keeps its first arm although weights change.
    #[serde(default)]
    pub strict: bool,
    /// What it is judged by.
    pub primary: Metric,
    /// What is looked at, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secondary: Vec<Metric>,
    /// What must not get worse.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guardrails: Vec<GuardrailMetric>,
    /// Level of the two-sided confidence sequences: the chance of a false claim, however often one
    /// looks.
    #[serde(default = "five_percent")]
    pub alpha: f64,
    /// The smallest difference of the primary metric worth having, in its own unit.
    pub minimum_effect: f64,
    /// Units at which the confidence sequence is to be tightest.
    #[serde(default = "planned_units")]
    pub planned_units: u64,
    /// Units that each arm needs before anything is recommended but to roll back.
    #[serde(default = "minimum_units")]
    pub minimum_units: u64,
    /// How long it runs at least before shipping is recommended, seconds (a full cycle of the week).
    #[serde(default = "one_week")]
    pub minimum_runtime_s: u64,
    /// How long it runs at most, seconds.
    #[serde(default = "four_weeks")]
    pub maximum_runtime_s: u64,
    /// How long after a prediction its outcome is waited for, seconds: one without any counts as a
    /// failure, or as missing, only then.
    #[serde(default)]
    pub outcome_window_s: u64,
    /// Whether the control's own prediction for the same input lessens the variance (CUPED). Needs a
    /// shadow of the control.
    #[serde(default)]
    pub cuped: bool,
    /// How weights are set.
    #[serde(default)]
    pub allocation: Allocation,
}

fn five_percent() -> f64 {
    0.05
}

fn planned_units() -> u64 {
    5000
}

fn minimum_units() -> u64 {
    100
}

fn one_week() -> u64 {
    7 * 24 * 3600
}

fn four_weeks() -> u64 {
    4 * one_week()
}

/// A version with its weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlannedArm {
    /// The version.
    pub version: VersionId,
    /// Its weight.
    pub weight: f64,
}

/// What is assigned to an arm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnitKind {
    /// The request's `unit`; a request without one is not in the experiment.
    #[default]
    Unit,
    /// Each request by itself, whoever asks.
    Request,
}

/// A number that is known of each unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Names it, within the experiment.
    pub name: String,
    /// What each request gives.
    pub of: Measure,
    /// What a unit's requests make together.
    #[serde(default)]
    pub per_unit: PerUnit,
    /// Which way is better.
    #[serde(default)]
    pub better: Better,
}

impl Metric {
    /// What its values are counted in, where the measure tells; `None` where only feedback knows.
    pub fn unit(&self) -> Option<&'static str> {
        match (&self.of, self.per_unit) {
            (Measure::Latency, _) => Some("ms"),
            (Measure::Confidence, PerUnit::Mean | PerUnit::Max) => Some("probability"),
            (of, PerUnit::Mean) if of.is_yes_or_no() => Some("share of requests"),
            (of, PerUnit::Sum) if of.is_yes_or_no() => Some("requests"),
            (of, PerUnit::Max) if of.is_yes_or_no() => Some("share of units"),
            _ => None,
        }
    }
}

/// What is measured of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "measure", rename_all = "snake_case", deny_unknown_fields)]
pub enum Measure {
    /// 1 if the version failed to answer, else 0. Known at once.
    Error,
    /// From the router's first sight of the request to the answer, milliseconds. Known at once.
    Latency,
    /// 1 if the answer took longer, else 0. Known at once.
    Slow {
        /// Milliseconds.
        over_ms: f64,
    },
    /// The first row's highest class probability. Known at once.
    Confidence,
    /// 1 if the confidence is lower, else 0. Known at once.
    LowConfidence {
        /// 0 to 1.
        below: f64,
    },
    /// 1 if something else had to answer, else 0. Known at once.
    Degraded,
    /// 1 if the predicted label is the true one, else 0. From feedback.
    Accuracy,
    /// The square of the predicted value less the true one. From feedback.
    SquaredError,
    /// How far the predicted value is from the true one. From feedback.
    AbsoluteError,
    /// 1 if the outcome's label is this, else 0. From feedback.
    LabelIs {
        /// The label.
        label: String,
    },
    /// The outcome's value. From feedback.
    Value,
    /// A metric by its name in feedback. From feedback.
    Named {
        /// The name.
        metric: String,
        /// What a request counts as whose window passed without it; absent for not at all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        missing: Option<f64>,
    },
}

impl Measure {
    /// Whether it is learned from feedback, and not known at once.
    pub fn is_from_feedback(&self) -> bool {
        matches!(
            self,
            Self::Accuracy
                | Self::SquaredError
                | Self::AbsoluteError
                | Self::LabelIs { .. }
                | Self::Value
                | Self::Named { .. }
        )
    }

    /// Whether each request gives 0 or 1.
    pub fn is_yes_or_no(&self) -> bool {
        matches!(
            self,
            Self::Error
                | Self::Slow { .. }
                | Self::LowConfidence { .. }
                | Self::Degraded
                | Self::Accuracy
                | Self::LabelIs { .. }
        )
    }
}

/// What a unit's requests make together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PerUnit {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// The largest: of truth values, whether any was true.
    Max,
}

/// Which way is better.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// More is better.
    #[default]
    Higher,
    /// Less is better.
    Lower,
}

/// A metric that must not get worse by more than a margin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GuardrailMetric {
    /// The metric.
    pub metric: Metric,
    /// How much worse is still good enough, in the metric's own unit, 0 or more.
    #[serde(default)]
    pub margin: f64,
}

impl Design {
    /// All its metrics: the primary, the secondary ones, those of guardrails.
    pub fn metrics(&self) -> impl Iterator<Item = &Metric> {
        let guardrails = self.guardrails.iter().map(|guardrail| &guardrail.metric);
        std::iter::once(&self.primary).chain(&self.secondary).chain(guardrails)
    }
}

/// How weights are set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum Allocation {
    /// As planned, or as a person changes them.
    #[default]
    Fixed,
    /// By Thompson sampling, epoch by epoch.
    Bandit {
        /// Length of an epoch, seconds.
        #[serde(default = "five_minutes")]
        epoch_s: u64,
        /// Outcomes that each arm needs, at the planned weights, before the first change.
        #[serde(default = "first_outcomes")]
        minimum_outcomes: u64,
        /// The least chance of each arm.
        #[serde(default = "five_percent")]
        floor: f64,
        /// Whether the best two share, which finds the best sooner and earns less. For 3 arms or
        /// more.
        #[serde(default)]
        top_two: bool,
        /// What is left of older evidence after each epoch, above 0 to 1; 1 forgets nothing.
        #[serde(default = "one")]
        discount: f64,
    },
}

fn five_minutes() -> u64 {
    300
}

fn first_outcomes() -> u64 {
    100
}

fn one() -> f64 {
    1.0
}

/// A time in which the weights stood still.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Epoch {
    /// Counts from 1.
    pub number: u32,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub from: OffsetDateTime,
    /// The arms' shares.
    pub arms: Vec<Arm>,
    /// Who, or what, set them.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What became of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    /// The version that answers everybody from then on; none where the route was left alone.
    pub version: Option<VersionId>,
    /// Who decided (user name).
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// The primary metric as it was at one moment, for the chart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Look {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Units in all arms.
    pub units: u64,
    /// Each version's difference to the control.
    pub arms: Vec<LookArm>,
}

/// One version's difference to the control at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LookArm {
    /// The version.
    pub version: VersionId,
    /// Its mean less the control's, in the metric's own unit.
    pub difference: f64,
    /// Lower end of the confidence sequence.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}
