//! [`Idempotency`].

#![expect(
    clippy::indexing_slicing,
    reason = "for tests only: what is not there is how a suite fails"
)]

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::{Outcome, fresh, odd_texts};
use crate::ports::{Begun, Claim, Idempotency};

const HOUR: Duration = Duration::from_secs(3600);
/// Long enough to be seen, short enough to be waited for.
const SHORT: Duration = Duration::from_millis(300);

fn claim(key: &str, fingerprint: &str) -> Claim {
    Claim {
        key: key.to_owned(),
        fingerprint: fingerprint.to_owned(),
        holder: fresh("holder"),
        lease: HOUR,
    }
}

/// One door: claimed, running, done, given back; what ends when its time is over; odd texts.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn idempotency(port: &dyn Idempotency) -> Outcome {
    let key = fresh("key");
    let (mine, again, other) = (claim(&key, "one"), claim(&key, "one"), claim(&key, "two"));
    assert_eq!(port.begin(&mine).await?, Begun::Claimed);
    assert_eq!(port.begin(&again).await?, Begun::Running);
    assert_eq!(port.begin(&other).await?, Begun::Mismatch);
    assert!(!port.complete(&again, "not mine".into(), HOUR).await?, "another's claim");
    port.abandon(&again).await?;
    assert_eq!(port.begin(&again).await?, Begun::Running, "another gave it back");
    let answer = Bytes::from_static(b"201\0\xff\xfe answer");
    assert!(port.complete(&mine, answer.clone(), HOUR).await?);
    port.abandon(&mine).await?;
    assert_eq!(port.begin(&again).await?, Begun::Done(answer));
    assert_eq!(port.begin(&other).await?, Begun::Mismatch);

    let given_back = claim(&fresh("key"), "one");
    assert_eq!(port.begin(&given_back).await?, Begun::Claimed);
    port.abandon(&given_back).await?;
    assert_eq!(port.begin(&claim(&given_back.key, "two")).await?, Begun::Claimed);

    let crashed = Claim { lease: SHORT, ..claim(&fresh("key"), "one") };
    assert_eq!(port.begin(&crashed).await?, Begun::Claimed);
    let next = claim(&crashed.key, "one");
    becomes(port, &next, &Begun::Claimed).await?;
    assert!(!port.complete(&crashed, "too late".into(), HOUR).await?);
    assert_eq!(port.begin(&crashed).await?, Begun::Running);
    assert!(port.complete(&next, Bytes::new(), SHORT).await?);
    assert_eq!(port.begin(&crashed).await?, Begun::Done(Bytes::new()));
    becomes(port, &claim(&next.key, "three"), &Begun::Claimed).await?;

    for text in odd_texts() {
        let odd = claim(&format!("{}{text}", fresh("key")), &text);
        assert_eq!(port.begin(&odd).await?, Begun::Claimed);
        assert!(port.complete(&odd, text.clone().into(), HOUR).await?);
        assert_eq!(port.begin(&odd).await?, Begun::Done(text.into()));
    }
    Ok(())
}

/// Two doors: of many at once, one gets the key; all see its answer.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn idempotency_by_two(first: &dyn Idempotency, second: &dyn Idempotency) -> Outcome {
    for _ in 0..10 {
        let key = fresh("contested");
        let doors = [first, second];
        let claims: Vec<Claim> = (0..20).map(|_| claim(&key, "same")).collect();
        let tries = claims.iter().enumerate().map(|(number, one)| doors[number % 2].begin(one));
        let mut winner = None;
        for (one, begun) in claims.iter().zip(join_all(tries).await) {
            match begun? {
                Begun::Claimed => assert!(winner.replace(one).is_none(), "two have it"),
                begun => assert_eq!(begun, Begun::Running),
            }
        }
        assert!(winner.is_some(), "nobody has it");
        let Some(winner) = winner else { continue };
        assert!(second.complete(winner, "done".into(), HOUR).await?);
        assert_eq!(first.begin(&claim(&key, "same")).await?, Begun::Done("done".into()));
    }
    Ok(())
}

async fn becomes(port: &dyn Idempotency, claim: &Claim, wanted: &Begun) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(10);
    while port.begin(claim).await? != *wanted {
        assert!(Instant::now() < deadline, "`{}` does not become {wanted:?}", claim.key);
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
