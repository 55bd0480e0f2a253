//! Events, webhooks and deliveries, as the router tells them to others and to the public.

use domain::{
    Delivery, DeliveryFilter, EventFilter, KindPattern, ModelName, PlacedEvent, Webhook, WebhookId,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Which events, and how many at most.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EventQuery {
    /// Which.
    pub filter: EventFilter,
    /// At most, 1 to 1000.
    pub limit: u32,
}

/// Some events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// In the order that was asked for. What the caller may not see is left out.
    pub events: Vec<PlacedEvent>,
    /// Where to go on, as `after` or as `before`; absent at the end of what there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A webhook to be made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// Where events are posted: `http://` or `https://`, at a public address unless the setting
    /// `router.outbound.allow` names it.
    #[schema(example = "https://example.com/hooks/engine")]
    pub url: String,
    /// For people: what it is for.
    #[serde(default)]
    pub description: String,
    /// Which kinds it gets, `route.changed` or all of a group, `rollout.`; all, if it is left out.
    #[serde(default)]
    pub kinds: Vec<KindPattern>,
    /// Of which models; of all, if it is left out.
    #[serde(default)]
    pub models: Vec<ModelName>,
    /// What signs the events: `whsec_` and 24 to 64 bytes in base64. Made at random, if it is left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// A webhook, without its secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WebhookView {
    /// Names it.
    pub id: WebhookId,
    /// Where events are posted.
    pub url: String,
    /// For people.
    pub description: String,
    /// Which kinds it gets; empty for all.
    pub kinds: Vec<KindPattern>,
    /// Of which models; empty for all.
    pub models: Vec<ModelName>,
    /// Whether it gets anything.
    pub enabled: bool,
    /// Why it was switched off, if no person did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_because: Option<String>,
    /// Counts up by one with every change.
    pub revision: u32,
    /// Who made it.
    pub created_by: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: OffsetDateTime,
}

impl From<Webhook> for WebhookView {
    fn from(webhook: Webhook) -> Self {
        Self {
            id: webhook.id,
            url: webhook.url,
            description: webhook.description,
            kinds: webhook.kinds,
            models: webhook.models,
            enabled: webhook.enabled,
            disabled_because: webhook.disabled_because,
            revision: webhook.revision,
            created_by: webhook.created_by,
            created_at: webhook.created_at,
        }
    }
}

/// All webhooks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WebhookList {
    /// Oldest first.
    pub webhooks: Vec<WebhookView>,
}

/// A new webhook, the one time its secret is shown.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct ShownWebhook {
    /// What the receiver verifies signatures with.
    #[schema(example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]
    pub secret: String,
    /// The rest of it.
    pub webhook: WebhookView,
}

/// A webhook to be changed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ChangeWebhook {
    /// Which.
    pub id: WebhookId,
    /// What becomes of it.
    pub change: WebhookPatch,
}

/// What becomes of a webhook; what is left out stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookPatch {
    /// Another place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Other words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Other kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<KindPattern>>,
    /// Other models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<ModelName>>,
    /// On or off. What waits while it is off goes out when it is on again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The revision this change is based on; refused if another change came first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
}

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookTested {
    /// Whether the receiver took it: answered 200 to 299.
    pub delivered: bool,
    /// What it answered, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong, if something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Which deliveries, and how many at most.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeliveryQuery {
    /// Which.
    pub filter: DeliveryFilter,
    /// At most, 1 to 1000.
    pub limit: u32,
}

/// Some deliveries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryPage {
    /// Newest first.
    pub deliveries: Vec<Delivery>,
    /// Where to go on, as `before`; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<domain::DeliveryId>,
}
