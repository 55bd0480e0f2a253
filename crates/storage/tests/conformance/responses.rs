//! Kept answers, in memory and in Redis.

use std::time::Duration;

use bytes::Bytes;
use storage::StoreError;
use storage::conformance as suite;
use testkit::stores::{PrivateServer, shared_redis};

use crate::Outcome;

#[tokio::test]
async fn memory_does_what_the_port_promises() -> Outcome {
    let cache = storage::cache("memory://").await?;
    suite::responses(&*cache.responses).await?;
    suite::responses_by_two(&*cache.responses, &*cache.responses).await
}

#[tokio::test]
async fn redis_does_what_the_port_promises() -> Outcome {
    let url = shared_redis().await;
    let (first, second) = (storage::cache(&url).await?, storage::cache(&url).await?);
    suite::responses(&*first.responses).await?;
    suite::responses_by_two(&*first.responses, &*second.responses).await
}

#[tokio::test]
async fn memory_is_bounded() -> Outcome {
    let cache = storage::cache("memory://?max_bytes=100000").await?;
    let (size, long) = (1000, Duration::from_secs(600));
    for number in 0..1000 {
        cache.responses.put(&number.to_string(), Bytes::from(vec![0; size]), long).await?;
    }
    // What does not fit at all is not kept.
    cache.responses.put("huge", Bytes::from(vec![0; 200_000]), long).await?;
    let mut left = usize::MAX;
    for _ in 0..100 {
        left = 0;
        for number in 0..1000 {
            left += usize::from(cache.responses.get(&number.to_string()).await?.is_some());
        }
        if left * size <= 100_000 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!((1..=100).contains(&left), "{left} are left");
    assert_eq!(cache.responses.get("huge").await?, None);
    for bad in ["memory://?max_bytes=0", "memory://?max_bytes=x", "memory://?max=1"] {
        let error = storage::cache(bad).await.err().unwrap();
        assert!(matches!(error, StoreError::UnsupportedUrl { .. }), "{bad}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_gone_is_told() -> Outcome {
    let mut server = PrivateServer::redis().await;
    let cache = storage::cache(server.url()).await?;
    server.stop().await;
    let error = cache.responses.get("key").await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    Ok(())
}
