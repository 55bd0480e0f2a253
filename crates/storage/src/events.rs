//! What the adapters of [`Events`](crate::ports::Events) share: the columns beside the records.

use std::time::Duration;

use domain::{Delivery, DueDelivery, Event, PlacedEvent, Webhook};
use time::OffsetDateTime;

use crate::columns::nanoseconds;
use crate::{StoreError, json};

/// An event's columns.
pub(crate) struct EventColumns {
    pub(crate) id: String,
    pub(crate) at: i64,
    pub(crate) model: Option<String>,
    pub(crate) record: String,
}

impl EventColumns {
    pub(crate) fn of(event: &Event) -> Result<Self, StoreError> {
        let id = event.id.to_string();
        let record = json::write("event", &id, event)?;
        let model = event.model.as_ref().map(ToString::to_string);
        Ok(Self { id, at: nanoseconds(event.at), model, record })
    }
}

/// A webhook's columns.
pub(crate) struct WebhookColumns {
    pub(crate) id: String,
    pub(crate) revision: i64,
    pub(crate) enabled: bool,
    pub(crate) record: String,
}

impl WebhookColumns {
    pub(crate) fn of(webhook: &Webhook) -> Result<Self, StoreError> {
        let id = webhook.id.to_string();
        let record = json::write("webhook", &id, webhook)?;
        Ok(Self { id, revision: webhook.revision.into(), enabled: webhook.enabled, record })
    }
}

/// A delivery's columns.
pub(crate) struct DeliveryColumns {
    pub(crate) id: String,
    pub(crate) event: String,
    pub(crate) webhook: String,
    pub(crate) state: &'static str,
    pub(crate) next_at: i64,
    pub(crate) revision: i64,
    pub(crate) record: String,
}

impl DeliveryColumns {
    pub(crate) fn of(delivery: &Delivery) -> Result<Self, StoreError> {
        let id = delivery.id.to_string();
        Ok(Self {
            event: delivery.event_id.to_string(),
            webhook: delivery.webhook_id.to_string(),
            state: delivery.state.as_str(),
            next_at: nanoseconds(delivery.next_at),
            revision: delivery.revision.into(),
            record: json::write("delivery", &id, delivery)?,
            id,
        })
    }
}

/// Events from their rows: place, record.
pub(crate) fn placed(rows: Vec<(i64, String)>) -> Result<Vec<PlacedEvent>, StoreError> {
    let placed = |(place, record): (i64, String)| {
        let event = json::read("event", &place.to_string(), &record)?;
        Ok(PlacedEvent { place: place.unsigned_abs(), event })
    };
    rows.into_iter().map(placed).collect()
}

/// Webhooks from their rows: id, record.
pub(crate) fn webhooks(rows: &[(String, String)]) -> Result<Vec<Webhook>, StoreError> {
    rows.iter().map(|(id, record)| json::read("webhook", id, record)).collect()
}

/// Deliveries from their rows: id, record.
pub(crate) fn deliveries(rows: &[(String, String)]) -> Result<Vec<Delivery>, StoreError> {
    rows.iter().map(|(id, record)| json::read("delivery", id, record)).collect()
}

/// What is due, from its row: a delivery's id, its record, the event's and the webhook's. It is given
/// to whoever asks, until the lease ends.
pub(crate) fn claimed(
    (id, delivery, event, webhook): &(String, String, String, String),
    now: OffsetDateTime,
    lease: Duration,
) -> Result<DueDelivery, StoreError> {
    let mut delivery: Delivery = json::read("delivery", id, delivery)?;
    delivery.next_at = now + lease;
    delivery.revision += 1;
    let event = json::read("event", &delivery.event_id.to_string(), event)?;
    let webhook = json::read("webhook", &delivery.webhook_id.to_string(), webhook)?;
    Ok(DueDelivery { delivery, event, webhook })
}

/// Texts of a filter; `None` for all.
pub(crate) fn texts<T: ToString>(items: &[T]) -> Option<Vec<String>> {
    (!items.is_empty()).then(|| items.iter().map(ToString::to_string).collect())
}

/// A place as a column has it.
pub(crate) fn place(place: u64) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}
