//! How what happened is told to all who listen.

use domain::{Event, EventKind, ModelName};
use serde_json::Value;

use super::Service;

impl Service {
    /// Publishes that something happened to a model. Never fails and never waits: the bus keeps the
    /// event until the store has it.
    #[expect(clippy::unused_async, reason = "as its callers, who await what they tell")]
    pub(super) async fn tell(
        &self,
        kind: &'static str,
        model: &ModelName,
        subject: &str,
        by: &str,
        reason: &str,
        data: Value,
    ) {
        self.bus.publish(Event {
            model: Some(model.clone()),
            subject: subject.to_owned(),
            reason: reason.to_owned(),
            data,
            ..self.bus.event(EventKind::of(kind), by)
        });
    }
}
