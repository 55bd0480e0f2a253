//! [`Events`].

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a suite fails by panicking, also where something is missing"
)]

use std::collections::HashSet;
use std::time::Duration;

use domain::{
    Delivery, DeliveryFilter, DeliveryState, Event, EventFilter, EventId, EventKind, ModelName,
    Webhook, WebhookId, WebhookSecret,
};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::registry::model_name;
use super::{Outcome, assert_conflict, assert_not_found, moment, odd_texts};
use crate::ports::Events;

/// How long a claim lasts here.
const LEASE: Duration = Duration::from_secs(30);

/// Append, read in order, search; webhooks; deliveries from the first try to the last; forgetting.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn events(port: &dyn Events) -> Outcome {
    log(port).await?;
    webhooks(port).await?;
    deliveries(port).await?;
    forgetting(port).await
}

async fn log(port: &dyn Events) -> Outcome {
    port.append(&[], moment(-1_000_000)).await?;
    let (model, other) = (model_name("event")?, model_name("other")?);
    let one = |kind, model: Option<&ModelName>, second| Event {
        model: model.cloned(),
        at: moment(second),
        ..event(kind)
    };
    let added = [
        one("rollout.started", Some(&model), 0),
        one("rollouts.none", Some(&model), 1),
        one("rollback", None, 2),
        one("rollout.advanced", Some(&other), 3),
        // Later, of an earlier moment: places are in the order of adding.
        one("route.changed", Some(&model), -9),
    ];
    add(port, &added[..2]).await?;
    // Again, with more: what is there is passed over.
    add(port, &added).await?;
    let newest = EventFilter { newest_before: Some(u64::MAX), ..EventFilter::default() };
    let back = port.page(&newest, 5).await?;
    let expected: Vec<&Event> = added.iter().rev().collect();
    assert_eq!(back.iter().map(|placed| &placed.event).collect::<Vec<_>>(), expected);
    assert!(back.is_sorted_by(|a, b| a.place > b.place), "places fall");

    let first = back.last().map_or(0, |placed| placed.place);
    let after = EventFilter { after: first - 1, ..EventFilter::default() };
    let seen = async |filter: &EventFilter, limit| {
        let page = port.page(filter, limit).await?;
        Ok::<_, crate::StoreError>(page.into_iter().map(|placed| placed.event).collect::<Vec<_>>())
    };
    assert_eq!(seen(&after, 100).await?, added);
    assert_eq!(seen(&after, 2).await?, added[..2]);
    let kinds = async |text: &str| {
        let kind = Some(text.parse().unwrap_or_else(|error| panic!("{error}")));
        seen(&EventFilter { kind, ..after.clone() }, 100).await
    };
    assert_eq!(kinds("rollout.").await?, [added[0].clone(), added[3].clone()]);
    assert_eq!(kinds("rollback").await?, [added[2].clone()]);
    assert_eq!(kinds("rollout").await?, []);
    let models = async |models: &[&ModelName]| {
        let models = models.iter().map(|model| (*model).clone()).collect();
        seen(&EventFilter { models, ..after.clone() }, 100).await
    };
    assert_eq!(models(&[&other]).await?, [added[3].clone()]);
    assert_eq!(models(&[&other, &model]).await?.len(), 4);
    let between = EventFilter { from: Some(moment(1)), to: Some(moment(3)), ..after.clone() };
    assert_eq!(seen(&between, 100).await?, added[1..3]);
    assert_eq!(seen(&EventFilter { after: u64::MAX, ..after.clone() }, 100).await?, []);

    for text in odd_texts() {
        let odd = Event {
            subject: text.clone(),
            actor: text.clone(),
            reason: text.clone(),
            data: json!({"before": text, "list": [0.1, null]}),
            ..event("odd.text")
        };
        add(port, std::slice::from_ref(&odd)).await?;
        let last = port.page(&newest, 1).await?;
        assert_eq!(last.first().map(|placed| &placed.event), Some(&odd));
    }
    Ok(())
}

async fn webhooks(port: &dyn Events) -> Outcome {
    let mut one = webhook(&[], &[]);
    port.put_webhook(one.clone()).await?;
    assert_conflict(port.put_webhook(one.clone()).await);
    one.revision = 3;
    assert_conflict(port.put_webhook(one.clone()).await);
    (one.revision, one.enabled) = (2, false);
    one.description = odd_texts().concat();
    port.put_webhook(one.clone()).await?;
    let mut two = webhook(&["rollout.", "rollback"], &[model_name("event")?]);
    two.enabled = false;
    port.put_webhook(two.clone()).await?;
    let all = port.webhooks().await?;
    assert!(all.contains(&one) && all.contains(&two));
    assert!(all.is_sorted_by_key(|webhook| webhook.id), "webhooks are not by age");
    for webhook in [&one, &two] {
        port.remove_webhook(webhook.id).await?;
        assert_not_found(port.remove_webhook(webhook.id).await);
    }
    assert_conflict(port.put_webhook(Webhook { revision: 3, ..one }).await);
    Ok(())
}

async fn deliveries(port: &dyn Events) -> Outcome {
    let model = model_name("event")?;
    let mine = webhook(&["rollout."], std::slice::from_ref(&model));
    let off = Webhook { enabled: false, ..webhook(&[], std::slice::from_ref(&model)) };
    port.put_webhook(mine.clone()).await?;
    port.put_webhook(off.clone()).await?;
    let of_mine = DeliveryFilter { webhooks: vec![mine.id], ..DeliveryFilter::default() };
    let happened =
        |kind, second| Event { model: Some(model.clone()), at: moment(second), ..event(kind) };
    let (first, second) = (happened("rollout.started", 10), happened("rollout.advanced", 11));
    let all = [first.clone(), happened("route.changed", 12), second.clone(), event("rollout.x")];
    add(port, &all).await?;
    add(port, &all).await?;
    let listed = port.deliveries(&of_mine, 100).await?;
    assert_eq!(listed.iter().map(|one| one.event_id).collect::<Vec<_>>(), [second.id, first.id]);
    assert!(listed.iter().all(|one| one.state == DeliveryState::Waiting && one.attempts == 0));
    let off_too = DeliveryFilter { webhooks: vec![off.id], ..DeliveryFilter::default() };
    assert_eq!(port.deliveries(&off_too, 100).await?, []);

    // Not before its time; then the one that waits longest; then none until the lease ends.
    assert_eq!(claimed(port, &mine, 9, 10).await?, []);
    let due = claimed(port, &mine, 20, 1).await?;
    let [due_first] = due.as_slice() else { panic!("{due:?}") };
    assert_eq!((&due_first.event, &due_first.webhook), (&first, &mine));
    assert_eq!(due_first.delivery.next_at, moment(20) + LEASE);
    let due = claimed(port, &mine, 20, 10).await?;
    assert_eq!(due.iter().map(|due| due.event.id).collect::<Vec<_>>(), [second.id]);
    assert_eq!(claimed(port, &mine, 49, 10).await?, []);

    // It failed: again later.
    let mut delivery = due_first.delivery.clone();
    (delivery.revision, delivery.attempts) = (delivery.revision + 1, 1);
    (delivery.last_status, delivery.last_error) = (Some(500), Some("\0 odd é".to_owned()));
    delivery.next_at = moment(100);
    port.put_delivery(delivery.clone()).await?;
    assert_conflict(port.put_delivery(delivery.clone()).await);
    let by_id = DeliveryFilter { id: Some(delivery.id), ..DeliveryFilter::default() };
    assert_eq!(port.deliveries(&by_id, 9).await?, [delivery.clone()]);

    // Whoever held the second one too long lost it.
    let late = due.into_iter().map(|due| due.delivery).next();
    let again = claimed(port, &mine, 50, 10).await?;
    assert_eq!(again.iter().map(|due| due.event.id).collect::<Vec<_>>(), [second.id]);
    if let Some(late) = late {
        let late = Delivery { revision: late.revision + 1, ..late };
        assert_conflict(port.put_delivery(late).await);
    }

    // Given up, it is not due, but there; a person may have it tried again.
    let revision = delivery.revision + 1;
    let dead = Delivery { state: DeliveryState::Dead, revision, ..delivery };
    port.put_delivery(dead.clone()).await?;
    assert_eq!(claimed(port, &mine, 1000, 1).await?.len(), 1, "the second one alone");
    assert_eq!(claimed(port, &mine, 1000, 10).await?, []);
    let of_dead = DeliveryFilter { state: Some(DeliveryState::Dead), ..of_mine.clone() };
    assert_eq!(port.deliveries(&of_dead, 9).await?, std::slice::from_ref(&dead));
    let older = DeliveryFilter { before: listed.first().map(|one| one.id), ..of_mine.clone() };
    assert_eq!(port.deliveries(&older, 9).await?, std::slice::from_ref(&dead));
    assert_eq!(port.deliveries(&of_mine, 1).await?.len(), 1);
    let waiting = Delivery { state: DeliveryState::Waiting, revision: revision + 1, ..dead };
    port.put_delivery(waiting).await?;

    // A webhook that is off gets nothing, until it is on again.
    let off = Webhook { enabled: false, revision: 2, ..mine.clone() };
    port.put_webhook(off).await?;
    assert_eq!(claimed(port, &mine, 2000, 10).await?, []);
    let on = Webhook { revision: 3, ..mine.clone() };
    port.put_webhook(on.clone()).await?;
    assert_eq!(claimed(port, &on, 2000, 10).await?.len(), 2);
    port.remove_webhook(mine.id).await?;
    assert_eq!(port.deliveries(&of_mine, 9).await?, []);
    assert_eq!(claimed(port, &mine, 9000, 10).await?, []);
    Ok(())
}

async fn forgetting(port: &dyn Events) -> Outcome {
    let model = model_name("event")?;
    let only = std::slice::from_ref(&model);
    let of_model = EventFilter { models: vec![model.clone()], ..EventFilter::default() };
    let old = |kind| Event { model: Some(model.clone()), at: moment(-900_000), ..event(kind) };
    let hook = webhook(&["rollout."], only);
    port.put_webhook(hook.clone()).await?;
    let (waits, goes) = (old("rollout.started"), old("route.changed"));
    add(port, &[waits.clone(), goes]).await?;
    let last = port.page(&of_model, 9).await?.last().map_or(0, |placed| placed.place);
    port.append(&[], moment(-800_000)).await?;
    let kept = port.page(&of_model, 9).await?;
    assert_eq!(kept.iter().map(|one| &one.event).collect::<Vec<_>>(), [&waits]);
    for due in claimed(port, &hook, -800_000, 9).await? {
        let (state, revision) = (DeliveryState::Delivered, due.delivery.revision + 1);
        port.put_delivery(Delivery { state, revision, ..due.delivery }).await?;
    }
    port.append(&[], moment(-800_000)).await?;
    assert_eq!(port.page(&of_model, 9).await?, []);
    let of_hook = DeliveryFilter { webhooks: vec![hook.id], ..DeliveryFilter::default() };
    assert_eq!(port.deliveries(&of_hook, 9).await?, []);
    // A place is never given twice.
    add(port, &[Event { at: moment(0), ..old("route.changed") }]).await?;
    let next = port.page(&of_model, 9).await?;
    assert!(next.iter().all(|placed| placed.place > last) && next.len() == 1);
    port.remove_webhook(hook.id).await
}

/// Many add, and many claim, at once, through two doors: each event has one place and is given to one
/// claimer.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn events_by_two(first: &dyn Events, second: &dyn Events) -> Outcome {
    const EACH: usize = 20;
    let ports = [first, second];
    let model = model_name("contested")?;
    let hook = webhook(&[], std::slice::from_ref(&model));
    first.put_webhook(hook.clone()).await?;
    let adding = (0..EACH * 2).map(|number| {
        let port = ports[number % 2];
        let one = Event { model: Some(model.clone()), ..event("rollout.x") };
        async move { add(port, &[one]).await }
    });
    // A reader who goes on from the last place misses none.
    let reading = async {
        let mut filter = EventFilter { models: vec![model.clone()], ..EventFilter::default() };
        let mut seen = Vec::new();
        while seen.len() < EACH * 2 {
            let page = second.page(&filter, 3).await?;
            filter.after = page.last().map_or(filter.after, |placed| placed.place);
            seen.extend(page.into_iter().map(|placed| placed.event.id));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok::<_, crate::StoreError>(seen)
    };
    let limit = Duration::from_secs(60);
    let (added, seen) = tokio::join!(join_all(adding), tokio::time::timeout(limit, reading));
    added.into_iter().collect::<Result<(), _>>()?;
    let seen = seen.unwrap_or_else(|_elapsed| panic!("a reader missed an event"))?;
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), EACH * 2);

    let mut given = HashSet::new();
    // One who comes second may get less than there is, but the next one gets it.
    while given.len() < EACH * 2 {
        let claims = (0..6).map(|number| claimed(ports[number % 2], &hook, 5000, 4));
        let before = given.len();
        for claim in join_all(claims).await {
            for due in claim? {
                assert!(given.insert(due.delivery.id), "{} was given twice", due.delivery.id);
            }
        }
        assert!(given.len() > before, "nothing was given");
    }
    assert_eq!(claimed(second, &hook, 5000, 4).await?, []);
    first.remove_webhook(hook.id).await
}

/// What is claimed for this webhook; what else is due stays as it is only if there is none: suites
/// leave no webhook behind.
async fn claimed(
    port: &dyn Events,
    webhook: &Webhook,
    second: i64,
    limit: u32,
) -> Result<Vec<domain::DueDelivery>, crate::StoreError> {
    let due = port.claim(moment(second), LEASE, limit).await?;
    assert!(due.iter().all(|due| due.webhook.id == webhook.id));
    Ok(due)
}

async fn add(port: &dyn Events, events: &[Event]) -> Outcome {
    port.append(events, moment(-1_000_000)).await
}

fn event(kind: &'static str) -> Event {
    Event {
        id: EventId::new(),
        at: moment(0),
        kind: EventKind::of(kind),
        model: None,
        subject: "model:iris".to_owned(),
        actor: "anna".to_owned(),
        reason: String::new(),
        data: Value::Null,
    }
}

fn webhook(kinds: &[&str], models: &[ModelName]) -> Webhook {
    let kind = |text: &&str| text.parse().unwrap_or_else(|error| panic!("{error}"));
    Webhook {
        id: WebhookId::new(),
        url: "https://example.com/hook".to_owned(),
        description: String::new(),
        kinds: kinds.iter().map(kind).collect(),
        models: models.to_vec(),
        secret: WebhookSecret::new("whsec_c2VjcmV0"),
        enabled: true,
        disabled_because: None,
        revision: 1,
        created_by: "anna".to_owned(),
        created_at: moment(0),
    }
}
