//! A rollout: a new version gets more of the traffic step by step, as far as the evidence allows,
//! and none at once when it does harm.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::plan::PlanId;
use crate::{ModelName, VersionId};

/// A rollout with all that is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rollout {
    /// Its id.
    pub id: PlanId,
    /// The model.
    pub model: ModelName,
    /// The version that is on trial.
    pub canary: VersionId,
    /// The version that it is compared with, and that gets everything back.
    pub baseline: VersionId,
    /// How it goes.
    pub plan: RolloutPlan,
    /// Where it stands.
    pub state: RolloutState,
    /// The step it is at, from 0.
    pub step: u32,
    /// When the step began.
    #[serde(with = "time::serde::rfc3339")]
    pub step_since: OffsetDateTime,
    /// The evidence so far: one for each guardrail of the plan, as the router keeps it.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    #[schema(value_type = Object)]
    pub evidence: serde_json::Value,
    /// What it does, or waits for, in a sentence.
    pub status: String,
    /// The steps so far, oldest first.
    #[serde(default)]
    pub moves: Vec<Move>,
    /// Who approved the step that comes next, where one has to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// Who made it (user name).
    pub created_by: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it ended.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<OffsetDateTime>,
    /// Counts the changes; refused unless one more than in the store.
    pub revision: u32,
}

/// Where a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolloutState {
    /// At a step, judged as evidence comes in.
    Running,
    /// At a step until a person resumes it; guardrails still roll it back.
    Paused,
    /// Everything goes to the new version.
    Promoted,
    /// Everything went back, and the version is blocked.
    RolledBack,
    /// A person broke it off: everything went back, nothing is blocked.
    Aborted,
    /// Somebody changed the route by other means.
    Superseded,
}

/// What a route says of the rollout that sets its weights: all that routers need to count for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Ramp {
    /// The rollout.
    pub id: PlanId,
    /// The step in force, from 0.
    pub step: u32,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub since: OffsetDateTime,
    /// The version on trial.
    pub canary: VersionId,
    /// The version it is compared with.
    pub baseline: VersionId,
    /// What counts as a bad event, in the order of the counts.
    pub guardrails: Vec<Guardrail>,
    /// Requests of the canary at this step whose latency is not judged.
    pub warm_up_requests: u64,
    /// Seconds of this step in which latency is not judged.
    pub warm_up_s: u64,
}

impl fmt::Display for Ramp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

impl RolloutState {
    /// Whether something is still to come of it.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// How a rollout goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RolloutPlan {
    /// The canary's share at each step, above 0 to 1, growing. The last step is 1.
    pub steps: Vec<f64>,
    /// The share of all traffic that may, with confidence, come to harm at the next step, 0 to 1.
    pub harm_budget: f64,
    /// The chance that a release no worse than the baseline is rolled back, however long it is
    /// watched; shared out among the guardrails.
    pub alpha: f64,
    /// The ratio of the rates of bad events up to which harm is tolerated, 1 or more.
    pub tolerated_ratio: f64,
    /// The excess of the rate of bad events below which nothing is rolled back, 0 to 1.
    pub minimum_excess: f64,
    /// What counts as a bad event.
    pub guardrails: Vec<Guardrail>,
    /// How long a step lasts at least, seconds.
    pub minimum_step_s: u64,
    /// Requests of the canary at each step whose latency is not judged: it is still cold.
    pub warm_up_requests: u64,
    /// Seconds at each step in which latency is not judged.
    pub warm_up_s: u64,
    /// How long a step may last before people are told that it goes no further, seconds.
    pub step_timeout_s: u64,
    /// The steps before which a person has to approve: shares as in `steps`.
    pub approve: Vec<f64>,
    /// Asked before each step; the rollout waits while one says no.
    pub gates: Vec<Gate>,
}

impl Default for RolloutPlan {
    fn default() -> Self {
        Self {
            steps: vec![0.01, 0.05, 0.25, 0.5, 1.0],
            harm_budget: 0.005,
            alpha: 0.01,
            tolerated_ratio: 1.0,
            minimum_excess: 0.001,
            guardrails: vec![Guardrail::Errors {}],
            minimum_step_s: 300,
            warm_up_requests: 100,
            warm_up_s: 30,
            step_timeout_s: 24 * 3600,
            approve: Vec::new(),
            gates: Vec::new(),
        }
    }
}

/// What counts as a bad event of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "guardrail", rename_all = "snake_case", deny_unknown_fields)]
pub enum Guardrail {
    /// The version failed to answer: a fault of its own or a time-out, not of the request.
    // With braces, as serde lets unknown members of others pass.
    Errors {},
    /// The answer took longer.
    Slow {
        /// Milliseconds. Left out: the baseline's 99th percentile over the hour before the start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        over_ms: Option<f64>,
    },
    /// The confidence is lower.
    LowConfidence {
        /// 0 to 1.
        below: f64,
    },
    /// Something else had to answer, or nothing did.
    Degraded {},
    /// A rule of the output found something.
    OutputRule {},
    /// Feedback gave this metric a value of `at_most` or less.
    Feedback {
        /// The metric's name in feedback, or `value`.
        metric: String,
        /// A value up to which it is bad.
        at_most: f64,
        /// Seconds from the prediction within which feedback has to come. Each prediction is judged
        /// once, when they have passed, if it has feedback.
        #[serde(default = "feedback_within_s")]
        within_s: u64,
    },
}

fn feedback_within_s() -> u64 {
    300
}

impl Guardrail {
    /// Its name in reports and metrics.
    pub fn name(&self) -> String {
        match self {
            Self::Errors {} => "errors".to_owned(),
            Self::Slow { .. } => "slow".to_owned(),
            Self::LowConfidence { .. } => "low_confidence".to_owned(),
            Self::Degraded {} => "degraded".to_owned(),
            Self::OutputRule {} => "output_rule".to_owned(),
            Self::Feedback { metric, .. } => format!("feedback:{metric}"),
        }
    }
}

/// A webhook that is asked before a step: 2xx with `{"pass": true}` lets it go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Names it.
    pub name: String,
    /// Asked by `POST`.
    pub url: String,
}

/// A step that was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Move {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The canary's share from then on, 0 to 1.
    pub share: f64,
    /// Generation of the route that brought it.
    pub generation: u64,
    /// Who, or the rollout itself.
    pub by: String,
    /// Why, in a sentence with the figures.
    pub reason: String,
}
