//! What goes on by itself: one router of all drives the rollouts and experiments. If it dies, another
//! goes on from where it was: all of its state is in the store.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Service;

/// The lease of whoever drives.
const LEASE: &str = "plans";

impl Service {
    /// Drives what is to be driven, for as long as this router has the lease. Runs until told to stop.
    pub(crate) async fn drive(&self, stop: CancellationToken) {
        let tick = Duration::from_millis(self.settings.plans.tick_ms.max(10));
        while stop.run_until_cancelled(tokio::time::sleep(tick)).await.is_some() {
            if !self.has_lease().await {
                continue;
            }
            // A step that has begun is finished: half of one is what the next driver would find.
            self.drive_rollouts().await;
            self.drive_experiments().await;
        }
        self.give_lease_back().await;
    }

    async fn has_lease(&self) -> bool {
        let now = self.deps.clock.now();
        let until = now + Duration::from_millis(self.settings.plans.lease_ms);
        let plans = &self.deps.relational.plans;
        plans.lease(LEASE, &self.id, now, until).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "the store does not say who drives rollouts and experiments");
            false
        })
    }

    async fn give_lease_back(&self) {
        let now = self.deps.clock.now();
        if self.has_lease().await {
            self.deps.relational.plans.lease(LEASE, &self.id, now, now).await.ok();
        }
    }

    #[expect(clippy::unused_async, reason = "rollouts come with their branch")]
    async fn drive_rollouts(&self) {}

    #[expect(clippy::unused_async, reason = "experiments come with their branch")]
    async fn drive_experiments(&self) {}
}
