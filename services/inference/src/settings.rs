//! `[inference]`: see `settings.default.toml`, which says what each is.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::thread;

use serde::Deserialize;

use crate::InferenceError;

/// The commented defaults.
pub const DEFAULTS: &str = include_str!("settings.default.toml");

/// `[inference]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file says it")]
pub struct Settings {
    pub onnxruntime: PathBuf,
    pub memory_limit_mb: u64,
    pub sessions_per_version: usize,
    pub workers: usize,
    pub queue_limit: usize,
    pub max_batch_rows: usize,
    pub inline_budget_us: u64,
    pub idle_unload_s: u64,
    pub run_limit_s: NonZeroU64,
    pub max_rows_per_request: usize,
    pub top_probabilities: usize,
}

impl Settings {
    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// [`InferenceError::Setting`] naming the setting, its value and what it must be.
    pub fn check(&self) -> Result<(), InferenceError> {
        let rules = [
            ("inference.memory_limit_mb", self.memory_limit_mb, 1, 1 << 30),
            ("inference.sessions_per_version", self.sessions_per_version as u64, 0, 1024),
            ("inference.workers", self.workers as u64, 0, 1024),
            ("inference.queue_limit", self.queue_limit as u64, 1, 1_000_000),
            ("inference.max_batch_rows", self.max_batch_rows as u64, 1, 100_000),
            ("inference.max_rows_per_request", self.max_rows_per_request as u64, 1, 10_000_000),
            ("inference.top_probabilities", self.top_probabilities as u64, 1, 1_000_000),
        ];
        for (setting, value, least, most) in rules {
            if !(least..=most).contains(&value) {
                return Err(InferenceError::Setting { setting, value, least, most });
            }
        }
        Ok(())
    }

    pub(crate) fn sessions(&self) -> usize {
        or_cores(self.sessions_per_version)
    }

    pub(crate) fn threads(&self) -> usize {
        or_cores(self.workers)
    }
}

fn or_cores(count: usize) -> usize {
    if count > 0 { count } else { thread::available_parallelism().map_or(1, usize::from) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What the product ships, with one worker.
    pub(crate) fn defaults() -> Settings {
        Settings {
            onnxruntime: PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../target/onnxruntime/libonnxruntime.so"
            )),
            memory_limit_mb: 2048,
            sessions_per_version: 1,
            workers: 1,
            queue_limit: 256,
            max_batch_rows: 64,
            inline_budget_us: 500,
            idle_unload_s: 0,
            run_limit_s: NonZeroU64::MIN.saturating_add(19),
            max_rows_per_request: 10_000,
            top_probabilities: 5,
        }
    }

    #[test]
    fn a_value_that_cannot_work_is_told() {
        assert!(defaults().check().is_ok());
        let error = Settings { queue_limit: 0, ..defaults() }.check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "setting `inference.queue_limit` is `0`, but it must be 1 to 1000000"
        );
    }
}
