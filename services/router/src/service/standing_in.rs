//! What answers in the place of a version that cannot: other versions, then the last good answer to
//! the same input, then a safe default, as far as the route names them.
//!
//! Each such answer is marked `degraded` in its body, its record, a metric and the log. A request that
//! names its version gets that version or the failure.

mod safe_default;

use std::time::Duration;

use contracts::inference::Answered;
use contracts::{Call, Deadline, ErrorCode, Framed};
use domain::prediction::{Degraded, Reason, StandIn};
use domain::targeting::Fallback;
use domain::{ModelName, VersionId};
use runtime::telemetry::{label, metrics};

use super::Service;
use super::answering::{Asking, Outcome};
use crate::answers::Keyed;
use crate::table::Served;

/// An answer in the place of another.
struct StoodIn {
    by: StandIn,
    version: VersionId,
    answer: Framed<Answered>,
}

impl Service {
    /// The call as the chosen version gets it where something may stand in for that: with less time.
    /// `None` where it has all of it.
    pub(super) fn with_time_left(&self, asking: &Asking<'_>) -> Option<Call> {
        fallback_of(asking)?;
        let left = asking.call.deadline.left();
        let reserve = Duration::from_millis(self.settings.fallback.reserve_ms).min(left / 2);
        Some(due_in(asking.call, left.saturating_sub(reserve)))
    }

    /// Answers in the place of the chosen version, which failed.
    pub(super) async fn stand_in(
        &self,
        asking: &Asking<'_>,
        error: ErrorCode,
    ) -> Option<Framed<Answered>> {
        let fallback = fallback_of(asking)?;
        let mut found = self.by_version(asking, fallback).await;
        if found.is_none() && fallback.last_good {
            found = self.by_last_good(asking).await;
        }
        if found.is_none() {
            let version = asking.choice.version.version;
            let default = fallback.default.as_ref();
            let answer = default.and_then(|value| safe_default::answer(asking.request, value));
            found = answer.map(|answer| StoodIn { by: StandIn::Default, version, answer });
        }
        let StoodIn { by, version, answer } = found?;
        let target = &asking.request.meta.target;
        count(&target.model, by, 1);
        let prediction = asking.request.meta.prediction_id;
        tracing::warn!(
            prediction.id = %prediction,
            model = %target.model,
            version = %target.version,
            error = error.as_str(),
            by = by.as_str(),
            "something else answered in the place of a version that failed"
        );
        let degraded = Some(Degraded { by, error: error.as_str().to_owned() });
        self.log(asking, Outcome { version, answer: Some(&answer), degraded, error: None });
        Some(answer)
    }

    /// Keeps an answer as the last good one to its input, where the route asks for that.
    pub(super) async fn keep_good(&self, asking: &Asking<'_>, answer: &Framed<Answered>) {
        if !fallback_of(asking).is_some_and(|fallback| fallback.last_good) {
            return;
        }
        if let Some(keyed) = self.keyed(asking, Keyed::of_any_version).await {
            let ttl = Duration::from_secs(self.settings.fallback.last_good_ttl_s);
            let version = asking.choice.version.version;
            self.answers.keep_good(&keyed, version, answer, ttl).await;
        }
    }

    async fn by_version(&self, asking: &Asking<'_>, fallback: &Fallback) -> Option<StoodIn> {
        let task = &asking.request.meta;
        let others = fallback.versions.iter().filter(|version| **version != task.target.version);
        let others: Vec<Served> =
            others.filter_map(|other| self.table.stand_in(&task.target.model, *other)).collect();
        let later = usize::from(fallback.last_good || fallback.default.is_some());
        for (index, Served { version, counted }) in others.iter().enumerate() {
            // Each gets an even part of what is left.
            let parts = u32::try_from(others.len() - index + later).unwrap_or(u32::MAX);
            let call = due_in(asking.call, asking.call.deadline.left() / parts);
            let mut request = asking.request.clone();
            request.meta.target.version = version.version;
            request.meta.degraded = true;
            match self.fleet.predict(&call, version, &request).await {
                Ok(answer) => {
                    counted.answered(asking.start.elapsed(), answer.meta.confidence);
                    let version = version.version;
                    return Some(StoodIn { by: StandIn::Version, version, answer });
                }
                Err(error) => counted.failed(error.code),
            }
        }
        None
    }

    async fn by_last_good(&self, asking: &Asking<'_>) -> Option<StoodIn> {
        let mut keyed = self.keyed(asking, Keyed::of_any_version).await?;
        keyed.mark_degraded();
        let (version, answer) = self.answers.last_good(&keyed).await?;
        // What was found bad does not come back by this door.
        let blocks = |route: &domain::Route| route.blocks(version).is_some();
        let blocked = asking.choice.route.as_ref().is_some_and(|route| blocks(route));
        (!blocked).then_some(StoodIn { by: StandIn::LastGood, version, answer })
    }
}

/// What the route has for a version that fails, if anything.
fn fallback_of<'a>(asking: &Asking<'a>) -> Option<&'a Fallback> {
    let choice = asking.choice;
    let fallback = &choice.route.as_ref()?.fallback;
    (choice.decision.reason != Reason::Pinned && !fallback.is_none()).then_some(fallback)
}

fn due_in(call: &Call, time: Duration) -> Call {
    Call { deadline: Deadline::after(time), ..call.clone() }
}

/// Makes the counters of a model's degraded answers known before they count.
pub(super) fn begin_counters(model: &ModelName) {
    for by in [StandIn::Version, StandIn::LastGood, StandIn::Default] {
        count(model, by, 0);
    }
}

fn count(model: &ModelName, by: StandIn, count: u64) {
    let labels = [label("model", model.to_string()), label("by", by.as_str())];
    metrics().degraded_answers.add(count, &labels);
}
