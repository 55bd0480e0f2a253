//! [`ResponseCache`].

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::{Outcome, fresh, odd_texts};
use crate::StoreError;
use crate::ports::ResponseCache;

/// Long enough for a test.
const LONG: Duration = Duration::from_secs(600);

/// Kept to the letter, replaced, apart from others, and gone in time.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn responses(port: &dyn ResponseCache) -> Outcome {
    let key = fresh("absent");
    assert_eq!(port.get(&key).await?, None);
    for text in odd_texts() {
        let key = fresh("odd");
        port.put(&key, Bytes::from(text.clone()), LONG).await?;
        assert_eq!(port.get(&key).await?, Some(Bytes::from(text)));
    }
    let bytes = Bytes::from((0..=255).collect::<Vec<u8>>());
    port.put(&key, bytes.clone(), LONG).await?;
    assert_eq!(port.get(&key).await?, Some(bytes));
    port.put(&key, Bytes::from_static(b"second"), LONG).await?;
    assert_eq!(port.get(&key).await?, Some(Bytes::from_static(b"second")));

    let (short, long) = (fresh("short"), fresh("long"));
    let begun = Instant::now();
    port.put(&long, Bytes::from_static(b"l"), Duration::from_millis(200)).await?;
    port.put(&long, Bytes::from_static(b"l"), LONG).await?;
    port.put(&short, Bytes::from_static(b"s"), Duration::from_millis(700)).await?;
    if begun.elapsed() < Duration::from_millis(500) {
        let found = port.get(&short).await?;
        assert!(found.is_some() || begun.elapsed() >= Duration::from_millis(600), "gone too soon");
    }
    while port.get(&short).await?.is_some() {
        assert!(begun.elapsed() < Duration::from_secs(3), "kept too long");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.elapsed() >= Duration::from_millis(600), "gone after {:?}", begun.elapsed());
    assert!(port.get(&long).await?.is_some(), "what is put again begins anew");
    Ok(())
}

/// What is put through one door is found through the other, also when many do it at once.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn responses_by_two(first: &dyn ResponseCache, second: &dyn ResponseCache) -> Outcome {
    let keys: Vec<String> = (0..50).map(|_| fresh("contested")).collect();
    let puts = keys.iter().enumerate().map(|(number, key)| {
        let port = if number % 2 == 0 { first } else { second };
        port.put(key, Bytes::from(key.clone()), LONG)
    });
    join_all(puts).await.into_iter().collect::<Result<(), StoreError>>()?;
    for key in &keys {
        for port in [first, second] {
            assert_eq!(port.get(key).await?, Some(Bytes::from(key.clone())));
        }
    }
    Ok(())
}
