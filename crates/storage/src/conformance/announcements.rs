//! [`Announcements`].

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Outcome, fresh, odd_texts};
use crate::ports::{Announcements, Heard, Listener};

/// How soon an announcement is heard.
const SOON: Duration = Duration::from_secs(1);

/// One door: it hears itself, in order, odd topics too, and nothing from before it listened.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn announcements(port: &dyn Announcements) -> Outcome {
    let mut listener = port.listen();
    settle(port, &mut listener).await?;

    let topics: Vec<String> = (0..100).map(|_| fresh("topic")).collect();
    for topic in &topics {
        port.announce(topic).await?;
    }
    for topic in &topics {
        assert!(heard(&mut listener, topic).await, "`{topic}` is not heard in its turn");
    }
    for topic in odd_texts() {
        port.announce(&topic).await?;
        let start: String = topic.chars().take(40).collect();
        assert!(heard(&mut listener, &topic).await, "`{start}` is not heard");
    }

    let (early, late) = (fresh("early"), fresh("late"));
    port.announce(&early).await?;
    assert!(heard(&mut listener, &early).await);
    let mut second = port.listen();
    port.announce(&late).await?;
    let mut topics = Vec::new();
    while let Ok(heard) = timeout(SOON, second.next()).await {
        if let Heard::Topic(topic) = heard {
            topics.push(topic);
        }
        if topics.last().is_some_and(|topic| **topic == *late) {
            break;
        }
    }
    let hears = |wanted: &str| topics.iter().any(|topic| **topic == *wanted);
    assert!(hears(&late), "`{late}` is not heard by who came second");
    assert!(!hears(&early), "`{early}` is heard from before");
    Ok(())
}

/// Two doors: what one announces, all listeners of both hear, also when many announce at once and
/// when another listener is gone.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn announcements_by_two(
    first: &dyn Announcements,
    second: &dyn Announcements,
) -> Outcome {
    let mut gone = second.listen();
    let mut listeners = [first.listen(), second.listen(), second.listen()];
    settle(first, &mut gone).await?;
    for listener in &mut listeners {
        settle(second, listener).await?;
    }
    for port in [first, second] {
        let topic = fresh("Grüße 漢字 🦀");
        port.announce(&topic).await?;
        for listener in &mut listeners {
            assert!(heard(listener, &topic).await, "`{topic}` is not heard by all");
        }
    }

    drop(gone);
    let topics: Vec<String> = (0..50).map(|_| fresh("contested")).collect();
    let tries = topics.iter().enumerate().map(|(number, topic)| {
        let port = if number % 2 == 0 { first } else { second };
        port.announce(topic)
    });
    for outcome in join_all(tries).await {
        outcome?;
    }
    for listener in &mut listeners {
        let mut missing = topics.clone();
        let deadline = Instant::now() + SOON;
        while !missing.is_empty()
            && let Ok(heard) = timeout_at(deadline, listener.next()).await
        {
            if let Heard::Topic(topic) = heard {
                missing.retain(|known| **known != *topic);
            }
        }
        assert!(missing.is_empty(), "not heard: {missing:?}");
    }
    Ok(())
}

/// Whether the topic is heard within a second.
pub async fn heard(listener: &mut Listener, topic: &str) -> bool {
    let deadline = Instant::now() + SOON;
    while let Ok(heard) = timeout_at(deadline, listener.next()).await {
        if matches!(heard, Heard::Topic(found) if *found == *topic) {
            return true;
        }
    }
    false
}

/// Waits until the listener is connected.
async fn settle(port: &dyn Announcements, listener: &mut Listener) -> Outcome {
    let topic = fresh("settle");
    let mut tries = 0..10;
    loop {
        assert!(tries.next().is_some(), "nothing is heard after ten seconds");
        port.announce(&topic).await?;
        if heard(listener, &topic).await {
            return Ok(());
        }
    }
}
