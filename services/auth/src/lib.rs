//! The auth service: users, tokens, keys.
//!
//! Reading order: [`service`] (what it does), [`settings`], then `sessions` (sign-in, refresh, sign-out)
//! with `lockout`, [`oidc`] (sign-in through an identity provider), `users`, `api_keys` with `known_keys`, `trail` (the sealed audit trail), `keys` (files
//! that are made at the first start), `passwords` (argon2id, a bounded number at once).
//!
//! Invariants: a password and a secret are never logged, kept or answered; whether a user exists
//! cannot be told from an answer to a sign-in, nor from its time; no person gets the role `service`.

use std::sync::Arc;

use contracts::auth::ProviderHttp;
use domain::Clock;
use runtime::Process;
use storage::ports::{Accounts, AuditTrail, Credentials};

pub mod error;
mod http;
pub mod oidc;
pub mod service;
pub mod settings;

mod api_keys;
mod keys;
mod known_keys;
mod lockout;
mod passwords;
mod random;
mod secrets;
mod sessions;
mod trail;
mod users;

pub use error::AuthError;
pub use http::http;
pub use random::password as random_password;
pub use service::{Auth, FirstStart};
pub use settings::{DEFAULTS, Settings};

/// What the service works with.
pub struct Deps {
    /// Where the accounts are kept.
    pub accounts: Arc<dyn Accounts>,
    /// Where sessions and API keys are kept.
    pub credentials: Arc<dyn Credentials>,
    /// Where the audit trail is kept.
    pub audit: Arc<dyn AuditTrail>,
    /// Asks the identity provider.
    pub provider: Arc<dyn ProviderHttp>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// Builds the service. Makes signing key and service secret if they are not there; several
/// processes may do so at once. Call [`Auth::first_start`] next.
///
/// # Errors
/// [`AuthError::Setting`] and the errors of key files, each naming what to change.
pub async fn build(settings: Settings, deps: Deps) -> Result<Arc<Auth>, AuthError> {
    let opening = tokio::task::spawn_blocking(move || Auth::open(settings, deps));
    opening.await.map_err(AuthError::BrokenOff)?.map(Arc::new)
}

/// Starts what the service does by itself: signing keys come and go, what is over is forgotten, the
/// last uses of keys are kept, the audit trail is written.
pub fn background(auth: &Arc<Auth>, process: &Process) {
    let (keeping, writing) = (Arc::clone(auth), Arc::clone(auth));
    process.spawn(async move { keeping.keep_house().await });
    process.spawn_until_stop(|stop| async move { writing.trail.write(stop).await });
}
