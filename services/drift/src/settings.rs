//! `[drift]`: see `settings.default.toml`, which says what each is.

use serde::Deserialize;

use crate::DriftError;

/// The commented defaults.
pub const DEFAULTS: &str = include_str!("settings.default.toml");

/// The longest window that can be set: 10 years, in seconds.
const LONGEST_WINDOW_S: u32 = 10 * 365 * 24 * 60 * 60;

/// `[drift]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file says it")]
pub struct Settings {
    pub max_window_s: u32,
    pub max_records: u32,
}

impl Settings {
    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// [`DriftError::Setting`] naming the setting, its value and what it must be.
    pub fn check(&self) -> Result<(), DriftError> {
        if !(1..=LONGEST_WINDOW_S).contains(&self.max_window_s) {
            return Err(DriftError::Setting {
                setting: "drift.max_window_s",
                value: self.max_window_s,
                must_be: "1 to 315360000 (10 years)",
            });
        }
        if !(1..=10_000_000).contains(&self.max_records) {
            return Err(DriftError::Setting {
                setting: "drift.max_records",
                value: self.max_records,
                must_be: "1 to 10000000",
            });
        }
        Ok(())
    }
}
