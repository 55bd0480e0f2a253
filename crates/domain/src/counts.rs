//! What routers counted of the versions under trial, batch by batch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::VersionId;
use crate::plan::PlanId;

/// What one router counted for one rollout in one run of a second or so. Never changed, counted once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CountBatch {
    /// Names it, so that a batch sent twice is one: the router's id and a number that counts up.
    pub id: String,
    /// What it was counted for.
    pub plan: PlanId,
    /// The step that was in force: later ones pass over it.
    pub step: u32,
    /// When it was closed.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// By version.
    pub arms: BTreeMap<VersionId, ArmCounts>,
}

/// What one version's requests came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ArmCounts {
    /// Requests.
    pub requests: u64,
    /// Requests that came to no judgement: refused as the client's fault, or broken off by it. They are
    /// not among `requests`.
    #[serde(default, skip_serializing_if = "is_none")]
    pub unanswered: u64,
    /// Sum of the latencies of those that were computed, microseconds.
    pub latency_us: u64,
    /// Bad events of each guardrail, by its place in the plan.
    pub bad: Vec<u64>,
    /// Requests that each guardrail judged: none that had a kept answer; latency skips the cold ones.
    pub judged: Vec<u64>,
    /// Of each guardrail: bad events by unit (the first 8 bytes of its SHA-256), for units that are
    /// assigned as such.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bad_units: Vec<BTreeMap<u64, u32>>,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}
