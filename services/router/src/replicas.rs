//! Which replicas of a service there are: a set that may change.

use std::sync::Arc;

use async_trait::async_trait;
use contracts::InferenceApi;

/// A replica, of the inference service or another one.
pub struct Replica<A: ?Sized = dyn InferenceApi> {
    /// Tells it from the others, such as `http://10.0.0.7:8003`.
    pub address: String,
    /// The replica itself, near or far.
    pub api: Arc<A>,
}

impl<A: ?Sized> Clone for Replica<A> {
    fn clone(&self) -> Self {
        Self { address: self.address.clone(), api: Arc::clone(&self.api) }
    }
}

/// Where replicas are found.
#[async_trait]
pub trait Replicas<A: ?Sized = dyn InferenceApi>: Send + Sync {
    /// The replicas as of now, each address once. While they cannot be looked up, the last known
    /// ones; none if there are no such.
    async fn current(&self) -> Vec<Replica<A>>;
}

/// Replicas that never change: `replica-1`, `replica-2` and so on.
pub fn fixed<A: ?Sized + Send + Sync + 'static>(
    apis: impl IntoIterator<Item = Arc<A>>,
) -> Arc<dyn Replicas<A>> {
    let named = |(index, api)| Replica { address: format!("replica-{}", index + 1), api };
    Arc::new(Fixed(apis.into_iter().enumerate().map(named).collect()))
}

struct Fixed<A: ?Sized>(Vec<Replica<A>>);

#[async_trait]
impl<A: ?Sized + Send + Sync + 'static> Replicas<A> for Fixed<A> {
    async fn current(&self) -> Vec<Replica<A>> {
        self.0.clone()
    }
}
