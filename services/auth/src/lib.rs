//! The auth service: users, tokens, keys.
//!
//! Reading order: [`service`] (what it does), [`settings`], then `keys` (files that are made at the
//! first start), `passwords` (argon2id, a bounded number at once).
//!
//! Invariants: a password and a secret are never logged, kept or answered; whether a user exists
//! cannot be told from an answer to a sign-in, nor from its time; no person gets the role `service`.

use std::sync::Arc;

use domain::Clock;
use storage::ports::Accounts;

pub mod error;
mod http;
pub mod service;
pub mod settings;

mod keys;
mod passwords;
mod random;

pub use error::AuthError;
pub use http::http;
pub use service::{Auth, FirstStart};
pub use settings::{DEFAULTS, Settings};

/// What the service works with.
pub struct Deps {
    /// Where the accounts are kept.
    pub accounts: Arc<dyn Accounts>,
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
