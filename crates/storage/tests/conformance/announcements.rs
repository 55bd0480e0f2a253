//! Announcements, in memory and over Redis.

use std::time::{Duration, Instant};

use deadpool_redis::redis::{self, AsyncCommands as _};
use storage::conformance as suite;
use storage::ports::{Heard, Listener};
use storage::{Cache, StoreError};
use testkit::stores::{PrivateServer, shared_redis};
use tokio::time::timeout;

use crate::Outcome;

/// On which the database 0 announces.
const CHANNEL: &str = "decision-engine:0:announcements";

#[tokio::test]
async fn memory_does_what_the_port_promises() -> Outcome {
    let cache = storage::cache("memory://").await?;
    suite::announcements(&*cache.announcements).await?;
    suite::announcements_by_two(&*cache.announcements, &*cache.announcements).await?;
    cache.check().await
}

#[tokio::test]
async fn redis_does_what_the_port_promises() -> Outcome {
    let url = shared_redis().await;
    let (first, second) = (storage::cache(&url).await?, storage::cache(&url).await?);
    suite::announcements(&*first.announcements).await?;
    suite::announcements_by_two(&*first.announcements, &*second.announcements).await?;
    first.check().await
}

#[tokio::test]
async fn each_database_of_redis_announces_for_itself() -> Outcome {
    let url = shared_redis().await;
    let (first, second) = (storage::cache(&url).await?, storage::cache(&format!("{url}/1")).await?);
    let mut elsewhere = second.announcements.listen();
    hears_again(&second, &mut elsewhere).await;
    first.announcements.announce("elsewhere").await?;
    assert!(!suite::heard(&mut elsewhere, "elsewhere").await);
    Ok(())
}

#[tokio::test]
async fn after_a_restart_of_redis_it_is_heard_again() -> Outcome {
    let mut server = PrivateServer::redis().await;
    let (first, second) =
        (storage::cache(server.url()).await?, storage::cache(server.url()).await?);
    let mut listener = second.announcements.listen();
    hears_again(&first, &mut listener).await;
    server.stop().await;
    assert_unavailable(&first).await;
    server.start_again().await;
    misses_some(&mut listener).await;
    assert!(announces_again(&first).await);
    first.announcements.announce("after").await?;
    assert!(suite::heard(&mut listener, "after").await);
    first.check().await
}

#[tokio::test]
async fn redis_need_not_be_there_at_the_start() -> Outcome {
    let mut server = PrivateServer::redis().await;
    server.stop().await;
    let cache = storage::cache(server.url()).await?;
    let mut listener = cache.announcements.listen();
    assert_unavailable(&cache).await;
    server.start_again().await;
    misses_some(&mut listener).await;
    hears_again(&cache, &mut listener).await;
    cache.check().await
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_unavailable_within_two_seconds() -> Outcome {
    let server = PrivateServer::redis().await;
    let cache = storage::cache(server.url()).await?;
    let mut listener = cache.announcements.listen();
    hears_again(&cache, &mut listener).await;
    server.pause();
    // Long enough for the listener to find out that the silence is no peace.
    for _ in 0..2 {
        assert_unavailable(&cache).await;
    }
    server.resume();
    misses_some(&mut listener).await;
    hears_again(&cache, &mut listener).await;
    cache.check().await
}

#[tokio::test]
async fn the_listening_ends_with_the_last_listener() -> Outcome {
    let server = PrivateServer::redis().await;
    let client = redis::Client::open(server.url()).unwrap();
    let mut other = client.get_multiplexed_async_connection().await.unwrap();

    let cache = storage::cache(server.url()).await?;
    assert!(subscribers_become(&mut other, 0).await, "nobody listens yet");
    let (mut first, second) = (cache.announcements.listen(), cache.announcements.listen());
    assert!(subscribers_become(&mut other, 1).await, "one connection is for all listeners");
    drop((cache, second));
    misses_some(&mut first).await;
    let _: i64 = other.publish(CHANNEL, "still").await.unwrap();
    assert!(suite::heard(&mut first, "still").await);
    // What is no text is from somebody else, and may mean anything.
    let _: i64 = other.publish(CHANNEL, b"\xff\xfe").await.unwrap();
    misses_some(&mut first).await;
    drop(first);
    assert!(subscribers_become(&mut other, 0).await, "somebody listens for nobody");
    Ok(())
}

#[tokio::test]
async fn a_server_that_refuses_us_is_told_without_the_password() -> Outcome {
    let url = shared_redis().await.replace("redis://", "redis://:hush@");
    let cache = storage::cache(&url).await?;
    for error in
        [cache.check().await.unwrap_err(), cache.announcements.announce("topic").await.unwrap_err()]
    {
        assert!(matches!(error, StoreError::Failed { .. }), "{error:?}");
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
        assert!(error.to_string().contains("`redis://***@127.0.0.1:"), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn tls_to_a_server_that_has_none_is_an_error_and_no_more() -> Outcome {
    let url = shared_redis().await.replace("redis://", "rediss://");
    let cache = storage::cache(&url).await?;
    assert!(cache.check().await.is_err());
    assert!(cache.announcements.announce("topic").await.is_err());
    Ok(())
}

async fn assert_unavailable(cache: &Cache) {
    let begun = Instant::now();
    let outcome = cache.announcements.announce("topic").await;
    assert!(matches!(outcome, Err(StoreError::Unavailable { .. })), "{outcome:?}");
    assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?}", begun.elapsed());
    let outcome = cache.check().await;
    assert!(matches!(outcome, Err(StoreError::Unavailable { .. })), "{outcome:?}");
    assert!(begun.elapsed() < Duration::from_secs(4), "it took {:?}", begun.elapsed());
}

/// Waits until the listener is told that it may have missed some.
async fn misses_some(listener: &mut Listener) {
    let told = async { while listener.next().await != Heard::Missed {} };
    assert!(timeout(Duration::from_secs(10), told).await.is_ok(), "it is not told");
}

/// Waits until what is announced is heard.
async fn hears_again(cache: &Cache, listener: &mut Listener) {
    for _ in 0..10 {
        if announces_again(cache).await && suite::heard(listener, "again").await {
            return;
        }
    }
    panic!("nothing is heard after ten seconds");
}

/// Whether announcing works, at the latest after a while.
async fn announces_again(cache: &Cache) -> bool {
    for _ in 0..50 {
        if cache.announcements.announce("again").await.is_ok() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

async fn subscribers_become(
    connection: &mut redis::aio::MultiplexedConnection,
    number: i64,
) -> bool {
    for _ in 0..50 {
        let (_, found): (String, i64) =
            redis::cmd("PUBSUB").arg("NUMSUB").arg(CHANNEL).query_async(connection).await.unwrap();
        if found == number {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}
