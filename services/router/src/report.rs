//! What a router says of itself in metrics that are read, not counted.

use std::sync::Arc;

use runtime::telemetry::{label, metrics, names};
use storage::Vitals;

use crate::Service;

/// Reports it for as long as the service lives. What it returns has to be kept going.
pub(crate) fn report(service: &Arc<Service>) -> Arc<Vitals> {
    let deps = &service.deps;
    let stores = Arc::new(
        Vitals::default()
            .relational(&deps.relational)
            .documents(&deps.documents)
            .cache(&deps.cache)
            .artifacts(&deps.artifacts),
    );
    let watched = Arc::clone(&stores);
    metrics().gauge(names::DEGRADED, move || u64::from(!watched.all_answer()));
    // The metrics outlive the service: they must not hold the spool's lock.
    let read = |value: fn(&Service) -> u64| {
        let service = Arc::downgrade(service);
        move || service.upgrade().map_or(0, |service| value(&service))
    };
    metrics().gauge(names::SPOOL_PENDING, read(|service| service.spool.pending()));
    metrics().gauge(names::SPOOL_BYTES, read(|service| service.spool.bytes()));
    metrics().gauge(names::SPOOL_MAX_BYTES, read(|service| service.settings.spool.max_bytes));
    let aged = Arc::downgrade(service);
    metrics().gauge_seconds(names::SPOOL_AGE, move || {
        aged.upgrade()
            .map(|service| service.spool.age(service.deps.clock.now()))
            .unwrap_or_default()
    });
    metrics().gauge(names::EVENTS_WAITING, read(|service| service.bus.waiting()));
    metrics().spool_shipped.add(0, &[]);
    metrics().spool_dropped.add(0, &[]);
    let routed = Arc::downgrade(service);
    metrics().gauge_by(names::ROUTE_GENERATION, move |observe| {
        let Some(service) = routed.upgrade() else { return };
        for (model, generation) in service.table.generations() {
            observe(generation, &[label("model", model.to_string())]);
        }
    });
    metrics().rollout_batches_lost.add(0, &[]);
    let ramped = Arc::downgrade(service);
    metrics().share_by(names::ROLLOUT_SHARE, move |observe| {
        let Some(service) = ramped.upgrade() else { return };
        for (model, share) in service.table.canary_shares() {
            observe(share, &[label("model", model.to_string())]);
        }
    });
    stores
}
