//! `[gateway]`: see `settings.default.toml`, which says what each is.

use runtime::http::{CorsSettings, TrustedProxies};
use serde::Deserialize;

/// The commented defaults.
pub const DEFAULTS: &str = include_str!("settings.default.toml");

/// `[gateway]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where the public API listens.
    pub listen: String,
    /// Who is believed about a client's address.
    pub trusted_proxies: TrustedProxies,
    /// The model behind `POST /predict`; empty for the only one.
    pub default_model: String,
    /// Which pages of other origins may ask.
    pub cors: CorsSettings,
    /// Requests that may be under way at once, in this process; 0 for any number.
    pub max_concurrent_requests: usize,
    /// The same for each client.
    pub max_concurrent_per_client: usize,
    /// How much may be asked for.
    pub limits: crate::limits::Settings,
    /// What is done once.
    pub idempotency: crate::idempotency::Settings,
}
