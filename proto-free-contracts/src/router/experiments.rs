//! Experiments, the layers they share, and what they report.

pub use domain::experiment::Advice;
use domain::experiment::{Design, Epoch, Experiment, ExperimentState, Look, PlannedArm, Verdict};
use domain::layer::Layer;
use domain::{ModelName, PlanId, VersionId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// An experiment to be planned.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewExperiment {
    /// Its name, of which there is one.
    pub name: String,
    /// The model whose versions are compared.
    pub model: ModelName,
    /// What is believed, and why.
    pub hypothesis: String,
    /// The layer; left out: one of the model's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// The share of the layer's units that it takes, above 0 to 1. The first room that is free.
    #[serde(default = "whole")]
    pub traffic: f64,
    /// How it is planned.
    #[serde(flatten)]
    pub design: Design,
}

fn whole() -> f64 {
    1.0
}

/// Which experiments.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ExperimentQuery {
    /// Only those of this model.
    pub model: Option<ModelName>,
    /// Only those in this state.
    pub state: Option<ExperimentState>,
}

/// Experiments, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExperimentList {
    /// Each with all that is known of it.
    pub experiments: Vec<Experiment>,
}

/// What is to be done with an experiment.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ActOnExperiment {
    /// Which.
    pub id: PlanId,
    /// What.
    pub action: ExperimentAction,
}

/// What can be done with an experiment.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum ExperimentAction {
    /// Assigns units from now on.
    Start,
    /// Assigns none for now.
    Pause,
    /// Assigns units again.
    Resume,
    /// Sets other weights: a new epoch begins.
    Weights {
        /// The arms, the same as before.
        arms: Vec<PlannedArm>,
        /// Why.
        reason: String,
    },
    /// Ends it, and gives the route's own arms to this version; the control if left out.
    Promote {
        /// The version.
        version: Option<VersionId>,
        /// Why.
        reason: String,
    },
    /// Breaks it off; the route's arms answer again.
    Abort {
        /// Why.
        reason: String,
    },
}

/// What an experiment says now. Valid however often one looks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// The experiment.
    pub experiment: PlanId,
    /// Its name.
    pub name: String,
    /// The model whose versions are compared.
    pub model: ModelName,
    /// What is believed, and why.
    pub hypothesis: String,
    /// Where it stands.
    pub state: ExperimentState,
    /// What a person decided, once it has ended: it may differ from the recommendation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// When it first ran.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<OffsetDateTime>,
    /// Its weights over time, oldest first; the last one is in force.
    pub epochs: Vec<Epoch>,
    /// When this was computed.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Requests, units and outcomes of each arm.
    pub arms: Vec<ArmReport>,
    /// Each metric: the primary first, then the secondary ones, then guardrails.
    pub metrics: Vec<MetricReport>,
    /// Whether units fell to the arms as the weights say.
    pub sample_ratio: SampleRatio,
    /// How far it is.
    pub power: Power,
    /// What to do; of an experiment that has ended: what the evidence said.
    pub recommendation: Recommendation,
    /// The primary metric over time.
    pub looks: Vec<Look>,
    /// What should be known when reading it, such as feedback that named unknown predictions.
    pub notes: Vec<String>,
}

/// What an arm's requests came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ArmReport {
    /// The version.
    pub version: VersionId,
    /// Whether it is the control.
    pub control: bool,
    /// Its share now, 0 to 1.
    pub share: f64,
    /// Units that were assigned to it.
    pub units: u64,
    /// Their requests.
    pub requests: u64,
    /// Requests for which an outcome is known.
    pub outcomes: u64,
    /// Of a bandit: the chance that the version is the best, by what is known so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chance_best: Option<f64>,
}

/// What a metric's role is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MetricRole {
    /// The experiment is judged by it.
    Primary,
    /// It is looked at, too.
    Secondary,
    /// It must not get worse.
    Guardrail,
}

/// A metric in all arms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MetricReport {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: MetricRole,
    /// What its values are counted in, where the measure tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Each arm's mean.
    pub arms: Vec<ArmMean>,
    /// Each version compared with the control.
    pub comparisons: Vec<Comparison>,
}

/// A metric's mean in one arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ArmMean {
    /// The version.
    pub version: VersionId,
    /// Units with a value.
    pub units: u64,
    /// Mean over units, in the metric's own unit. Where weights changed: the mean of what it was
    /// between the changes, by how many units of all arms there were.
    pub mean: Option<f64>,
    /// Lower end of its confidence sequence.
    pub lower: Option<f64>,
    /// Upper end.
    pub upper: Option<f64>,
}

/// A version compared with the control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Comparison {
    /// The version.
    pub version: VersionId,
    /// Its mean less the control's.
    pub difference: Option<f64>,
    /// Standard error of the difference, the safe form.
    pub standard_error: Option<f64>,
    /// Lower end of the always-valid confidence sequence of the difference. Of a guardrail: the
    /// one-sided bound, at the level corrected for the number of guardrails and versions.
    pub lower: Option<f64>,
    /// Upper end.
    pub upper: Option<f64>,
    /// The difference as a share of the control's mean, where that is well away from zero.
    pub lift: Option<f64>,
    /// The always-valid p-value: the least so far.
    pub p_value: Option<f64>,
    /// The same, corrected for the number of comparisons (Holm over arms and success metrics;
    /// Bonferroni over guardrails).
    pub p_corrected: Option<f64>,
    /// Of a guardrail: whether it is held.
    pub guardrail: Option<GuardrailState>,
    /// The share of the variance that CUPED took away, where it was used.
    pub variance_saved: Option<f64>,
}

/// Whether a guardrail is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuardrailState {
    /// It is not worse by more than the margin.
    Passed,
    /// It is worse by more than the margin.
    Lost,
    /// That cannot be said yet.
    NotYet,
}

/// Whether units fell to the arms as the weights say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SampleRatio {
    /// Units expected of each arm, in the order of the arms.
    pub expected: Vec<f64>,
    /// Units seen.
    pub observed: Vec<u64>,
    /// The sequential p-value: the least so far.
    pub p_value: f64,
    /// Units that were seen in more than one arm, although no change of weights explains it.
    pub in_several_arms: u64,
    /// Whether the split cannot be trusted: p below 0.001, or more than 1 % of the units in several
    /// arms.
    pub mismatch: bool,
}

/// How far an experiment is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Power {
    /// The least difference of the primary metric worth having, in its own unit.
    pub effect: f64,
    /// Units in all arms that are needed, by estimate, to find this effect with 80 % power.
    pub units_needed: Option<u64>,
    /// Units with a value of the primary metric so far.
    pub units: u64,
    /// Such units a day, over the time so far; absent in the first hour, which tells little of a day.
    pub units_per_day: Option<f64>,
    /// Days left at that rate; 0 when it is far enough.
    pub days_left: Option<f64>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Recommendation {
    /// The advice.
    pub action: Advice,
    /// The version it concerns.
    pub version: Option<VersionId>,
    /// Why, in one sentence that a person can repeat.
    pub reason: String,
}

/// A layer to be made, or changed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLayer {
    /// Its name.
    pub name: String,
    /// The share of the units that no experiment may have, 0 to below 1.
    #[serde(default)]
    pub holdout: f64,
}

/// Layers by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LayerList {
    /// Each with who holds what of it.
    pub layers: Vec<LayerView>,
}

/// A layer and who holds what of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LayerView {
    /// The layer.
    #[serde(flatten)]
    pub layer: Layer,
    /// The runs that experiments hold.
    pub held: Vec<HeldSlice>,
}

/// A run of buckets that an experiment holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldSlice {
    /// The experiment.
    pub experiment: PlanId,
    /// First bucket.
    pub start: u32,
    /// One past the last bucket.
    pub end: u32,
}

/// What would have been, had another policy chosen.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WhatIf {
    /// The experiment whose log is used.
    pub experiment: PlanId,
    /// The policy: versions with their weights; one version alone for "what would it have earned?".
    pub policy: Vec<PlannedArm>,
}

/// What another policy would have earned, by estimate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhatIfAnswer {
    /// The primary metric that was earned.
    pub earned: Option<f64>,
    /// Inverse propensity scoring. Absent, as the others, where no verdict is given.
    pub ips: Option<Estimate>,
    /// Its self-normalised form: the one to use.
    pub snips: Option<Estimate>,
    /// Doubly robust, with each version's mean as the model.
    pub doubly_robust: Option<Estimate>,
    /// Decisions that were used.
    pub decisions: u64,
    /// The number of decisions, drawn by the policy itself, that would tell as much.
    pub effective_sample_size: f64,
    /// The largest weight of a decision.
    pub largest_weight: f64,
    /// Why no verdict is given, where none is.
    pub refused: Option<String>,
}

/// A value with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Lower end of its 95 % interval.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}
