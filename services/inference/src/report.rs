//! What a replica says of itself in metrics that are read, not counted.

use std::sync::Arc;

use runtime::telemetry::metrics::labels;
use runtime::telemetry::{metrics, names};

use crate::Service;

/// Reports it for as long as the service lives.
pub(crate) fn report(service: &Arc<Service>) {
    let read = |value: fn(&Service) -> u64| {
        let service = Arc::downgrade(service);
        move || service.upgrade().map_or(0, |service| value(&service))
    };
    let metrics = metrics();
    metrics.inference_rejected.add(0, &[]);
    metrics.gauge(names::QUEUE_LENGTH, read(|service| service.executor.load().waiting));
    metrics.gauge(names::WORKERS_BUSY, read(|service| service.executor.load().busy));
    metrics.gauge(names::QUEUE_LIMIT, read(|service| service.executor.limits().queue as u64));
    metrics.gauge(names::WORKERS, read(|service| service.executor.limits().workers as u64));
    let held = Arc::downgrade(service);
    metrics.gauge_by(names::MODEL_LOADED, move |observe| {
        let Some(service) = held.upgrade() else { return };
        for loaded in service.residency.list().versions {
            observe(1, &labels(&loaded.target));
        }
    });
    let held = Arc::downgrade(service);
    metrics.gauge_by(names::MODEL_MEMORY, move |observe| {
        let Some(service) = held.upgrade() else { return };
        for loaded in service.residency.list().versions {
            observe(loaded.memory_bytes, &labels(&loaded.target));
        }
    });
}
