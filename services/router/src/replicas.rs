//! Which replicas there are: a set that may change.

use std::sync::Arc;

use async_trait::async_trait;
use contracts::InferenceApi;

/// An inference replica.
#[derive(Clone)]
pub struct Replica {
    /// Tells it from the others, such as `http://10.0.0.7:8003`.
    pub address: String,
    /// The replica itself, near or far.
    pub api: Arc<dyn InferenceApi>,
}

/// Where replicas are found.
#[async_trait]
pub trait Replicas: Send + Sync {
    /// The replicas as of now, each address once. While they cannot be looked up, the last known
    /// ones; none if there are no such.
    async fn current(&self) -> Vec<Replica>;
}

/// Replicas that never change: `replica-1`, `replica-2` and so on.
pub fn fixed(apis: impl IntoIterator<Item = Arc<dyn InferenceApi>>) -> Arc<dyn Replicas> {
    let named = |(index, api)| Replica { address: format!("replica-{}", index + 1), api };
    Arc::new(Fixed(apis.into_iter().enumerate().map(named).collect()))
}

struct Fixed(Vec<Replica>);

#[async_trait]
impl Replicas for Fixed {
    async fn current(&self) -> Vec<Replica> {
        self.0.clone()
    }
}
