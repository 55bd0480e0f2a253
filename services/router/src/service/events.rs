//! What is asked of events, webhooks and deliveries; and how what was done becomes an event.

use contracts::router::{
    ChangeWebhook, DeliveryPage, DeliveryQuery, EventPage, EventQuery, NewWebhook, ShownWebhook,
    WebhookList, WebhookTested, WebhookView,
};
use contracts::{ApiError, Call, Done, ErrorCode, Faults};
use domain::event::kinds;
use domain::{
    Delivery, DeliveryFilter, DeliveryId, DeliveryState, Event, EventKind, KindPattern, ModelName,
    Principal, Role, Webhook, WebhookId, WebhookSecret,
};
use serde_json::{Value, json};

use super::Service;
use crate::error::RouterError;
use crate::events::{Sent, send, signature};

/// Events or deliveries of one answer at most.
const MOST: u32 = 1000;
/// Characters of a webhook's description at most.
const MOST_CHARS: usize = 500;
/// Kinds, and models, of one webhook at most.
const MOST_ITEMS: usize = 100;

/// The kind of event that an action on record is. An action that has none here is a kind itself, so
/// that none is missed.
fn kind_of(action: &'static str) -> &'static str {
    match action {
        "model.create" => "model.created",
        "version.create" => "version.registered",
        "version.load" => "version.loaded",
        "version.unload" => "version.unloaded",
        "alias.set" => "alias.changed",
        "route.put" => "route.changed",
        "policy.put" => "policy.changed",
        other => other,
    }
}

fn no_such_kind(kind: &KindPattern) -> String {
    let kind = kind.as_str();
    format!(
        "`{kind}` is no kind of event, nor a group of them with a dot at its end, such as `route.`"
    )
}

/// Whether it is a kind of event, or a group of kinds.
fn is_known(kind: &str) -> bool {
    let fits = |known: &EventKind| match kind.ends_with('.') {
        true => known.as_str().starts_with(kind),
        false => known.as_str() == kind,
    };
    kinds::ALL.iter().any(fits)
}

impl Service {
    /// Tells of a change of a model: an event for all who listen, an entry of the audit trail.
    pub(super) async fn tell_of_change(
        &self,
        call: &Call,
        model: &ModelName,
        change: runtime::audit::Change,
    ) {
        let by = call.principal.as_ref().map_or("", |caller| caller.name.as_str());
        let (kind, data) = (kind_of(change.action), before_and_after(&change));
        self.tell(kind, model, &change.target, by, &change.reason, data).await;
        self.deps.recorder.done(call, change).await;
    }

    async fn tell_of_webhook(
        &self,
        call: &Call,
        (action, kind): (&'static str, EventKind),
        id: WebhookId,
        before: Option<&Webhook>,
        after: Option<&Webhook>,
    ) {
        let shown = |webhook: Option<&Webhook>| webhook.map_or(Value::Null, shown);
        let change = runtime::audit::Change {
            action,
            target: format!("webhook:{id}"),
            reason: String::new(),
            before: shown(before),
            after: shown(after),
        };
        let by = call.principal.as_ref().map_or("", |caller| caller.name.as_str());
        self.bus.publish(Event {
            subject: change.target.clone(),
            data: before_and_after(&change),
            ..self.bus.event(kind, by)
        });
        self.deps.recorder.done(call, change).await;
    }

    pub(super) async fn list_events(
        &self,
        call: &Call,
        query: EventQuery,
    ) -> Result<EventPage, ApiError> {
        let caller = call.require(&[Role::Analyst])?;
        let EventQuery { mut filter, limit } = query;
        check_limit(limit)?;
        for model in &filter.models {
            call.require_model(model)?;
            self.existing_model(model).await?;
        }
        if let Some(kind) = filter.kind.as_ref().filter(|kind| !is_known(kind.as_str())) {
            return Err(ApiError::at("#/kind", no_such_kind(kind)));
        }
        if filter.models.is_empty() {
            filter.models = caller.scope.models.iter().cloned().collect();
        }
        let store = &self.deps.relational.events;
        let mut events = store.page(&filter, limit).await.map_err(RouterError::from)?;
        let whole = u32::try_from(events.len()).is_ok_and(|count| count == limit);
        let next = events.last().filter(|_| whole).map(|last| last.place);
        let shown = |model: &ModelName| self.table.shows_versions(model, Some(caller.role));
        events.retain(|placed| placed.event.model.as_ref().is_none_or(shown));
        Ok(EventPage { events, next })
    }

    pub(super) async fn list_webhooks(&self, call: &Call) -> Result<WebhookList, ApiError> {
        let caller = call.require(&[Role::Engineer])?;
        let mut webhooks = self.all_webhooks().await?;
        webhooks.retain(|webhook| may_touch(caller, &webhook.models));
        Ok(WebhookList { webhooks: webhooks.into_iter().map(WebhookView::from).collect() })
    }

    pub(super) async fn make_webhook(
        &self,
        call: &Call,
        request: NewWebhook,
    ) -> Result<ShownWebhook, ApiError> {
        let caller = call.require(&[Role::Engineer])?;
        let secret = match request.secret {
            Some(secret) => {
                let secret = WebhookSecret::new(secret);
                if signature::key(&secret).is_none() {
                    let must_be = "must be `whsec_` and 24 to 64 bytes in base64: leave it out to have one made";
                    return Err(ApiError::at("#/secret", must_be));
                }
                secret
            }
            None => new_secret()?,
        };
        let webhook = Webhook {
            id: WebhookId::new(),
            url: request.url,
            description: request.description,
            kinds: request.kinds,
            models: request.models,
            secret,
            enabled: true,
            disabled_because: None,
            revision: 1,
            created_by: caller.name.clone(),
            created_at: self.deps.clock.now(),
        };
        self.check_webhook(caller, &webhook, true).await?;
        let limit = self.settings.events.max_webhooks;
        if self.all_webhooks().await?.len() >= limit {
            let why = format!(
                "there are {limit} webhooks, as many as `router.events.max_webhooks` allows: remove one first"
            );
            return Err(ApiError::new(ErrorCode::Conflict, why));
        }
        let store = &self.deps.relational.events;
        store.put_webhook(webhook.clone()).await.map_err(RouterError::from)?;
        self.tell_of_webhook(call, CREATED, webhook.id, None, Some(&webhook)).await;
        let secret = webhook.secret.reveal().to_owned();
        Ok(ShownWebhook { secret, webhook: webhook.into() })
    }

    pub(super) async fn alter_webhook(
        &self,
        call: &Call,
        request: ChangeWebhook,
    ) -> Result<WebhookView, ApiError> {
        let caller = call.require(&[Role::Engineer])?;
        let ChangeWebhook { id, change } = request;
        let before = self.webhook(caller, id).await?;
        if let Some(expected) = change.revision
            && expected != before.revision
        {
            let why = format!(
                "webhook `{id}` is at revision {}, not {expected}: read it again",
                before.revision
            );
            return Err(ApiError::new(ErrorCode::Conflict, why));
        }
        let enabled = change.enabled.unwrap_or(before.enabled);
        let moved = change.url.is_some();
        let after = Webhook {
            url: change.url.unwrap_or_else(|| before.url.clone()),
            description: change.description.unwrap_or_else(|| before.description.clone()),
            kinds: change.kinds.unwrap_or_else(|| before.kinds.clone()),
            models: change.models.unwrap_or_else(|| before.models.clone()),
            enabled,
            disabled_because: before.disabled_because.clone().filter(|_| !enabled),
            revision: before.revision + 1,
            ..before.clone()
        };
        self.check_webhook(caller, &after, moved).await?;
        let store = &self.deps.relational.events;
        store.put_webhook(after.clone()).await.map_err(RouterError::from)?;
        self.tell_of_webhook(call, CHANGED, id, Some(&before), Some(&after)).await;
        self.bus.look_for_deliveries();
        Ok(after.into())
    }

    pub(super) async fn drop_webhook(&self, call: &Call, id: WebhookId) -> Result<Done, ApiError> {
        let caller = call.require(&[Role::Engineer])?;
        let before = self.webhook(caller, id).await?;
        let store = &self.deps.relational.events;
        store.remove_webhook(id).await.map_err(RouterError::from)?;
        self.tell_of_webhook(call, REMOVED, id, Some(&before), None).await;
        Ok(Done {})
    }

    pub(super) async fn try_webhook(
        &self,
        call: &Call,
        id: WebhookId,
    ) -> Result<WebhookTested, ApiError> {
        let caller = call.require(&[Role::Engineer])?;
        let webhook = self.webhook(caller, id).await?;
        let event = Event {
            subject: format!("webhook:{id}"),
            reason: "a test: nothing happened".to_owned(),
            ..self.bus.event(kinds::WEBHOOK_TEST, &caller.name)
        };
        let (settings, deps) = (&self.settings.events, &self.deps);
        let sent = send(settings, &*deps.outbound, &*deps.clock, &event, &webhook).await;
        let Sent { status, error } = sent;
        Ok(WebhookTested { delivered: error.is_none(), status, error })
    }

    pub(super) async fn list_deliveries(
        &self,
        call: &Call,
        query: DeliveryQuery,
    ) -> Result<DeliveryPage, ApiError> {
        let caller = call.require(&[Role::Engineer])?;
        let DeliveryQuery { mut filter, limit } = query;
        check_limit(limit)?;
        if !caller.scope.models.is_empty() {
            let mut mine = self.all_webhooks().await?;
            mine.retain(|webhook| may_touch(caller, &webhook.models));
            let mine: Vec<WebhookId> = mine.into_iter().map(|webhook| webhook.id).collect();
            let wanted =
                |id: &WebhookId| filter.webhooks.is_empty() || filter.webhooks.contains(id);
            let mine: Vec<WebhookId> = mine.into_iter().filter(wanted).collect();
            if mine.is_empty() {
                return Ok(DeliveryPage { deliveries: Vec::new(), next: None });
            }
            filter.webhooks = mine;
        }
        let store = &self.deps.relational.events;
        let deliveries = store.deliveries(&filter, limit).await.map_err(RouterError::from)?;
        let whole = u32::try_from(deliveries.len()).is_ok_and(|count| count == limit);
        let next = deliveries.last().filter(|_| whole).map(|last| last.id);
        Ok(DeliveryPage { deliveries, next })
    }

    pub(super) async fn revive_delivery(
        &self,
        call: &Call,
        id: DeliveryId,
    ) -> Result<Delivery, ApiError> {
        let caller = call.require(&[Role::Engineer])?;
        let none = || ApiError::new(ErrorCode::NotFound, format!("there is no delivery `{id}`"));
        let store = &self.deps.relational.events;
        let filter = DeliveryFilter { id: Some(id), ..DeliveryFilter::default() };
        let found = store.deliveries(&filter, 1).await.map_err(RouterError::from)?;
        let before = found.into_iter().next().ok_or_else(none)?;
        let webhook = self.webhook(caller, before.webhook_id).await.map_err(|_unseen| none())?;
        if before.state != DeliveryState::Dead {
            let why = format!(
                "delivery `{id}` is `{}`: only one that is `dead` is tried again by hand",
                before.state.as_str()
            );
            return Err(ApiError::new(ErrorCode::Conflict, why));
        }
        if !webhook.enabled {
            let why = format!(
                "webhook `{}` is off: switch it on first with `PATCH /api/v1/webhooks/{}`",
                webhook.id, webhook.id
            );
            return Err(ApiError::new(ErrorCode::Conflict, why));
        }
        let after = Delivery {
            state: DeliveryState::Waiting,
            attempts: 0,
            next_at: self.deps.clock.now(),
            ended_at: None,
            revision: before.revision + 1,
            ..before.clone()
        };
        store.put_delivery(after.clone()).await.map_err(RouterError::from)?;
        // On record, but no event: that would be sent to the very receiver that took none.
        let change = runtime::audit::Change {
            action: "delivery.retry",
            target: format!("webhook:{}", webhook.id),
            reason: String::new(),
            before: json!(before),
            after: json!(after),
        };
        self.deps.recorder.done(call, change).await;
        self.bus.look_for_deliveries();
        Ok(after)
    }

    async fn all_webhooks(&self) -> Result<Vec<Webhook>, ApiError> {
        Ok(self.deps.relational.events.webhooks().await.map_err(RouterError::from)?)
    }

    /// One webhook that the caller may touch. There are few, so all are read.
    async fn webhook(&self, caller: &Principal, id: WebhookId) -> Result<Webhook, ApiError> {
        let mut all = self.all_webhooks().await?.into_iter();
        let found = all.find(|webhook| webhook.id == id && may_touch(caller, &webhook.models));
        found.ok_or_else(|| {
            let why = format!("there is no webhook `{id}`: `GET /api/v1/webhooks` lists them");
            ApiError::new(ErrorCode::NotFound, why)
        })
    }

    async fn check_webhook(
        &self,
        caller: &Principal,
        webhook: &Webhook,
        moved: bool,
    ) -> Result<(), ApiError> {
        if !may_touch(caller, &webhook.models) {
            let why = format!(
                "`{}` may make webhooks for its own models only: name some of them in `models`",
                caller.name
            );
            return Err(ApiError::new(ErrorCode::Forbidden, why));
        }
        let mut faults = Faults::default();
        if webhook.description.chars().count() > MOST_CHARS {
            faults.add("#/description", format!("must have at most {MOST_CHARS} characters"));
        }
        for (pointer, count) in
            [("#/kinds", webhook.kinds.len()), ("#/models", webhook.models.len())]
        {
            if count > MOST_ITEMS {
                faults.add(pointer, format!("must hold at most {MOST_ITEMS}, got {count}"));
            }
        }
        for (index, kind) in webhook.kinds.iter().enumerate() {
            if !is_known(kind.as_str()) {
                faults.add(format!("#/kinds/{index}"), no_such_kind(kind));
            }
        }
        for (index, model) in webhook.models.iter().enumerate() {
            if let Err(error) = self.existing_model(model).await {
                faults.add(format!("#/models/{index}"), error.message);
            }
        }
        if moved && let Err(error) = self.deps.outbound.check(&webhook.url).await {
            faults.add("#/url", error.to_string());
        }
        faults.check()
    }
}

const CREATED: (&str, EventKind) = ("webhook.create", kinds::WEBHOOK_CREATED);
const CHANGED: (&str, EventKind) = ("webhook.change", kinds::WEBHOOK_CHANGED);
const REMOVED: (&str, EventKind) = ("webhook.remove", kinds::WEBHOOK_REMOVED);

/// What changed, as an event has it.
fn before_and_after(change: &runtime::audit::Change) -> Value {
    match (&change.before, &change.after) {
        (Value::Null, after) => json!({"after": after}),
        (before, Value::Null) => json!({"before": before}),
        (before, after) => json!({"before": before, "after": after}),
    }
}

/// Whether a webhook for these models is the caller's business: none but its own are among them.
fn may_touch(caller: &Principal, models: &[ModelName]) -> bool {
    let scope = &caller.scope;
    scope.models.is_empty()
        || (!models.is_empty() && models.iter().all(|model| scope.has_model(model)))
}

/// A webhook as events and the audit trail have it: a URL's path may be a secret.
fn shown(webhook: &Webhook) -> Value {
    let (scheme, rest) = webhook.url.split_once("://").unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    json!({
        "url": format!("{scheme}://{host}/..."),
        "description": webhook.description,
        "kinds": webhook.kinds,
        "models": webhook.models,
        "enabled": webhook.enabled,
        "revision": webhook.revision,
    })
}

fn check_limit(limit: u32) -> Result<(), ApiError> {
    if (1..=MOST).contains(&limit) {
        return Ok(());
    }
    let why = format!("query: `limit` must be 1 to {MOST}, got `{limit}`");
    Err(ApiError::new(ErrorCode::Unprocessable, why))
}

fn new_secret() -> Result<WebhookSecret, ApiError> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| {
        tracing::error!(%error, "the system gives no random bytes");
        ApiError::internal()
    })?;
    Ok(signature::secret(&key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_of_what_is_on_record_are_known_ones() {
        for action in [
            "model.create",
            "version.create",
            "version.load",
            "version.unload",
            "alias.set",
            "route.put",
            "policy.put",
        ] {
            assert!(kinds::ALL.contains(&EventKind::of(kind_of(action))), "{action}");
        }
        assert_eq!(kind_of("rollback"), "rollback");
    }

    #[test]
    fn what_is_told_of_a_webhook_is_its_host_and_no_secret() {
        for (url, told) in [
            ("https://hooks.example.com/T000/hush", "https://hooks.example.com/..."),
            ("https://h:8443?token=hush", "https://h:8443/..."),
            ("http://h#hush", "http://h/..."),
        ] {
            let webhook = Webhook {
                id: WebhookId::new(),
                url: url.to_owned(),
                description: String::new(),
                kinds: Vec::new(),
                models: Vec::new(),
                secret: WebhookSecret::new("whsec_hush"),
                enabled: true,
                disabled_because: None,
                revision: 1,
                created_by: String::new(),
                created_at: time::OffsetDateTime::UNIX_EPOCH,
            };
            let shown = shown(&webhook);
            assert_eq!(shown["url"], told);
            assert!(!shown.to_string().contains("hush"), "{shown}");
        }
    }
}
