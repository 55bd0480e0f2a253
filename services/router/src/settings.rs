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
    pub replicas: ReplicaSettings,
    pub cache: CacheSettings,
    pub policies: PolicySettings,
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
        if self.spool.dir.as_os_str().is_empty() {
            self.spool.dir = data_dir.join("spool");
        }
    }
}
