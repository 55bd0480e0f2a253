//! Deliveries: whatever is due is claimed, posted, and what came of it noted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use contracts::Outbound;
use contracts::outbound::Post;
use domain::event::kinds;
use domain::{Clock, Delivery, DeliveryState, DueDelivery, Event, Webhook};
use runtime::telemetry::{label, metrics};
use serde_json::json;
use storage::StoreError;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::retry::{chance, delay};
use super::{Bus, signature};
use crate::settings::EventSettings;

/// A receiver that answers so is gone for good.
const GONE: u16 = 410;
/// Waits this long before it tries again to note what came of a delivery.
const NOTE_AGAIN: Duration = Duration::from_millis(500);

/// Makes deliveries, this router among others, until told to stop; then ends those under way.
pub(crate) async fn deliver(bus: Arc<Bus>, outbound: Arc<dyn Outbound>, stop: CancellationToken) {
    let settings = &bus.settings;
    let interval = Duration::from_millis(settings.poll_interval_ms.max(10));
    let most = usize::try_from(settings.concurrency.max(1)).unwrap_or(usize::MAX);
    // Tasks of their own: a delivery that has the store's turn must go on while more are claimed.
    let mut under_way = JoinSet::new();
    let mut failing = false;
    loop {
        let stopping = stop.is_cancelled();
        if stopping && under_way.is_empty() {
            bus.write_rest().await;
            return;
        }
        let free = most.saturating_sub(under_way.len());
        if free > 0 && !stopping {
            match bus.claim(free).await {
                Ok(due) => {
                    failing = false;
                    for due in due {
                        let (bus, outbound) = (Arc::clone(&bus), Arc::clone(&outbound));
                        let stop = stop.clone();
                        under_way.spawn(async move { bus.make(&*outbound, due, &stop).await });
                    }
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "deliveries to webhooks cannot be read: they wait");
                    }
                    failing = true;
                }
            }
        }
        tokio::select! {
            Some(_) = under_way.join_next() => {}
            () = bus.due.notified(), if !stopping => {}
            () = tokio::time::sleep(interval), if !stopping => {}
            () = stop.cancelled(), if !stopping => {}
        }
    }
}

/// What came of posting an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    /// The answer's status, if there was one.
    pub(crate) status: Option<u16>,
    /// What went wrong, if something did.
    pub(crate) error: Option<String>,
}

/// Posts an event to a webhook, signed.
pub(crate) async fn send(
    settings: &EventSettings,
    outbound: &dyn Outbound,
    clock: &dyn Clock,
    event: &Event,
    webhook: &Webhook,
) -> Sent {
    let failed = |error: String| Sent { status: None, error: Some(error) };
    let Some(key) = signature::key(&webhook.secret) else {
        return failed("its secret is none: make the webhook anew".to_owned());
    };
    let id = event.id.to_string();
    let timestamp = clock.now().unix_timestamp();
    let body = body(event);
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("webhook-signature", signature::sign(&key, &id, timestamp, &body)),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-id", id),
    ];
    let post = Post {
        url: webhook.url.clone(),
        headers,
        body,
        timeout: Duration::from_millis(settings.timeout_ms.max(1)),
        max_answer_bytes: settings.max_answer_bytes,
    };
    match outbound.post(post).await {
        Ok(reply) if (200..300).contains(&reply.status) => {
            Sent { status: Some(reply.status), error: None }
        }
        // What it says beside its status may be meant for nobody here.
        Ok(reply) => Sent {
            status: Some(reply.status),
            error: Some(format!("the receiver answered {}", reply.status)),
        },
        Err(error) => failed(error.to_string()),
    }
}

/// What a receiver gets.
fn body(event: &Event) -> Bytes {
    let body = json!({
        "type": event.kind,
        "timestamp": event.at.format(&Rfc3339).unwrap_or_default(),
        "data": {
            "id": event.id,
            "model": event.model,
            "subject": event.subject,
            "actor": event.actor,
            "reason": event.reason,
            "details": event.data,
        },
    });
    Bytes::from(body.to_string())
}

impl Bus {
    async fn claim(&self, most: usize) -> Result<Vec<DueDelivery>, StoreError> {
        let settings = &self.settings;
        let lease = Duration::from_millis(settings.timeout_ms)
            + Duration::from_secs(settings.lease_s.max(1));
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        self.store.claim(self.clock.now(), lease, most).await
    }

    /// Makes one delivery.
    async fn make(&self, outbound: &dyn Outbound, due: DueDelivery, stop: &CancellationToken) {
        let DueDelivery { delivery, event, webhook } = due;
        let lease_ends = delivery.next_at;
        let sent = send(&self.settings, outbound, &*self.clock, &event, &webhook).await;
        let gone = sent.status == Some(GONE);
        let delivery = self.after(delivery, sent);
        let outcome = match delivery.state {
            DeliveryState::Delivered => "delivered",
            DeliveryState::Waiting => "failed",
            DeliveryState::Dead => "dead",
        };
        metrics().webhook_deliveries.add(1, &[label("outcome", outcome)]);
        let (id, attempts) = (webhook.id, delivery.attempts);
        let error = delivery.last_error.as_deref().unwrap_or_default();
        match delivery.state {
            DeliveryState::Delivered => {
                tracing::debug!(webhook.id = %id, event.id = %event.id, attempts, "delivered an event");
            }
            DeliveryState::Waiting => {
                tracing::info!(webhook.id = %id, event.id = %event.id, attempts, error, "an event is not delivered yet: it is tried again");
            }
            DeliveryState::Dead => {
                tracing::warn!(webhook.id = %id, event.id = %event.id, attempts, error, "an event is not delivered and not tried again: `GET /api/v1/webhooks/deliveries?state=dead` lists such, `POST .../retry` tries again");
            }
        }
        self.note(delivery, lease_ends, stop).await;
        if gone {
            self.switch_off(webhook).await;
        }
    }

    /// The delivery as it stands after a try.
    fn after(&self, delivery: Delivery, sent: Sent) -> Delivery {
        let now = self.clock.now();
        let attempts = delivery.attempts.saturating_add(1);
        let again = delay(&self.settings, attempts, chance());
        let gone = sent.status == Some(GONE);
        let (state, next_at) = match (&sent.error, again) {
            (None, _) => (DeliveryState::Delivered, now),
            (Some(_), Some(delay)) if !gone => (DeliveryState::Waiting, now + delay),
            (Some(_), _) => (DeliveryState::Dead, now),
        };
        Delivery {
            state,
            attempts,
            next_at,
            last_status: sent.status,
            last_error: sent.error,
            ended_at: (state != DeliveryState::Waiting).then_some(now),
            revision: delivery.revision + 1,
            ..delivery
        }
    }

    /// Keeps what came of it. As long as the lease lasts nobody else sends the event again, so it is
    /// worth trying for that long.
    async fn note(
        &self,
        delivery: Delivery,
        lease_ends: time::OffsetDateTime,
        stop: &CancellationToken,
    ) {
        loop {
            let error = match self.store.put_delivery(delivery.clone()).await {
                Ok(()) => return,
                Err(error) => error,
            };
            let passing = matches!(error, StoreError::Unavailable { .. });
            if !passing || stop.is_cancelled() || self.clock.now() >= lease_ends {
                tracing::warn!(delivery.id = %delivery.id, %error, "what came of a delivery is not noted: the receiver may get the event once more");
                return;
            }
            tokio::time::sleep(NOTE_AGAIN).await;
        }
    }

    /// Switches a webhook off whose receiver is gone.
    async fn switch_off(&self, webhook: Webhook) {
        let off = Webhook {
            enabled: false,
            disabled_because: Some(format!("its receiver answered {GONE}: it is gone")),
            revision: webhook.revision + 1,
            ..webhook
        };
        let id = off.id;
        match self.store.put_webhook(off).await {
            Ok(()) => {
                let event = self.event(kinds::WEBHOOK_DISABLED, "router");
                self.publish(Event {
                    subject: format!("webhook:{id}"),
                    reason: format!("its receiver answered {GONE}: it is gone"),
                    ..event
                });
            }
            // Somebody changed it meanwhile, and perhaps mended it.
            Err(error) => {
                tracing::warn!(webhook.id = %id, %error, "a webhook whose receiver is gone is not switched off");
            }
        }
    }

    /// Has deliveries looked for now.
    pub(crate) fn look_for_deliveries(&self) {
        self.due.notify_one();
    }
}
