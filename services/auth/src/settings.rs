//! `[auth]`: see `settings.default.toml`, which says what each is.

use std::path::{Path, PathBuf};

use runtime::Secret;
use serde::Deserialize;

use crate::AuthError;

/// The commented defaults.
pub const DEFAULTS: &str = include_str!("settings.default.toml");

/// The longest life of an access token: a day, in seconds. What is revoked is remembered as long.
pub(crate) const MAX_TOKEN_TTL_S: u32 = 24 * 60 * 60;
/// A year, in seconds.
pub(crate) const YEAR_S: u32 = 365 * 24 * 60 * 60;

/// `[auth]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file says it")]
pub struct Settings {
    pub admin_password: Secret,
    pub password_min_length: usize,
    pub token_ttl_s: u32,
    pub refresh_ttl_s: u32,
    pub session_ttl_s: u32,
    pub lockout_after: u32,
    pub lockout_max_s: u32,
    pub key_overlap_s: u32,
    pub signing_key_days: u32,
    pub signing_key_publish_s: u32,
    pub keys_dir: PathBuf,
    pub service_secret_file: PathBuf,
    pub hash_memory_kib: u32,
    pub hash_passes: u32,
    pub hash_lanes: u32,
    pub max_hashes_at_once: usize,
    pub oidc: crate::oidc::Settings,
}

impl Settings {
    /// Fills in what is empty with places in the data folder.
    pub fn resolve(&mut self, data_dir: &Path) {
        if self.keys_dir.as_os_str().is_empty() {
            self.keys_dir = data_dir.join("keys");
        }
        if self.service_secret_file.as_os_str().is_empty() {
            self.service_secret_file = self.keys_dir.join("service.secret");
        }
    }

    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// [`AuthError::Setting`] naming the setting, its value and what it must be.
    pub fn check(&self) -> Result<(), AuthError> {
        let refuse =
            |setting, value: String, must_be| Err(AuthError::Setting { setting, value, must_be });
        for (setting, value, range) in [
            ("auth.token_ttl_s", self.token_ttl_s, 1..=MAX_TOKEN_TTL_S),
            ("auth.refresh_ttl_s", self.refresh_ttl_s, self.token_ttl_s..=YEAR_S),
            ("auth.session_ttl_s", self.session_ttl_s, self.refresh_ttl_s..=YEAR_S),
            ("auth.lockout_after", self.lockout_after, 1..=1000),
            ("auth.lockout_max_s", self.lockout_max_s, 1..=MAX_TOKEN_TTL_S),
            ("auth.key_overlap_s", self.key_overlap_s, 0..=YEAR_S),
            ("auth.signing_key_days", self.signing_key_days, 0..=3650),
            ("auth.signing_key_publish_s", self.signing_key_publish_s, 0..=MAX_TOKEN_TTL_S),
        ] {
            if !range.contains(&value) {
                let must_be = format!("{} to {}", range.start(), range.end());
                return refuse(setting, value.to_string(), must_be);
            }
        }
        if !(1..=1024).contains(&self.max_hashes_at_once) {
            let value = self.max_hashes_at_once.to_string();
            return refuse("auth.max_hashes_at_once", value, "1 to 1024".to_owned());
        }
        if !(1..=128).contains(&self.password_min_length) {
            let value = self.password_min_length.to_string();
            return refuse("auth.password_min_length", value, "1 to 128".to_owned());
        }
        let password = self.admin_password.reveal();
        if !password.is_empty() && password.chars().count() < self.password_min_length {
            let must_be = format!(
                "at least {} characters (`auth.password_min_length`), or empty to have one generated",
                self.password_min_length
            );
            return refuse("auth.admin_password", "[redacted]".to_owned(), must_be);
        }
        self.oidc.check()
    }
}
