//! What a router asks of the others.

use std::sync::Arc;
use std::time::Duration;

use contracts::router::Change;
use contracts::{ApiError, Call, Deadline, Done, RouterApi};
use futures_util::future::join_all;

use super::Service;
use crate::Replica;

impl Service {
    /// Has every other router put in force what the store holds, and waits until each has.
    pub(super) async fn tell_others(&self) {
        let limit = Duration::from_millis(self.settings.push_timeout_ms);
        let asked = self.ask_others(limit, |router, call| {
            let change = Change { by: self.id.clone() };
            async move { router.follow(call, change).await }
        });
        for (address, error) in asked.await {
            tracing::warn!(address, %error, "a router did not confirm a change: if it lives, it follows within `router.poll_interval_s`");
        }
    }

    /// Has every router bring what waits in its spool to the log, this one too.
    pub(super) async fn flush_all(&self, limit: Duration) {
        let flush = |router: Arc<dyn RouterApi>, call| async move { router.flush(call).await };
        let others = self.ask_others(limit, flush);
        let (failed, _own) = tokio::join!(others, self.spool.flush(limit));
        for (address, error) in failed {
            tracing::debug!(address, %error, "a router did not bring its records to the log");
        }
    }

    /// Asks all at once; returns those that failed.
    async fn ask_others<F>(
        &self,
        limit: Duration,
        ask: impl Fn(Arc<dyn RouterApi>, Call) -> F,
    ) -> Vec<(String, ApiError)>
    where
        F: Future<Output = Result<Done, ApiError>>,
    {
        let asked = self.ask_each(limit, ask).await.into_iter();
        asked.filter_map(|(address, answer)| Some((address, answer.err()?))).collect()
    }

    /// Asks all at once; returns what each said. One that does not answer in time timed out.
    pub(super) async fn ask_each<T, F>(
        &self,
        limit: Duration,
        ask: impl Fn(Arc<dyn RouterApi>, Call) -> F,
    ) -> Vec<(String, Result<T, ApiError>)>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        let asked = |router: Replica<dyn RouterApi>| {
            let call = Call::service("router", limit);
            let due = call.deadline.instant().into();
            let answer = tokio::time::timeout_at(due, ask(router.api, call));
            async move {
                let answer = answer.await.unwrap_or_else(|_passed| Err(Deadline::passed()));
                (router.address, answer)
            }
        };
        let asked: Vec<_> = self.deps.routers.current().await.into_iter().map(asked).collect();
        join_all(asked).await
    }
}
