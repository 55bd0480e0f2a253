//! `[router]`: see `settings.default.toml`, which says what each is.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use runtime::settings::List;
use serde::Deserialize;

/// The commented defaults.
pub const DEFAULTS: &str = include_str!("settings.default.toml");

/// The setting that opens more than the public internet to webhooks.
pub const OUTBOUND: &str = "router.outbound.allow";

/// `[router]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file says it")]
pub struct Settings {
    pub poll_interval_s: u64,
    pub push_timeout_ms: u64,
    pub load_timeout_s: u64,
    pub show_version: bool,
    pub max_unit_bytes: usize,
    pub max_arms: usize,
    pub saved_table: PathBuf,
    pub pending: PathBuf,
    pub stable_after_s: u64,
    pub max_history: u32,
    pub replicas: ReplicaSettings,
    pub routes: RouteSettings,
    pub fallback: FallbackSettings,
    pub sticky: StickySettings,
    pub cache: CacheSettings,
    pub policies: PolicySettings,
    pub plans: PlanSettings,
    pub shadows: ShadowSettings,
    pub experiments: ExperimentSettings,
    pub rollback: RollbackSettings,
    pub rollouts: RolloutSettings,
    pub events: EventSettings,
    pub outbound: OutboundSettings,
    pub spool: SpoolSettings,
}

/// `[router.replicas]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicaSettings {
    pub resolve_interval_s: u64,
    pub survey_interval_ms: u64,
    pub survey_timeout_ms: u64,
    pub hedge_after_ms: u64,
    pub retry_ratio: f64,
    pub retry_reserve: u32,
    pub breaker_failures: u32,
    pub breaker_cool_down_ms: u64,
}

/// `[router.routes]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    pub max_rules: usize,
    pub max_conditions: usize,
    pub max_values: usize,
    pub max_audiences: usize,
    pub max_audience_units: usize,
    pub max_text_bytes: usize,
    pub max_shadows: usize,
    pub max_fallbacks: usize,
    pub max_default_bytes: usize,
}

/// `[router.fallback]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FallbackSettings {
    pub reserve_ms: u64,
    pub last_good_ttl_s: u64,
}

/// `[router.sticky]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StickySettings {
    pub ttl_s: u64,
}

/// `[router.cache]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheSettings {
    pub timeout_ms: u64,
    pub rest_ms: u64,
    pub max_input_bytes: usize,
    pub max_answer_bytes: usize,
}

/// `[router.policies]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySettings {
    pub max_ttl_s: u32,
    pub max_patterns: usize,
}

/// `[router.plans]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanSettings {
    pub tick_ms: u64,
    pub lease_ms: u64,
    pub flush_ms: u64,
    pub max_waiting_batches: usize,
    pub keep_counts_s: u64,
}

/// `[router.rollouts]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutSettings {
    pub max_steps: usize,
    pub max_guardrails: usize,
    pub max_gates: usize,
    pub max_feedback_s: u64,
    pub settled_s: u64,
    pub max_units: usize,
    pub max_counted_units: usize,
    pub silent_flushes: u32,
    pub silence_limit_s: u64,
    pub gate_timeout_ms: u64,
    pub gate_interval_ms: u64,
    pub baseline_least_records: usize,
    pub baseline_most_records: u32,
}

/// `[router.events]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file says it")]
pub struct EventSettings {
    pub queue: usize,
    pub keep_days: u32,
    pub max_webhooks: usize,
    pub attempts: u32,
    pub first_delay_ms: u64,
    pub factor: f64,
    pub max_delay_s: u64,
    pub jitter: f64,
    pub timeout_ms: u64,
    pub max_answer_bytes: usize,
    pub concurrency: u32,
    pub poll_interval_ms: u64,
    pub lease_s: u64,
}

/// `[router.outbound]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboundSettings {
    pub allow: List<String>,
}

/// `[router.shadows]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowSettings {
    pub max_waiting: usize,
    pub max_concurrent: usize,
    pub timeout_ms: u64,
    pub tolerance: f64,
    pub max_reported: u32,
    pub worst: usize,
}

/// `[router.experiments]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentSettings {
    pub look_s: u64,
    pub max_looks: usize,
    pub page: u32,
    pub max_covariates: u32,
    pub least_move: f64,
    pub turn_ms: u64,
    pub max_open: usize,
    pub max_arms: usize,
    pub max_metrics: usize,
    pub max_characters: usize,
    pub max_runtime_s: u64,
    pub min_epoch_s: u64,
}

/// `[router.rollback]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackSettings {
    pub repeat_s: u64,
    pub store_timeout_ms: u64,
    pub retry_ms: u64,
    pub history: u32,
    pub max_reason_bytes: usize,
}

/// `[router.spool]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpoolSettings {
    pub dir: PathBuf,
    pub max_bytes: u64,
    pub segment_bytes: u64,
    pub batch: NonZeroUsize,
    pub interval_ms: u64,
    pub max_logged_body_bytes: usize,
}

impl Settings {
    /// Fills in what is empty with places in the data folder.
    pub fn resolve(&mut self, data_dir: &Path) {
        if self.saved_table.as_os_str().is_empty() {
            self.saved_table = data_dir.join("router").join("table.json");
        }
        if self.pending.as_os_str().is_empty() {
            self.pending = data_dir.join("router").join("pending.json");
        }
        if self.spool.dir.as_os_str().is_empty() {
            self.spool.dir = data_dir.join("spool");
        }
    }
}

#[cfg(test)]
impl RolloutSettings {
    /// The defaults.
    pub(crate) fn for_tests() -> Self {
        let all: toml::Table = toml::from_str(DEFAULTS).unwrap();
        all["router"]["rollouts"].clone().try_into().unwrap()
    }
}
