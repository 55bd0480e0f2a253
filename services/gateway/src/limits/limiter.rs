//! Asks the buckets of a request, in the cache store or, while that does not answer, in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use contracts::{ApiError, ErrorCode};
use runtime::telemetry::{label, metrics, names};
use storage::ports::{Limits, Take, Taken};
use storage::{Cache, StoreError};

use super::policy::{Asked, Policy};
use super::settings::{Mode, Settings};

/// The limiter of a gateway.
pub struct Limiter {
    mode: Mode,
    policies: Vec<Arc<Policy>>,
    /// Whether old clients are told in their way, too.
    pub legacy_headers: bool,
    shared: Arc<dyn Limits>,
    local: Arc<dyn Limits>,
    store_timeout: Duration,
    store_rest: Duration,
    began: Instant,
    /// Until when the store is not asked, milliseconds after `began`; zero while it answers.
    rests_until: AtomicU64,
}

/// What came of a request, policy by policy.
#[derive(Debug)]
pub struct Verdict {
    states: Vec<(Arc<Policy>, Taken)>,
    /// What to answer if it is too much.
    pub refusal: Option<ApiError>,
}

impl Limiter {
    /// Counts in `shared`, or for itself while that does not answer.
    pub fn new(settings: &Settings, shared: Arc<dyn Limits>) -> Arc<Self> {
        let policies = match settings.mode {
            Mode::Off => Vec::new(),
            _ => settings.policies.0.iter().cloned().map(Arc::new).collect(),
        };
        let limiter = Arc::new(Self {
            mode: settings.mode,
            policies,
            legacy_headers: settings.legacy_headers,
            shared,
            local: Cache::in_memory().limits,
            store_timeout: Duration::from_millis(settings.store_timeout_ms),
            store_rest: Duration::from_millis(settings.store_rest_ms.max(1)),
            began: Instant::now(),
            rests_until: AtomicU64::new(0),
        });
        for policy in &limiter.policies {
            for backend in ["shared", "local"] {
                for decision in ["allowed", "refused", "shadow"] {
                    count(policy, decision, backend, 0);
                }
            }
        }
        let gauge = Arc::clone(&limiter);
        metrics().gauge(names::LIMITS_LOCAL, move || u64::from(gauge.is_local()));
        limiter
    }

    /// The policies that can apply to a route.
    pub fn policies_of(&self, route: &str) -> Vec<Arc<Policy>> {
        self.policies.iter().filter(|policy| policy.is_for(route)).cloned().collect()
    }

    /// What to ask for a request: nothing if no policy applies to it.
    pub fn buckets(policies: &[Arc<Policy>], asked: &Asked<'_>) -> (Vec<Arc<Policy>>, Vec<Take>) {
        let bucket = |policy: &Arc<Policy>| {
            let key = policy.bucket(asked)?;
            let take = Take { key, interval: policy.interval(), burst: policy.burst };
            Some((Arc::clone(policy), take))
        };
        policies.iter().filter_map(bucket).unzip()
    }

    /// Takes a token from each bucket, or from none.
    pub async fn decide(&self, policies: Vec<Arc<Policy>>, buckets: &[Take]) -> Verdict {
        let (taken, backend) = self.take(buckets).await;
        let states: Vec<_> = policies.into_iter().zip(taken).collect();
        let mut broken = Vec::new();
        for (policy, taken) in &states {
            let decision = match (taken.allowed, self.mode) {
                (true, _) => "allowed",
                (false, Mode::Enforce) => "refused",
                (false, _) => "shadow",
            };
            count(policy, decision, backend, 1);
            if decision == "refused" {
                broken.push((policy, taken));
            }
        }
        let refusal = refusal(&broken);
        Verdict { states, refusal }
    }

    /// Whether the store answers, as far as limits need it.
    pub async fn check(&self) -> bool {
        if !self.policies.is_empty() {
            self.take(&[]).await;
        }
        !self.is_local()
    }

    /// Whether this gateway counts for itself alone.
    pub fn is_local(&self) -> bool {
        self.rests_until.load(Ordering::Relaxed) > 0
    }

    async fn take(&self, buckets: &[Take]) -> (Vec<Taken>, &'static str) {
        if self.may_ask_store() {
            match tokio::time::timeout(self.store_timeout, self.shared.take(buckets)).await {
                Ok(Ok(taken)) => {
                    if self.rests_until.swap(0, Ordering::Relaxed) > 0 {
                        tracing::info!("limits are counted in the cache store again");
                    }
                    return (taken, "shared");
                }
                Ok(Err(error)) => self.rest(Some(&error)),
                Err(_elapsed) => self.rest(None),
            }
        }
        // Memory does not fail.
        (self.local.take(buckets).await.unwrap_or_default(), "local")
    }

    /// While the store rests it is not asked; then one request finds out for all.
    fn may_ask_store(&self) -> bool {
        let until = self.rests_until.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        let now = self.now();
        let next = self.end_of_rest(now);
        let order = Ordering::Relaxed;
        now >= until && self.rests_until.compare_exchange(until, next, order, order).is_ok()
    }

    fn rest(&self, error: Option<&StoreError>) {
        if self.rests_until.swap(self.end_of_rest(self.now()), Ordering::Relaxed) == 0 {
            let error = match error {
                Some(error) => error.to_string(),
                None => format!("no answer within {:?}", self.store_timeout),
            };
            tracing::warn!(
                error,
                "the cache store does not answer: this gateway counts requests for itself, with the whole quota"
            );
        }
    }

    fn end_of_rest(&self, now: u64) -> u64 {
        now + u64::try_from(self.store_rest.as_millis()).unwrap_or(u64::MAX / 2)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
    }
}

impl Verdict {
    /// The headers that tell the client, as the IETF's draft has them, and in the way of old clients
    /// if `legacy`.
    pub fn headers(&self, legacy: bool) -> Vec<(&'static str, String)> {
        let list = |item: &dyn Fn(&Policy, &Taken) -> String| {
            let items = self.states.iter().map(|(policy, taken)| item(policy, taken));
            items.collect::<Vec<_>>().join(", ")
        };
        let policy = list(&|policy, _| {
            format!("\"{}\";q={};w={}", policy.name, policy.quota, policy.window_s)
        });
        let state = list(&|policy, taken| {
            format!("\"{}\";r={};t={}", policy.name, taken.remaining, reset(taken))
        });
        let mut headers = vec![("ratelimit-policy", policy), ("ratelimit", state)];
        let tightest = self.states.iter().min_by_key(|(_, taken)| taken.remaining);
        if let (true, Some((policy, taken))) = (legacy, tightest) {
            headers.push(("x-ratelimit-limit", policy.quota.to_string()));
            headers.push(("x-ratelimit-remaining", taken.remaining.to_string()));
            headers.push(("x-ratelimit-reset", reset(taken).to_string()));
        }
        headers
    }
}

/// When there is more, in seconds: a token where there is none, a full bucket else.
fn reset(taken: &Taken) -> u32 {
    seconds(if taken.allowed { taken.reset_after } else { taken.retry_after })
}

/// Rounded up: who comes a moment too early is refused again.
fn seconds(time: Duration) -> u32 {
    let whole = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    u32::try_from(whole).unwrap_or(u32::MAX)
}

fn refusal(broken: &[(&Arc<Policy>, &Taken)]) -> Option<ApiError> {
    let (policy, taken) = broken.iter().max_by_key(|(_, taken)| taken.retry_after)?;
    let wait = seconds(taken.retry_after).max(1);
    let per: Vec<String> = policy.per.iter().map(ToString::to_string).collect();
    let message = format!(
        "too many requests: the limit `{}` lets {} in {} s through for each {}; try again in {wait} s",
        policy.name,
        policy.quota,
        policy.window_s,
        per.join(" and ")
    );
    let names = broken.iter().map(|(policy, _)| policy.name.clone()).collect();
    Some(ApiError::new(ErrorCode::RateLimited, message).retry_after(wait).violates(names))
}

fn count(policy: &Policy, decision: &'static str, backend: &'static str, number: u64) {
    let labels = [
        label("policy", policy.name.clone()),
        label("decision", decision),
        label("backend", backend),
    ];
    metrics().limit_decisions.add(number, &labels);
}
