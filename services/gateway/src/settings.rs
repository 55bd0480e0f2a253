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
    /// What a request may say of itself.
    pub context: ContextSettings,
    /// The unit of who names none.
    pub unit_cookie: UnitCookie,
    /// Requests that may be under way at once, in this process; 0 for any number.
    pub max_concurrent_requests: usize,
    /// The same for each client.
    pub max_concurrent_per_client: usize,
    /// How much may be asked for.
    pub limits: crate::limits::Settings,
    /// What is done once.
    pub idempotency: crate::idempotency::Settings,
}

/// `[gateway.context]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file says it")]
pub struct ContextSettings {
    pub max_bytes: usize,
    pub max_fields: usize,
}

/// `[gateway.unit_cookie]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file says it")]
pub struct UnitCookie {
    pub name: CookieName,
    pub max_age_s: u64,
    pub secure: bool,
}

/// A cookie's name (a token of RFC 9110); empty for none.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct CookieName(String);

impl CookieName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CookieName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let is_token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
        if name.bytes().all(is_token) {
            return Ok(Self(name));
        }
        let shown = name.escape_debug();
        Err(format!(
            "`gateway.unit_cookie.name` must be letters, digits and `! # $ % & ' * + - . ^ _ ` | ~`, got `{shown}`"
        ))
    }
}
