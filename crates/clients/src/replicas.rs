//! All replicas of a service, each to be called by itself: a set that changes.

use std::sync::{Arc, PoisonError, RwLock};

use contracts::{ApiError, InferenceApi, RouterApi};

use crate::places::Source;
use crate::transport::http_client;
use crate::{Inference, Router, ServiceTokens, Transport};

/// The replicas that a list or a name stands for, as `A` (`dyn InferenceApi`, `dyn RouterApi`).
pub struct Replicas<A: ?Sized> {
    service: &'static str,
    source: Source,
    client: reqwest::Client,
    tokens: Arc<ServiceTokens>,
    over: fn(Transport) -> Arc<A>,
    known: RwLock<Vec<(String, Arc<A>)>>,
}

/// The inference replicas at base URLs, separated by commas, or at all addresses of a name:
/// `dns+http://inference:8003`.
///
/// # Errors
/// `unprocessable` if the setting is neither; `internal` if the HTTP client cannot be set up.
pub fn inference(
    setting: &str,
    tokens: &Arc<ServiceTokens>,
) -> Result<Replicas<dyn InferenceApi>, ApiError> {
    Replicas::new("inference", setting, tokens, |transport| Arc::new(Inference(transport)))
}

/// The routers, given as the replicas of [`inference`] are.
///
/// # Errors
/// As [`inference`].
pub fn routers(
    setting: &str,
    tokens: &Arc<ServiceTokens>,
) -> Result<Replicas<dyn RouterApi>, ApiError> {
    Replicas::new("router", setting, tokens, |transport| Arc::new(Router(transport)))
}

impl<A: ?Sized> Replicas<A> {
    fn new(
        service: &'static str,
        setting: &str,
        tokens: &Arc<ServiceTokens>,
        over: fn(Transport) -> Arc<A>,
    ) -> Result<Self, ApiError> {
        let source = Source::parse(service, setting)?;
        let (client, tokens, known) = (http_client()?, Arc::clone(tokens), RwLock::default());
        Ok(Self { service, source, client, tokens, over, known })
    }

    /// The replicas as of now: base URL and client of each. A name is resolved again; when that
    /// fails, the last known ones stay. A replica that stays keeps its client.
    pub async fn current(&self) -> Vec<(String, Arc<A>)> {
        let service = self.service;
        let urls = match self.source.look_up().await {
            Ok(urls) => urls,
            Err(error) => {
                tracing::warn!(%error, "the name of the {service} replicas (`services.{service}`) does not resolve: the last known ones stay");
                return self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
            }
        };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let replica = |url: String| {
            let same = known.iter().find(|(address, _)| *address == url);
            let api = same.map(|(_, api)| Arc::clone(api)).unwrap_or_else(|| {
                let tokens = Arc::clone(&self.tokens);
                (self.over)(Transport::replica(&self.client, service, &url, tokens))
            });
            (url, api)
        };
        *known = urls.into_iter().map(replica).collect();
        known.clone()
    }
}
