//! How what this router counted comes to the store.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Service;
use crate::counting::Counted;
use crate::table::Choice;

impl Service {
    /// Brings counts to the store, until told to stop.
    pub(crate) async fn bring_counts(&self, stop: CancellationToken) {
        let pause = Duration::from_millis(self.settings.plans.flush_ms.max(10));
        let mut failing = false;
        while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            failing = self.flush_counts(failing).await;
        }
        self.flush_counts(failing).await;
    }

    async fn flush_counts(&self, was_failing: bool) -> bool {
        let ramps = self.table.ramps();
        let in_force = |plan: &_, step| ramps.iter().any(|(id, at)| id == plan && *at == step);
        self.counting.close(self.deps.clock.now(), in_force);
        match self.counting.send(&*self.deps.relational.plans).await {
            Ok(()) => false,
            Err(error) => {
                if !was_failing {
                    tracing::warn!(%error, "counts for rollouts wait, as the store does not take them");
                }
                true
            }
        }
    }

    /// A request that counts for the rollout it is part of, if it is part of one.
    pub(in crate::service) fn counted(&self, choice: &Choice, began: Instant) -> Counted<'_> {
        let clock = &*self.deps.clock;
        let version = choice.version.version;
        Counted::new(&self.counting, clock, began, choice.route.as_ref(), version, &choice.decision)
    }
}
