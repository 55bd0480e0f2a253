//! Rollouts.

use domain::rollout::{Rollout, RolloutPlan};
use domain::{ModelName, PlanId, VersionId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A rollout to be begun.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRollout {
    /// The model.
    pub model: ModelName,
    /// The version that is to get everything in the end.
    pub canary: VersionId,
    /// The version that it is compared with; left out: the one that has everything now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<VersionId>,
    /// How it goes; what is left out is as the defaults are.
    #[serde(default)]
    pub plan: RolloutPlan,
    /// Why; kept in the history.
    #[serde(default)]
    pub reason: String,
}

/// Which rollouts.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RolloutQuery {
    /// Only those of this model.
    pub model: Option<ModelName>,
    /// Only those that are still open.
    pub open: bool,
}

/// Rollouts, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutList {
    /// Each with its evidence.
    pub rollouts: Vec<RolloutView>,
}

/// A rollout with its evidence made readable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutView {
    /// The rollout.
    #[serde(flatten)]
    pub rollout: Rollout,
    /// Requests of the canary since it began.
    pub canary_requests: u64,
    /// Requests of the baseline since then.
    pub baseline_requests: u64,
    /// Each guardrail as it stands.
    pub guardrails: Vec<GuardrailView>,
}

/// A guardrail as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GuardrailView {
    /// Its name.
    pub name: String,
    /// Requests of the canary that were judged.
    pub canary_requests: u64,
    /// Bad events among them.
    pub canary_bad: u64,
    /// Requests of the baseline that were judged at the same time.
    pub baseline_requests: u64,
    /// Bad events among them.
    pub baseline_bad: u64,
    /// Lower end of the confidence sequence of the ratio of the rates.
    pub ratio_lower: Option<f64>,
    /// Upper end.
    pub ratio_upper: Option<f64>,
    /// The share of all traffic that would come to harm at the next step at most, with confidence.
    pub harm_at_next_step: Option<f64>,
}

/// What is to be done with a rollout.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ActOnRollout {
    /// Which.
    pub id: PlanId,
    /// What.
    pub action: RolloutAction,
}

/// What a person can do with a rollout, at every point.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum RolloutAction {
    /// Stays at its step until resumed; guardrails still roll it back.
    Pause {
        /// Why.
        reason: String,
    },
    /// Goes on.
    Resume,
    /// Gives the canary everything now.
    Promote {
        /// Why.
        reason: String,
    },
    /// Lets the next step that waits for a person begin.
    Approve,
    /// Breaks it off: everything goes back, nothing is blocked.
    Abort {
        /// Why.
        reason: String,
    },
}
