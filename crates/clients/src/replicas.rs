//! The inference replicas of a router: a set that changes.

use std::sync::{Arc, PoisonError, RwLock};

use contracts::{ApiError, InferenceApi};

use crate::places::Source;
use crate::transport::http_client;
use crate::{Inference, ServiceTokens, Transport};

/// The inference replicas that a list or a name stands for.
pub struct InferenceReplicas {
    source: Source,
    client: reqwest::Client,
    tokens: Arc<ServiceTokens>,
    known: RwLock<Vec<(String, Arc<dyn InferenceApi>)>>,
}

/// The inference replicas at base URLs, separated by commas, or at all addresses of a name:
/// `dns+http://inference:8003`.
///
/// # Errors
/// `unprocessable` if the setting is neither; `internal` if the HTTP client cannot be set up.
pub fn inference(
    setting: &str,
    tokens: &Arc<ServiceTokens>,
) -> Result<InferenceReplicas, ApiError> {
    let source = Source::parse("inference", setting)?;
    let (client, tokens) = (http_client()?, Arc::clone(tokens));
    Ok(InferenceReplicas { source, client, tokens, known: RwLock::default() })
}

impl InferenceReplicas {
    /// The replicas as of now: base URL and client of each. A name is resolved again; when that
    /// fails, the last known ones stay. A replica that stays keeps its client.
    pub async fn current(&self) -> Vec<(String, Arc<dyn InferenceApi>)> {
        let urls = match self.source.look_up().await {
            Ok(urls) => urls,
            Err(error) => {
                tracing::warn!(%error, "the name of the inference replicas (`services.inference`) does not resolve: the last known ones stay");
                return self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
            }
        };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let replica = |url: String| {
            let same = known.iter().find(|(address, _)| *address == url);
            let api = same.map(|(_, api)| Arc::clone(api)).unwrap_or_else(|| {
                let tokens = Arc::clone(&self.tokens);
                Arc::new(Inference(Transport::replica(&self.client, &url, tokens)))
            });
            (url, api)
        };
        *known = urls.into_iter().map(replica).collect();
        known.clone()
    }
}
