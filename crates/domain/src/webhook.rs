//! Webhooks: who is sent which events, and each event's way there.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{DeliveryId, Event, EventId, EventKind, KindPattern, ModelName, WebhookId};

/// A receiver of events. Has a secret: never shown but when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Names it.
    pub id: WebhookId,
    /// Where events are posted.
    pub url: String,
    /// For people: what it is for.
    pub description: String,
    /// Which kinds it gets; empty for all.
    pub kinds: Vec<KindPattern>,
    /// Whose events it gets: those about one of these models; empty for all, also those about none.
    pub models: Vec<ModelName>,
    /// Signs what is sent.
    pub secret: WebhookSecret,
    /// Whether it gets anything.
    pub enabled: bool,
    /// Why it was switched off, if no person did it.
    pub disabled_because: Option<String>,
    /// Counts up by one with every change.
    pub revision: u32,
    /// Who made it.
    pub created_by: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

impl Webhook {
    /// Whether it gets this event.
    pub fn wants(&self, event: &Event) -> bool {
        let kind = self.kinds.is_empty() || self.kinds.iter().any(|kind| kind.matches(&event.kind));
        let of_its_models =
            || event.model.as_ref().is_some_and(|model| self.models.contains(model));
        self.enabled && kind && (self.models.is_empty() || of_its_models())
    }
}

/// The secret of a webhook, as Standard Webhooks write it: `whsec_` and base64. Logs never show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WebhookSecret(String);

impl WebhookSecret {
    /// What every secret begins with.
    pub const BEGIN: &str = "whsec_";

    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, to sign with, and to show once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// One event's way to one webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// Names it.
    pub id: DeliveryId,
    /// What is sent.
    pub event_id: EventId,
    /// Its kind.
    pub kind: EventKind,
    /// Where to.
    pub webhook_id: WebhookId,
    /// How it stands.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next; while it is under way, when another router may take it.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub next_at: OffsetDateTime,
    /// The status of the last answer, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_status: Option<u16>,
    /// What went wrong the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When the event came.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: OffsetDateTime,
    /// When it was delivered, or given up.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<OffsetDateTime>,
    /// Counts up by one with every change.
    pub revision: u32,
}

impl Delivery {
    /// The way of an event to a webhook that wants it, before the first try.
    pub fn new(event: &Event, webhook: &Webhook) -> Self {
        Self {
            id: DeliveryId::new(),
            event_id: event.id,
            kind: event.kind.clone(),
            webhook_id: webhook.id,
            state: DeliveryState::Waiting,
            attempts: 0,
            next_at: event.at,
            last_status: None,
            last_error: None,
            created_at: event.at,
            ended_at: None,
            revision: 1,
        }
    }
}

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is tried, or tried again.
    Waiting,
    /// The receiver took it.
    Delivered,
    /// It was tried often enough. A person may have it tried again.
    Dead,
}

impl DeliveryState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Delivered, Self::Dead];

    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    /// The state of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// Which deliveries; newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct DeliveryFilter {
    /// This one alone.
    pub id: Option<DeliveryId>,
    pub state: Option<DeliveryState>,
    /// Those to one of these; empty for all.
    pub webhooks: Vec<WebhookId>,
    /// Only those older than this one.
    pub before: Option<DeliveryId>,
}

/// A delivery that this router alone may make now, with all it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct DueDelivery {
    /// Which; its revision is the one that the claim gave it.
    pub delivery: Delivery,
    /// What is sent.
    pub event: Event,
    /// Where to.
    pub webhook: Webhook,
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn event(kind: &'static str, model: Option<&str>) -> Event {
        Event {
            id: EventId::new(),
            at: OffsetDateTime::UNIX_EPOCH,
            kind: EventKind::of(kind),
            model: model.map(|model| model.parse().unwrap()),
            subject: String::new(),
            actor: String::new(),
            reason: String::new(),
            data: Value::Null,
        }
    }

    #[test]
    fn a_webhook_gets_what_it_asked_for_while_it_is_on() {
        let mut webhook = Webhook {
            id: WebhookId::new(),
            url: String::new(),
            description: String::new(),
            kinds: Vec::new(),
            models: Vec::new(),
            secret: WebhookSecret::new("whsec_hush"),
            enabled: true,
            disabled_because: None,
            revision: 1,
            created_by: String::new(),
            created_at: OffsetDateTime::UNIX_EPOCH,
        };
        assert!(!format!("{webhook:?}").contains("hush"));
        assert!(webhook.wants(&event("rollback", None)));
        webhook.kinds = vec!["rollout.".parse().unwrap(), "rollback".parse().unwrap()];
        assert!(webhook.wants(&event("rollback", None)));
        assert!(webhook.wants(&event("rollout.advanced", Some("iris"))));
        assert!(!webhook.wants(&event("route.changed", Some("iris"))));
        webhook.models = vec!["iris".parse().unwrap()];
        assert!(webhook.wants(&event("rollback", Some("iris"))));
        assert!(!webhook.wants(&event("rollback", Some("flights"))));
        assert!(!webhook.wants(&event("rollback", None)));
        webhook.enabled = false;
        assert!(!webhook.wants(&event("rollback", Some("iris"))));
    }
}
