//! What is no longer good though its time is not over: heard from the auth service every moment.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use contracts::auth::Since;
use contracts::{AuthApi, Call};
use domain::{Clock, Principal, PrincipalKind};
use time::OffsetDateTime;

/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long to remember: no token lives longer than a day.
const MEMORY: time::Duration = time::Duration::hours(25);

/// Ids of sessions, API keys and users, with the moment from which tokens of them are good again,
/// milliseconds since 1970.
#[derive(Default)]
pub(super) struct Revoked {
    since: RwLock<HashMap<String, i64>>,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    /// When it was last asked with success.
    at: Option<OffsetDateTime>,
    failing: bool,
}

impl Revoked {
    /// Whether what was issued then for this principal is no longer good.
    pub(super) fn is(&self, principal: &Principal, issued_ms: i64) -> bool {
        let since = self.since.read().unwrap_or_else(PoisonError::into_inner);
        if since.is_empty() || principal.kind == PrincipalKind::Service {
            return false;
        }
        since.contains_key(&principal.session)
            || since.get(&principal.id).is_some_and(|from| issued_ms < *from)
    }

    /// Asks what was revoked since the last time.
    pub(super) async fn ask(&self, auth: &dyn AuthApi, clock: &dyn Clock) {
        let now = clock.now();
        let last = self.heard.lock().unwrap_or_else(PoisonError::into_inner).at;
        let since = last.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let call = Call::service("revocations", PATIENCE);
        let answer = auth.revocations(call, Since { since }).await;
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(answer) => {
                if heard.failing {
                    tracing::info!("it is heard again what was revoked");
                }
                *heard = Heard { at: Some(now), failing: false };
                let news = answer.ended.into_iter().map(|one| {
                    let nanoseconds = one.at.unix_timestamp_nanos();
                    // A token of the same millisecond counts as one from after.
                    let milliseconds = nanoseconds.div_euclid(1_000_000);
                    (one.id, i64::try_from(milliseconds).unwrap_or(i64::MAX))
                });
                let news: Vec<_> = news.collect();
                if news.is_empty() {
                    return;
                }
                let oldest = (now - MEMORY).unix_timestamp().saturating_mul(1000);
                let mut since = self.since.write().unwrap_or_else(PoisonError::into_inner);
                since.retain(|_, from| *from >= oldest);
                for (id, from) in news {
                    let known = since.entry(id).or_insert(from);
                    *known = from.max(*known);
                }
            }
            Err(error) if !heard.failing => {
                heard.failing = true;
                tracing::warn!(
                    %error,
                    "it is not heard what was revoked: tokens are good until they expire"
                );
            }
            Err(_) => {}
        }
    }
}
