//! The bus: what happens is told to the log, counted, kept in the store, and sent to webhooks.
//!
//! Whoever changes or decides something calls [`Bus::publish`], which never waits and never fails: the
//! event is in memory until the store has it. Storing it makes, in the same step, the deliveries to
//! the webhooks that want it; every router looks for those that are due (`delivering`), and a lease
//! sees to it that one router makes each.

mod delivering;
mod retry;
pub mod signature;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::event::kinds;
use domain::{Clock, Event, EventId, EventKind};
use runtime::telemetry::{label, metrics};
use serde_json::Value;
use storage::StoreError;
use storage::ports::Events;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::settings::EventSettings;
pub(crate) use delivering::{Sent, deliver, send};

/// Waits this long after the store took no events.
const PAUSE: Duration = Duration::from_secs(1);
/// Events stored at once.
const BATCH: usize = 100;

/// Where everything that happens is published.
pub struct Bus {
    settings: EventSettings,
    store: Arc<dyn Events>,
    clock: Arc<dyn Clock>,
    waiting: Mutex<VecDeque<Event>>,
    /// Held by whoever stores some.
    storing: tokio::sync::Mutex<()>,
    /// That there is something to store.
    added: Notify,
    /// That there may be something to deliver.
    due: Notify,
}

impl Bus {
    /// A bus that keeps events in this store. [`Bus::write`] has to be kept going.
    pub fn new(settings: EventSettings, store: Arc<dyn Events>, clock: Arc<dyn Clock>) -> Self {
        let counters = metrics();
        for kind in kinds::ALL {
            counters.events.add(0, &[label("kind", kind.to_string())]);
        }
        counters.events_lost.add(0, &[]);
        for outcome in ["delivered", "failed", "dead"] {
            counters.webhook_deliveries.add(0, &[label("outcome", outcome)]);
        }
        let (waiting, storing) = (Mutex::default(), tokio::sync::Mutex::default());
        let (added, due) = (Notify::new(), Notify::new());
        Self { settings, store, clock, waiting, storing, added, due }
    }

    /// An event of now, to be filled in: what it is about, why, and more.
    pub fn event(&self, kind: EventKind, actor: &str) -> Event {
        Event {
            id: EventId::new(),
            at: self.clock.now(),
            kind,
            model: None,
            subject: String::new(),
            actor: actor.to_owned(),
            reason: String::new(),
            data: Value::Null,
        }
    }

    /// Tells everybody. Returns at once; what cannot be stored now is stored later.
    pub fn publish(&self, event: Event) {
        let Event { id, kind, model, subject, actor, reason, .. } = &event;
        let of = model.as_ref().map(tracing::field::display);
        tracing::info!(
            event.id = %id, event.kind = %kind, model = of, subject, actor, reason,
            "event `{kind}`"
        );
        metrics().events.add(1, &[label("kind", kind.to_string())]);
        let mut waiting = self.lock();
        if waiting.len() >= self.settings.queue {
            drop(waiting);
            self.lost(1, "too many wait for the store (`router.events.queue`)");
            return;
        }
        waiting.push_back(event);
        drop(waiting);
        self.added.notify_one();
    }

    /// Events that wait for the store.
    pub fn waiting(&self) -> u64 {
        self.lock().len() as u64
    }

    /// Stores what is published, until told to stop; then what waits, unless the store refuses.
    pub async fn write(self: Arc<Self>, stop: CancellationToken) {
        let mut failing = false;
        loop {
            let stopping = stop.is_cancelled();
            match self.store_some().await {
                Ok(0) if stopping => return,
                Ok(0) => {
                    tokio::select! {
                        () = self.added.notified() => {}
                        () = stop.cancelled() => {}
                    }
                }
                Ok(_) => {
                    if failing {
                        tracing::info!("events are stored again");
                    }
                    failing = false;
                    self.due.notify_one();
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "events cannot be stored: they wait in memory");
                    }
                    failing = true;
                    if stopping {
                        self.lost(self.waiting(), "the router stops while the store is down");
                        return;
                    }
                    tokio::select! {
                        () = tokio::time::sleep(PAUSE) => {}
                        () = stop.cancelled() => {}
                    }
                }
            }
        }
    }

    /// Stores what waits, for tasks that may outlive [`Bus::write`] when the router stops.
    pub(crate) async fn write_rest(&self) {
        while let Ok(1..) = self.store_some().await {}
    }

    /// Stores the first ones that wait; returns how many.
    async fn store_some(&self) -> Result<usize, StoreError> {
        let _alone = self.storing.lock().await;
        let batch: Vec<Event> = self.lock().iter().take(BATCH).cloned().collect();
        if batch.is_empty() {
            return Ok(0);
        }
        let keep = time::Duration::days(i64::from(self.settings.keep_days));
        let forget_before = self.clock.now() - keep;
        match self.store.append(&batch, forget_before).await {
            // One event that no store keeps must not hold up the others.
            Err(StoreError::Invalid { .. }) => {
                for event in &batch {
                    match self.store.append(std::slice::from_ref(event), forget_before).await {
                        Err(error @ StoreError::Invalid { .. }) => {
                            self.lost(1, &error.to_string());
                        }
                        result => result?,
                    }
                }
            }
            result => result?,
        }
        self.lock().drain(..batch.len());
        Ok(batch.len())
    }

    fn lost(&self, count: u64, why: &str) {
        if count > 0 {
            metrics().events_lost.add(count, &[]);
            tracing::error!(count, "events are lost to the store and to webhooks: {why}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
