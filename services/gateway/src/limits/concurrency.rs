//! Requests at once, in this process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contracts::{ApiError, ErrorCode};
use runtime::telemetry::{label, metrics};

/// The name of the limit on all requests.
pub const ALL: &str = "concurrent-requests";
/// The name of the limit on the requests of one client.
pub const PER_CLIENT: &str = "concurrent-requests-per-client";

/// Counts requests under way.
pub struct Concurrency {
    max: usize,
    max_per_client: usize,
    under_way: AtomicUsize,
    clients: Mutex<HashMap<String, usize>>,
}

/// The place of a request. Another one may take it when it is dropped.
pub struct Place {
    counts: Arc<Concurrency>,
    client: Option<String>,
}

impl Concurrency {
    /// Zero allows any number.
    pub fn new(max: usize, max_per_client: usize) -> Arc<Self> {
        for policy in [ALL, PER_CLIENT] {
            count(policy, 0);
        }
        let (under_way, clients) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Self { max, max_per_client, under_way, clients })
    }

    /// A place for one more request, of the client that `client` names.
    ///
    /// # Errors
    /// `unavailable` if there are too many, `rate_limited` if the client has too many.
    pub fn enter(self: &Arc<Self>, client: impl FnOnce() -> String) -> Result<Place, ApiError> {
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let mut place = Place { counts: Arc::clone(self), client: None };
        if self.max > 0 && before >= self.max {
            count(ALL, 1);
            return Err(refusal(
                ErrorCode::Unavailable,
                ALL,
                "gateway.max_concurrent_requests",
                self.max,
            ));
        }
        if self.max_per_client > 0 {
            let client = client();
            let mut clients = self.clients();
            let under_way = clients.entry(client.clone()).or_default();
            if *under_way >= self.max_per_client {
                count(PER_CLIENT, 1);
                let setting = "gateway.max_concurrent_per_client";
                return Err(refusal(
                    ErrorCode::RateLimited,
                    PER_CLIENT,
                    setting,
                    self.max_per_client,
                ));
            }
            *under_way += 1;
            place.client = Some(client);
        }
        Ok(place)
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counts.under_way.fetch_sub(1, Ordering::Relaxed);
        let Some(client) = &self.client else { return };
        let mut clients = self.counts.clients();
        match clients.get_mut(client) {
            Some(under_way) if *under_way > 1 => *under_way -= 1,
            _ => drop(clients.remove(client)),
        }
    }
}

fn refusal(code: ErrorCode, name: &str, setting: &str, max: usize) -> ApiError {
    let message =
        format!("{max} requests are under way, and `{setting}` allows no more: try again");
    ApiError::new(code, message).retry_after(1).violates(vec![name.to_owned()])
}

fn count(policy: &'static str, refused: u64) {
    let labels = [label("policy", policy), label("decision", "refused"), label("backend", "local")];
    metrics().limit_decisions.add(refused, &labels);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_request_has_ended() {
        let counts = Concurrency::new(3, 2);
        let enter = |client: &str| counts.enter(|| client.to_owned());
        let (first, second) = (enter("ada").unwrap(), enter("ada").unwrap());
        let refused = enter("ada").err().unwrap();
        assert_eq!((refused.code, refused.retry_after_s), (ErrorCode::RateLimited, Some(1)));
        assert_eq!(refused.violated_policies, [PER_CLIENT]);
        let third = enter("bob").unwrap();
        let refused = enter("eve").err().unwrap();
        assert_eq!(refused.code, ErrorCode::Unavailable);
        assert_eq!(refused.violated_policies, [ALL]);
        drop(first);
        let fourth = enter("ada").unwrap();
        drop((second, third, fourth));
        assert_eq!(counts.under_way.load(Ordering::Relaxed), 0);
        assert!(counts.clients().is_empty());
        let any = Concurrency::new(0, 0);
        let places: Vec<_> = (0..1000).map(|_| any.enter(String::new).unwrap()).collect();
        drop(places);
    }
}
