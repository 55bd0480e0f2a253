//! Answers kept for who asks the same again, where a model's policy says so.
//!
//! What makes two requests the same is in [`key`]; what tells two answers to them apart, and so is
//! written anew for each, in [`stored`]; how requests that come together share one computation, in
//! [`flights`].

mod canonical;
mod flights;
mod key;
mod stored;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use contracts::inference::{Answered, CacheUse};
use contracts::router::CacheWish;
use contracts::{ApiError, Deadline, Framed, Wire as _};
use domain::VersionId;
use storage::StoreError;
use storage::ports::ResponseCache;
use tokio::time::timeout;

use crate::settings::CacheSettings;
use flights::{Flights, Place};

pub(crate) use key::{Asked, Keyed};

/// The answers kept.
pub(crate) struct Answers {
    store: Arc<dyn ResponseCache>,
    settings: CacheSettings,
    flights: Flights,
    begun: Instant,
    /// Until when the store is left alone, milliseconds after `begun`.
    rests_until: AtomicU64,
}

/// The store does not answer, or did not a moment ago.
#[derive(Debug)]
pub(crate) struct Resting;

/// What is asked of the answers.
pub(crate) struct Wanted {
    /// What is asked, if it is of a kind that is kept.
    pub(crate) keyed: Option<Keyed>,
    /// How long the answer is kept.
    pub(crate) ttl: Duration,
    /// What the caller says of earlier answers.
    pub(crate) wish: CacheWish,
    /// When the caller waits no more.
    pub(crate) deadline: Deadline,
}

impl Answers {
    pub(crate) fn new(store: Arc<dyn ResponseCache>, settings: CacheSettings) -> Self {
        let (flights, rests_until) = (Flights::default(), AtomicU64::default());
        Self { store, settings, flights, begun: Instant::now(), rests_until }
    }

    /// The largest request that is looked at.
    pub(crate) fn max_input_bytes(&self) -> usize {
        self.settings.max_input_bytes
    }

    /// An answer kept, or made by another request at this moment, or computed now.
    pub(crate) async fn answer(
        &self,
        wanted: Wanted,
        compute: impl Future<Output = Result<Framed<Answered>, ApiError>>,
    ) -> Result<Framed<Answered>, ApiError> {
        let Wanted { keyed, ttl, wish, deadline } = wanted;
        let keyed = keyed.filter(|_| wish != CacheWish::Avoid && !self.rests());
        let (Some(keyed), true) = (keyed, ttl > Duration::ZERO) else {
            let used = if wish == CacheWish::Use { CacheUse::Bypass } else { CacheUse::Request };
            return Ok(marked(compute.await?, used));
        };
        if wish == CacheWish::Refresh {
            let answer = compute.await?;
            if let Some(bytes) = self.to_keep(&answer) {
                self.put(&keyed, bytes, ttl).await;
            }
            return Ok(marked(answer, CacheUse::Request));
        }
        let flight = match self.flights.board(keyed.digest) {
            Place::Leader(flight) => flight,
            Place::Follower(mut landing) => {
                let landed = timeout(deadline.left(), landing.wait_for(Option::is_some)).await;
                let landed = landed.map_err(|_elapsed| Deadline::passed())?;
                // It may have failed for reasons of its own.
                let bytes = landed.ok().and_then(|bytes| bytes.clone());
                return match bytes.and_then(|bytes| stored::open(bytes, &keyed)) {
                    Some(answer) => Ok(marked(answer, CacheUse::Hit)),
                    None => Ok(marked(compute.await?, CacheUse::Miss)),
                };
            }
        };
        let found = self.in_time(self.store.get(&keyed.name())).await;
        let used = if found.is_some() { CacheUse::Miss } else { CacheUse::Bypass };
        if let Some(bytes) = found.flatten()
            && let Some(answer) = stored::open(bytes.clone(), &keyed)
        {
            flight.land(bytes);
            return Ok(marked(answer, CacheUse::Hit));
        }
        let answer = compute.await?;
        if let Some(bytes) = self.to_keep(&answer) {
            flight.land(bytes.clone());
            if used == CacheUse::Miss {
                self.put(&keyed, bytes, ttl).await;
            }
        }
        Ok(marked(answer, used))
    }

    /// Keeps an answer as the last good one to its input.
    pub(crate) async fn keep_good(
        &self,
        keyed: &Keyed,
        version: VersionId,
        answer: &Framed<Answered>,
        ttl: Duration,
    ) {
        // An answer that was kept itself was put here when it was made.
        if answer.meta.cache == Some(CacheUse::Hit) {
            return;
        }
        if let Some(bytes) = self.to_keep(answer) {
            let mut good = version.number().to_be_bytes().to_vec();
            good.extend_from_slice(&bytes);
            self.remember(&keyed.name(), good.into(), ttl).await;
        }
    }

    /// The last good answer to an input, and the version that gave it.
    pub(crate) async fn last_good(&self, keyed: &Keyed) -> Option<(VersionId, Framed<Answered>)> {
        let good = self.recall(&keyed.name()).await.ok().flatten()?;
        let number = u32::from_be_bytes(*good.first_chunk()?);
        let mut answer = stored::open(good.slice(size_of::<u32>()..), keyed)?;
        answer.meta.cache = None;
        Some((VersionId::new(number)?, answer))
    }

    /// What the store has under a name. `Err` if it does not answer, or is left alone.
    pub(crate) async fn recall(&self, name: &str) -> Result<Option<Bytes>, Resting> {
        if self.rests() {
            return Err(Resting);
        }
        self.in_time(self.store.get(name)).await.ok_or(Resting)
    }

    /// Has the store keep something, if it answers.
    pub(crate) async fn remember(&self, name: &str, bytes: Bytes, ttl: Duration) {
        if !self.rests() {
            self.in_time(self.store.put(name, bytes, ttl)).await;
        }
    }

    /// What is kept of an answer, if it is one that is.
    fn to_keep(&self, answer: &Framed<Answered>) -> Option<Bytes> {
        let meta = &answer.meta;
        let is_json = meta.header_length.is_none() && meta.content_type == "application/json";
        let fits = answer.body.len() <= self.settings.max_answer_bytes;
        if is_json && fits { answer.to_wire().ok() } else { None }
    }

    async fn put(&self, keyed: &Keyed, bytes: Bytes, ttl: Duration) {
        let name = keyed.name();
        self.in_time(self.store.put(&name, bytes, ttl)).await;
    }

    /// What the store says within the time it has. After a failure it is left alone for a while.
    async fn in_time<T>(&self, asked: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
        let limit = Duration::from_millis(self.settings.timeout_ms);
        let error = match timeout(limit, asked).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => format!("no answer within {} ms", self.settings.timeout_ms),
        };
        let resting = self
            .rests_until
            .fetch_max(self.now_ms().saturating_add(self.settings.rest_ms), Ordering::Relaxed);
        if resting <= self.now_ms() {
            tracing::warn!(error, "answers are not kept for {} ms", self.settings.rest_ms);
        }
        None
    }

    fn rests(&self) -> bool {
        let until = self.rests_until.load(Ordering::Relaxed);
        until > 0 && self.now_ms() < until
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn marked(mut answer: Framed<Answered>, used: CacheUse) -> Framed<Answered> {
    answer.meta.cache = Some(used);
    answer
}

#[cfg(test)]
mod tests;
