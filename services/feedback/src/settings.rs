//! `[feedback]`: see `settings.default.toml`, which says what each is.

use serde::Deserialize;

/// The commented defaults.
pub const DEFAULTS: &str = include_str!("settings.default.toml");

/// `[feedback]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file says it")]
pub struct Settings {
    pub max_label_chars: usize,
    pub max_unit_bytes: usize,
    pub max_items: usize,
    pub max_ahead_s: u32,
    pub max_pending_checked: u32,
}
