//! What goes on by itself: one router of all drives the rollouts and experiments. If it dies, another
//! goes on from where it was: all of its state is in the store.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use contracts::{ApiError, Call};
use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use super::Service;

/// The lease of whoever drives.
const LEASE: &str = "plans";
/// How long putting a move on record may take.
const RECORD_LIMIT: Duration = Duration::from_secs(2);

impl Service {
    /// Drives what is to be driven, for as long as this router has the lease. Runs until told to stop.
    pub(crate) async fn drive(&self, stop: CancellationToken) {
        let tick = Duration::from_millis(self.settings.plans.tick_ms.max(10));
        let mut drives = false;
        while stop.run_until_cancelled(tokio::time::sleep(tick)).await.is_some() {
            let before = std::mem::replace(&mut drives, self.has_lease(LEASE).await);
            if !drives {
                continue;
            }
            if !before {
                tracing::info!("this router drives rollouts and experiments from now on");
            }
            // A step that has begun is finished: half of one is what the next driver would find.
            self.drive_rollouts().await;
        }
        self.give_lease_back(LEASE).await;
        self.bus.write_rest().await;
    }

    pub(super) async fn has_lease(&self, name: &str) -> bool {
        let now = self.deps.clock.now();
        let until = now + Duration::from_millis(self.settings.plans.lease_ms);
        let plans = &self.deps.relational.plans;
        plans.lease(name, &self.id, now, until).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "the store does not say who drives rollouts and experiments");
            false
        })
    }

    pub(super) async fn give_lease_back(&self, name: &str) {
        let now = self.deps.clock.now();
        if self.has_lease(name).await {
            self.deps.relational.plans.lease(name, &self.id, now, now).await.ok();
        }
    }
}

/// The call in whose name that is put on record which goes on by itself.
pub(super) fn own_call() -> Call {
    Call::service("router", RECORD_LIMIT)
}

/// Does a part of the work on one plan. A panic in it ends that part alone: the others, and later
/// looks, go on.
pub(super) async fn survived<E: From<ApiError>>(
    part: impl Future<Output = Result<(), E>>,
) -> Result<(), E> {
    AssertUnwindSafe(part).catch_unwind().await.unwrap_or_else(|_panic| {
        // What it said is in the log already.
        Err(ApiError::internal().into())
    })
}
