//! Limits and answers to repeated requests, in memory and in Redis.

use std::time::{Duration, Instant};

use deadpool_redis::redis;
use storage::conformance as suite;
use storage::ports::{Claim, Take};
use storage::{Cache, StoreError};
use testkit::stores::{PrivateServer, shared_redis};

use crate::Outcome;

#[tokio::test]
async fn memory_does_what_the_ports_promise() -> Outcome {
    let cache = storage::cache("memory://").await?;
    suite::limits(&*cache.limits).await?;
    suite::limits_by_two(&*cache.limits, &*cache.limits).await?;
    suite::idempotency(&*cache.idempotency).await?;
    suite::idempotency_by_two(&*cache.idempotency, &*cache.idempotency).await
}

#[tokio::test]
async fn redis_does_what_the_ports_promise() -> Outcome {
    let url = shared_redis().await;
    let (first, second) = (storage::cache(&url).await?, storage::cache(&url).await?);
    suite::limits(&*first.limits).await?;
    suite::limits_by_two(&*first.limits, &*second.limits).await?;
    suite::idempotency(&*first.idempotency).await?;
    suite::idempotency_by_two(&*first.idempotency, &*second.idempotency).await
}

#[tokio::test]
async fn nothing_stays_in_redis_for_ever() -> Outcome {
    let server = PrivateServer::redis().await;
    let cache = storage::cache(server.url()).await?;
    cache.limits.take(&[take("full soon", Duration::from_millis(50), 5)]).await?;
    cache.limits.take(&[take("full later", Duration::from_secs(60), 5)]).await?;
    let claim = claim("key");
    cache.idempotency.begin(&claim).await?;
    cache.idempotency.complete(&claim, "answer".into(), Duration::from_secs(60)).await?;
    let client = redis::Client::open(server.url()).unwrap();
    let mut other = client.get_multiplexed_async_connection().await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut other).await.unwrap();
    keys.sort();
    assert_eq!(keys, ["engine:limit:full later", "engine:once:key"]);
    for key in keys {
        let left: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut other).await.unwrap();
        assert!((1..=60_000).contains(&left), "`{key}` ends in {left} ms");
    }
    Ok(())
}

#[tokio::test]
async fn a_redis_that_forgot_its_scripts_or_was_restarted_goes_on() -> Outcome {
    let mut server = PrivateServer::redis().await;
    let cache = storage::cache(server.url()).await?;
    let asked = [take("a", Duration::from_secs(60), 5)];
    assert!(cache.limits.take(&asked).await?[0].allowed);
    let client = redis::Client::open(server.url()).unwrap();
    let mut other = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut other).await.unwrap();
    assert_eq!(cache.limits.take(&asked).await?[0].remaining, 3);
    server.stop().await;
    for _ in 0..3 {
        is_unavailable(&cache, &asked).await;
    }
    server.start_again().await;
    comes_back(&cache, &asked).await;
    Ok(())
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_unavailable_within_two_seconds() -> Outcome {
    let server = PrivateServer::redis().await;
    let cache = storage::cache(server.url()).await?;
    let asked = [take("a", Duration::from_secs(60), 100)];
    cache.limits.take(&asked).await?;
    server.pause();
    for _ in 0..2 {
        is_unavailable(&cache, &asked).await;
    }
    server.resume();
    comes_back(&cache, &asked).await;
    Ok(())
}

/// Prints what a step costs; `docs/limits.md` has the numbers of a release build.
#[tokio::test]
async fn what_a_step_costs() -> Outcome {
    let asked: Vec<[Take; 1]> = (0..100)
        .map(|number| [take(&format!("cost {number}"), Duration::from_millis(50), 40)])
        .collect();
    for (name, url, rounds) in
        [("memory", "memory://".to_owned(), 1000), ("redis", shared_redis().await, 50)]
    {
        let cache = storage::cache(&url).await?;
        cache.limits.take(&asked[0]).await?;
        let mut times = Vec::new();
        for _ in 0..rounds {
            for one in &asked {
                let began = Instant::now();
                cache.limits.take(one).await?;
                times.push(began.elapsed());
            }
        }
        times.sort_unstable();
        let at = |part: usize| times[times.len() * part / 100];
        println!("a step in {name}: median {:?}, p99 {:?}", at(50), at(99));
        // Generous: the machine may be busy with other things.
        assert!(at(50) < Duration::from_millis(20), "{:?}", at(50));
    }
    Ok(())
}

fn take(key: &str, interval: Duration, burst: u32) -> Take {
    Take { key: key.to_owned(), interval, burst }
}

fn claim(key: &str) -> Claim {
    let [key, fingerprint, holder] = [key, "print", "holder"].map(str::to_owned);
    Claim { key, fingerprint, holder, lease: Duration::from_secs(60) }
}

async fn is_unavailable(cache: &Cache, asked: &[Take]) {
    let began = Instant::now();
    let outcome = cache.limits.take(asked).await;
    assert!(matches!(outcome, Err(StoreError::Unavailable { .. })), "{outcome:?}");
    assert!(began.elapsed() < Duration::from_secs(2), "it took {:?}", began.elapsed());
    let outcome = cache.idempotency.begin(&claim("key")).await;
    assert!(matches!(outcome, Err(StoreError::Unavailable { .. })), "{outcome:?}");
    assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
}

async fn comes_back(cache: &Cache, asked: &[Take]) {
    for _ in 0..100 {
        if cache.limits.take(asked).await.is_ok_and(|taken| taken.iter().all(|one| one.allowed)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("limits do not come back within ten seconds");
}
