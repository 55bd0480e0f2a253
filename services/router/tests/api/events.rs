//! The bus, when the store is down, full of odd things, or takes its time.

use std::sync::Arc;
use std::time::Duration;

use domain::event::kinds;
use domain::{Event, EventFilter};
use router::EventSettings;
use router::events::Bus;
use runtime::{Process, SystemClock};
use serde_json::json;
use testkit::{PrivateServer, until};

use super::settings;

const LIMIT: Duration = Duration::from_secs(30);

fn small() -> EventSettings {
    let folder = tempfile::tempdir().unwrap();
    EventSettings { queue: 5, ..settings(&folder).events }
}

fn bus(store: &storage::Relational) -> Arc<Bus> {
    Arc::new(Bus::new(small(), Arc::clone(&store.events), Arc::new(SystemClock)))
}

fn happened(bus: &Bus, subject: &str) -> Event {
    let data = json!({"before": 1, "after": 2});
    Event { subject: subject.to_owned(), data, ..bus.event(kinds::ROUTE_CHANGED, "anna") }
}

async fn stored(store: &storage::Relational, count: usize) -> Vec<Event> {
    let all = EventFilter::default();
    let page = || async {
        let page = store.events.page(&all, 100).await.ok()?;
        (page.len() >= count).then_some(page)
    };
    let page = until("the events are stored", LIMIT, page).await;
    page.into_iter().map(|placed| placed.event).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_down_delays_nobody_and_gets_what_waits_when_it_is_back() {
    let mut server = PrivateServer::postgres().await;
    server.stop().await;
    let (store, opening) = storage::deferred::relational(server.url()).await.unwrap();
    let bus = bus(&store);
    let process = Process::default();
    process.spawn(opening);
    let writer = Arc::clone(&bus);
    process.spawn_until_stop(|stop| writer.write(stop));

    let events: Vec<Event> = (0..7).map(|number| happened(&bus, &number.to_string())).collect();
    let began = std::time::Instant::now();
    events.iter().for_each(|event| bus.publish(event.clone()));
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
    assert_eq!(bus.waiting(), 5, "two more than `router.events.queue` are lost");

    server.start_again().await;
    assert_eq!(stored(&store, 5).await, events[..5]);
    until("none waits", LIMIT, || async { (bus.waiting() == 0).then_some(()) }).await;
    // And again, in the middle of its life.
    server.stop().await;
    bus.publish(happened(&bus, "while it was down"));
    assert_eq!(bus.waiting(), 1);
    server.start_again().await;
    let all = stored(&store, 6).await;
    assert_eq!(all.last().unwrap().subject, "while it was down");
    assert!(process.stop(LIMIT).await);
}

#[tokio::test]
async fn what_waits_at_the_stop_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("r.db").display());
    let store = storage::relational(&url).await.unwrap();
    let bus = bus(&store);
    let process = Process::default();
    bus.publish(happened(&bus, "last words"));
    let writer = Arc::clone(&bus);
    process.spawn_until_stop(|stop| writer.write(stop));
    assert!(process.stop(LIMIT).await);
    assert_eq!(stored(&store, 1).await[0].subject, "last words");
}

#[tokio::test]
async fn an_event_that_no_store_keeps_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("r.db").display());
    let store = storage::relational(&url).await.unwrap();
    let bus = bus(&store);
    let odd = Event {
        // No text of RFC 3339 has this year.
        at: time::macros::datetime!(-0044-03-15 12:00 UTC),
        ..happened(&bus, "odd")
    };
    bus.publish(odd);
    bus.publish(happened(&bus, "good"));
    let process = Process::default();
    let writer = Arc::clone(&bus);
    process.spawn_until_stop(|stop| writer.write(stop));
    let all = stored(&store, 1).await;
    assert_eq!((all.len(), all[0].subject.as_str()), (1, "good"));
    assert!(process.stop(LIMIT).await);
}
