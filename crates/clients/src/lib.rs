//! How services call: each contract's trait over HTTP.
//!
//! [`Transport`] carries one call: headers, deadline, errors. [`Auth`], [`Router`], [`Inference`],
//! [`Feedback`] and [`Drift`] implement the traits of `contracts` with it. [`ServiceTokens`] gets
//! the token a service shows when it calls on its own account. [`Replicas`] follows a list or a name
//! in DNS.
//!
//! [`Engine`] asks a running engine through its public API, for the command line.
//!
//! [`Provider`] asks an identity provider, which is nobody of ours.
//!
//! Invariant: a caller cannot tell these from the services themselves, but by the time they take.

mod engine;
mod observe;
mod places;
mod provider;
mod remote;
mod replicas;
mod tokens;
mod transport;

pub use engine::Engine;
pub use provider::Provider;
pub use remote::{Auth, Drift, Feedback, Inference, Router};
pub use replicas::{Replicas, inference, routers};
pub use tokens::ServiceTokens;
pub use transport::Transport;

use std::sync::Arc;

use contracts::auth::ProviderHttp;
use contracts::{ApiError, AuthApi};

/// The auth service at a base URL.
///
/// # Errors
/// `internal` if the HTTP client cannot be set up.
pub fn auth(url: &str) -> Result<Arc<dyn AuthApi>, ApiError> {
    Ok(Arc::new(Auth(Transport::new("auth", url, None)?)))
}

/// The auth service at a base URL, as a service of the engine asks it.
///
/// # Errors
/// `internal` if the HTTP client cannot be set up.
pub fn auth_as(url: &str, tokens: Arc<ServiceTokens>) -> Result<Arc<dyn AuthApi>, ApiError> {
    Ok(Arc::new(Auth(Transport::new("auth", url, Some(tokens))?)))
}

/// How the auth service asks an identity provider.
pub fn provider() -> Arc<dyn ProviderHttp> {
    Arc::new(Provider::default())
}
