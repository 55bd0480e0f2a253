//! [`Limits`].

#![expect(
    clippy::indexing_slicing,
    reason = "for tests only: what is not there is how a suite fails"
)]

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::{Outcome, fresh};
use crate::ports::{Limits, Take};

/// So long that no token comes back during the test.
const HOUR: Duration = Duration::from_secs(3600);

fn take(key: &str, interval: Duration, burst: u32) -> Take {
    Take { key: key.to_owned(), interval, burst }
}

/// One door: the burst, what is told of it, that a token comes back when it was said to, and that
/// all buckets of a request are one.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn limits(port: &dyn Limits) -> Outcome {
    let asked = [take(&fresh("odd key 漢字 '\"\n"), HOUR, 3)];
    for remaining in [2, 1, 0] {
        let taken = port.take(&asked).await?;
        assert_eq!((taken.len(), taken[0].allowed, taken[0].remaining), (1, true, remaining));
        assert!(taken[0].retry_after.is_zero(), "{taken:?}");
        let due = HOUR * (3 - remaining);
        assert!(taken[0].reset_after <= due, "{taken:?}");
        assert!(taken[0].reset_after > due - HOUR / 60, "{taken:?}");
    }
    for _ in 0..3 {
        let taken = port.take(&asked).await?;
        assert_eq!((taken[0].allowed, taken[0].remaining), (false, 0));
        assert!(taken[0].retry_after <= HOUR && taken[0].retry_after > HOUR / 2, "{taken:?}");
    }

    let (wide, narrow) = (take(&fresh("wide"), HOUR, 10), take(&fresh("narrow"), HOUR, 1));
    let both = [wide.clone(), narrow];
    assert!(port.take(&both).await?.iter().all(|taken| taken.allowed));
    for _ in 0..3 {
        let taken = port.take(&both).await?;
        assert_eq!((taken[0].allowed, taken[0].remaining, taken[1].allowed), (true, 9, false));
    }
    assert_eq!(port.take(&[wide]).await?[0].remaining, 8, "a refused request was charged");
    assert_eq!(port.take(&[]).await?, []);

    let quick = [take(&fresh("quick"), Duration::from_millis(200), 1)];
    assert!(port.take(&quick).await?[0].allowed);
    let refused = port.take(&quick).await?[0];
    if !refused.allowed {
        sleep(refused.retry_after + Duration::from_millis(5)).await;
        assert!(port.take(&quick).await?[0].allowed, "no token when it was said to be there");
    }
    Ok(())
}

/// Two doors: of a crowd at both, as many get in as there are tokens; and over a while, as many as
/// come back.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn limits_by_two(first: &dyn Limits, second: &dyn Limits) -> Outcome {
    let asked = [take(&fresh("contested"), HOUR, 100), take(&fresh("as well"), HOUR, 150)];
    let doors = [first, second];
    let crowd = (0..400).map(|number: usize| doors[number % 2].take(&asked));
    let mut allowed = 0;
    for taken in join_all(crowd).await {
        allowed += u32::from(taken?[0].allowed);
    }
    assert_eq!(allowed, 100);
    let left = first.take(&asked[1..]).await?[0];
    assert_eq!((left.allowed, left.remaining), (true, 49));

    let interval = Duration::from_millis(10);
    let steady = [take(&fresh("steady"), interval, 5)];
    let began = Instant::now();
    let mut allowed = 0;
    while began.elapsed() < Duration::from_secs(1) {
        for taken in join_all(doors.map(|door| door.take(&steady))).await {
            allowed += u32::from(taken?[0].allowed);
        }
        sleep(Duration::from_millis(1)).await;
    }
    let due = began.elapsed().as_secs_f64() / interval.as_secs_f64() + 5.0;
    assert!(f64::from(allowed) <= due + 1.0, "{allowed} of {due}");
    assert!(f64::from(allowed) >= due * 0.95 - 2.0, "{allowed} of {due}");
    Ok(())
}
