//! Tells people and machines what was decided.

use domain::ModelName;
use serde_json::Value;

use super::Service;

impl Service {
    /// Says that something changed, or was decided. Never fails what it tells of.
    ///
    /// `kind` is a dotted name, such as `rollout.advanced`; `subject` what it is about, such as a
    /// rollout's id; `by` a user name, or the plan that did it by itself.
    #[expect(clippy::unused_async, reason = "the bus of events comes with its branch")]
    pub(super) async fn tell(
        &self,
        kind: &'static str,
        model: &ModelName,
        subject: &str,
        by: &str,
        reason: &str,
        data: Value,
    ) {
        tracing::info!(event = kind, %model, subject, by, reason, %data, "{kind}: {reason}");
    }
}
