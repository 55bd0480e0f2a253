//! The router service: the registry of models, the routes, and the way of a prediction.
//!
//! Reading order: [`service`] (the trait), `table` (what a prediction reads; `saved` keeps it),
//! `targeting`, `choice` and [`assignment`] (who gets which version), `fleet` (the replicas),
//! `shadows` (who is asked, too), `registration` (how files become a version), [`spool`] (how an
//! answered prediction reaches the log), [`statistics`] (what is known of arms), [`experiments`]
//! (what is made of that), `counting` and `rollouts` (how new versions fare, and what is done about
//! it), [`events`] (who is told of what happens).

mod answers;
pub mod assignment;
mod choice;
mod counting;
mod error;
pub mod events;
pub mod experiments;
mod fleet;
mod http;
mod registration;
mod replicas;
mod report;
mod rollouts;
mod saved;
mod service;
mod settings;
mod shadows;
pub mod spool;
pub mod statistics;
mod table;
mod targeting;

use std::sync::Arc;

use contracts::{Outbound, RouterApi};
use domain::Clock;
use runtime::{Process, Recorder};
use storage::{Cache, Documents, Relational, ports::Artifacts};

pub use error::RouterError;
pub use http::http;
pub use replicas::{Replica, Replicas, fixed};
pub use service::Service;
pub use settings::{DEFAULTS, EventSettings, OUTBOUND, Settings};

/// What the router needs.
pub struct Deps {
    /// Models, versions, routes.
    pub relational: Relational,
    /// The prediction log.
    pub documents: Documents,
    /// How routers hear of a change that nobody told them.
    pub cache: Cache,
    /// Model files.
    pub artifacts: Arc<dyn Artifacts>,
    /// The inference replicas.
    pub replicas: Arc<dyn Replicas>,
    /// All routers, this one too or not: who changes models or routes tells them.
    pub routers: Arc<dyn Replicas<dyn RouterApi>>,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Puts changes on record.
    pub recorder: Arc<Recorder>,
    /// Calls URLs that people gave.
    pub outbound: Arc<dyn Outbound>,
}

/// Builds the service. Reads all routes, so that the first request finds them.
///
/// # Errors
/// If the spool or a store cannot be used. A relational store that is only unavailable is done
/// without if an earlier run kept what it said.
pub async fn build(settings: Settings, deps: Deps) -> Result<Arc<Service>, RouterError> {
    Service::new(settings, deps).await
}

/// Starts the background work: shipping the log, following the store, bringing to it what it missed,
/// keeping routed versions loaded, storing and delivering events.
pub fn background(service: &Arc<Service>, process: &Process) {
    let shipper = Arc::clone(service);
    process.spawn_until_stop(|stop| async move { shipper.ship(stop).await });
    let shadow = Arc::clone(service);
    process.spawn_until_stop(|stop| shadow.shadow(stop));
    let counter = Arc::clone(service);
    process.spawn_until_stop(|stop| async move { counter.bring_counts(stop).await });
    let driver = Arc::clone(service);
    process.spawn_until_stop(|stop| async move { driver.drive(stop).await });
    let looker = Arc::clone(service);
    process.spawn_until_stop(|stop| async move { looker.drive_experiments(stop).await });
    let settler = Arc::clone(service);
    process.spawn_until_stop(|stop| async move { settler.settle(stop).await });
    let follower = Arc::clone(service);
    process.spawn(async move { follower.follow_store().await });
    process.spawn(fleet::keep(Arc::clone(service)));
    process.spawn(report::report(service).watch());
    let recorder = Arc::clone(&service.deps.recorder);
    process.spawn_until_stop(|stop| recorder.write(stop));
    let bus = Arc::clone(&service.bus);
    process.spawn_until_stop(|stop| bus.write(stop));
    let (bus, outbound) = (Arc::clone(&service.bus), Arc::clone(&service.deps.outbound));
    process.spawn_until_stop(|stop| events::deliver(bus, outbound, stop));
}

/// The service as others hold it.
pub fn api(service: &Arc<Service>) -> Arc<dyn RouterApi> {
    Arc::clone(service) as _
}
