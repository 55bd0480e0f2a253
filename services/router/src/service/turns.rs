//! One after the other: changes that must not come at once, whichever routers make them.

use std::time::Duration;

use contracts::{ApiError, ErrorCode};

use super::{Service, new_seed};
use crate::error::RouterError;

/// How often it is looked whether the turn has come.
const PAUSE: Duration = Duration::from_millis(50);

impl Service {
    /// Does `work` while nobody else does any in a turn of this name.
    ///
    /// A router that dies in its turn holds the others up until the turn ends by itself
    /// (`router.experiments.turn_ms`).
    pub(super) async fn in_turn<T>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let holder = format!("{}-{:016x}", self.id, new_seed());
        let plans = &self.deps.relational.plans;
        let length = Duration::from_millis(self.settings.experiments.turn_ms);
        let mut waited = Duration::ZERO;
        loop {
            let now = self.deps.clock.now();
            let lease = plans.lease(name, &holder, now, now + length).await;
            if lease.map_err(RouterError::from)? {
                break;
            }
            if waited >= length {
                let message = format!("another change of `{name}` is under way: try again");
                return Err(ApiError::new(ErrorCode::Unavailable, message).retry_after(1));
            }
            tokio::time::sleep(PAUSE).await;
            waited += PAUSE;
        }
        let result = work.await;
        let now = self.deps.clock.now();
        if let Err(error) = plans.lease(name, &holder, now, now).await {
            tracing::debug!(%error, name, "a turn was not given back: it ends by itself");
        }
        result
    }
}
