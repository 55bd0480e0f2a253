//! The gateway: the public door. It checks who calls and how much, and hands on; what it counts and
//! keeps is in the cache store.
//!
//! Reading order: [`http`] (every public route with its role), then one file there per area.
//! [`limits`] says how much may be asked for, [`idempotency`] what is done once. [`card`] renders a
//! model card, [`report`] an experiment's report.

pub mod card;
pub mod http;
pub mod idempotency;
pub mod limits;
pub mod report;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use contracts::{AuthApi, DriftApi, FeedbackApi, RouterApi};
use runtime::http::{App, TimeLimits};
use runtime::settings::Http;
use runtime::{Authenticator, Process, Recorder};
use storage::Cache;

pub use settings::{ContextSettings, CookieName, DEFAULTS, Settings, UnitCookie};

use idempotency::Once;
use limits::{Concurrency, Limiter};

/// What the gateway needs.
#[derive(Clone)]
pub struct Deps {
    /// Users and tokens.
    pub auth: Arc<dyn AuthApi>,
    /// Models, routes, predictions.
    pub router: Arc<dyn RouterApi>,
    /// Ground truth.
    pub feedback: Arc<dyn FeedbackApi>,
    /// What live predictions look like.
    pub drift: Arc<dyn DriftApi>,
    /// Where requests are counted, and answers to repeated ones are kept.
    pub cache: Cache,
    /// Verifies credentials.
    pub authenticator: Arc<Authenticator>,
    /// Puts on record what callers were not allowed to do.
    pub recorder: Arc<Recorder>,
}

/// Starts what the gateway does by itself: it hears what was revoked, and tells what was refused.
pub fn background(deps: &Deps, process: &Process) {
    process.spawn(Arc::clone(&deps.authenticator).watch());
    let recorder = Arc::clone(&deps.recorder);
    process.spawn_until_stop(|stop| recorder.write(stop));
}

/// The gateway, as its handlers hold it.
pub struct Gateway {
    pub(crate) deps: Deps,
    pub(crate) default_model: String,
    pub(crate) max_upload_bytes: usize,
    pub(crate) max_body_bytes: usize,
    pub(crate) context: settings::ContextSettings,
    pub(crate) unit_cookie: settings::UnitCookie,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) concurrency: Arc<Concurrency>,
    pub(crate) once: Once,
}

/// Builds the public app.
pub fn app(settings: &Settings, limits: &Http, access_log: bool, deps: Deps) -> App {
    let authenticator = Arc::clone(&deps.authenticator);
    let recorder = Some(Arc::clone(&deps.recorder));
    let time = TimeLimits {
        request: Duration::from_millis(limits.request_timeout_ms),
        upload: Duration::from_millis(limits.upload_timeout_ms),
    };
    let limiter = Limiter::new(&settings.limits, Arc::clone(&deps.cache.limits));
    let concurrency =
        Concurrency::new(settings.max_concurrent_requests, settings.max_concurrent_per_client);
    let gateway = Arc::new(Gateway {
        limiter,
        concurrency,
        once: Once::new(&settings.idempotency, Arc::clone(&deps.cache.idempotency)),
        deps,
        default_model: settings.default_model.clone(),
        max_upload_bytes: limits.max_upload_bytes,
        max_body_bytes: limits.max_body_bytes,
        context: settings.context,
        unit_cookie: settings.unit_cookie.clone(),
    });
    App {
        configure: Arc::new(move |config| {
            http::configure(config, &gateway, &authenticator, time);
        }),
        face: http::error_face,
        access_log,
        trusted_proxies: settings.trusted_proxies.clone(),
        recorder,
        cors: settings.cors.clone(),
        headers: http::set_headers,
    }
}
