//! Passwords, hashed with argon2id off the asynchronous threads, a bounded number at once.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use argon2::password_hash::Error as HashError;
use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version};
use contracts::Deadline;
use tokio::sync::Semaphore;

use crate::{AuthError, Settings, random};

/// The most characters of a password.
const MAX_PASSWORD: usize = 1024;

/// The passwords that everybody tries.
static COMMON: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    let lines = include_str!("passwords/common.txt").lines();
    lines.filter(|line| !line.starts_with('#')).collect()
});

/// Hashes and compares passwords.
pub(crate) struct Passwords {
    argon2: Argon2<'static>,
    at_once: Arc<Semaphore>,
    /// Fewest characters.
    least: usize,
    /// What is compared with where there is no such user, so that it takes as long.
    decoy: String,
}

impl Passwords {
    /// Blocks for the time of one hash.
    pub(crate) fn new(settings: &Settings) -> Result<Self, AuthError> {
        let Settings { hash_memory_kib, hash_passes, hash_lanes, .. } = *settings;
        let params = Params::new(hash_memory_kib, hash_passes, hash_lanes, None);
        let params = params.map_err(|cause| AuthError::Setting {
            setting: "auth.hash_memory_kib, hash_passes, hash_lanes",
            value: format!("{hash_memory_kib}, {hash_passes}, {hash_lanes}"),
            must_be: format!("costs that argon2 takes ({cause})"),
        })?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = hash(&argon2, &random::token()?)?;
        let at_once = Arc::new(Semaphore::new(settings.max_hashes_at_once));
        Ok(Self { argon2, at_once, least: settings.password_min_length, decoy })
    }

    /// What is wrong with a password that somebody chose; `None` if it may be used.
    pub(crate) fn fault(&self, username: &str, password: &str) -> Option<String> {
        let least = self.least;
        if !(least..=MAX_PASSWORD).contains(&password.chars().count()) {
            return Some(format!("must be {least} to {MAX_PASSWORD} characters"));
        }
        let lower = password.to_lowercase();
        if COMMON.contains(lower.as_str()) {
            return Some("is one of the first that are tried: it leaked many times".to_owned());
        }
        if lower == username.to_lowercase() {
            return Some("must not be the user name".to_owned());
        }
        None
    }

    /// The password's hash, in PHC form.
    pub(crate) async fn hash(
        &self,
        password: String,
        deadline: Deadline,
    ) -> Result<String, AuthError> {
        let argon2 = self.argon2.clone();
        self.in_line(deadline, move || hash(&argon2, &password)).await
    }

    /// Whether the hash is of this password. Without a hash it is not, after the same time.
    pub(crate) async fn matches(
        &self,
        password: String,
        hash: Option<String>,
        deadline: Deadline,
    ) -> Result<bool, AuthError> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.decoy.clone());
        let argon2 = self.argon2.clone();
        let matches = self.in_line(deadline, move || matches(&argon2, &password, &hash)).await?;
        Ok(known && matches)
    }

    async fn in_line<T: Send + 'static>(
        &self,
        deadline: Deadline,
        work: impl FnOnce() -> Result<T, AuthError> + Send + 'static,
    ) -> Result<T, AuthError> {
        let place = Arc::clone(&self.at_once).acquire_owned();
        let Ok(Ok(place)) = tokio::time::timeout(deadline.left(), place).await else {
            return Err(AuthError::Busy);
        };
        let work = move || {
            // Kept to the end of the work, which goes on when nobody waits for it any more.
            let _place = place;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(AuthError::BrokenOff)?
    }
}

fn hash(argon2: &Argon2<'_>, password: &str) -> Result<String, AuthError> {
    let hash: PasswordHash = argon2.hash_password(password.as_bytes()).map_err(AuthError::Hash)?;
    Ok(hash.to_string())
}

/// Compares at the cost named in the hash.
fn matches(argon2: &Argon2<'_>, password: &str, hash: &str) -> Result<bool, AuthError> {
    let hash = PasswordHash::new(hash).map_err(|cause| AuthError::Hash(cause.into()))?;
    match argon2.verify_password(password.as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(HashError::PasswordInvalid) => Ok(false),
        Err(cause) => Err(AuthError::Hash(cause)),
    }
}
