//! Back to a version that was good: at once, everywhere, in every state.
//!
//! Reading order: this file (the way of one rollback), `turning` (what decides), `aim` (where it
//! leads; pure), `past` (what it looks back on), `imposing` (how other routers take it over),
//! `pending` (what becomes of it while the store is down), `ending` (what becomes of rollouts and
//! experiments).

mod aim;
mod ending;
mod imposing;
mod past;
mod pending;
mod turning;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use contracts::router::{Rollback, RolledBack};
use contracts::{ApiError, Call};
use domain::{ModelName, PlanId, Role, VersionId};
use runtime::telemetry::{label, metrics, record};
use serde_json::json;
use time::OffsetDateTime;
use tokio::sync::Notify;

use super::Service;
use turning::Turned;

pub(super) use aim::refuses_blocked;
pub(crate) use past::Past as KnownPast;

/// How often it is tried again on top of another change that came first: more often than for any
/// other change, as it has to win against whoever keeps changing the route.
const ATTEMPTS: u32 = 20;

/// What rollbacks need beside the table.
pub(crate) struct Back {
    pub(super) pasts: past::Pasts,
    pub(super) pending: pending::Pending,
    /// Woken when a route was put in force that the file of the table has yet to learn.
    pub(super) wake: Notify,
    /// Whether others have yet to learn of it.
    pub(super) untold: AtomicBool,
}

impl Back {
    /// With what an earlier run kept in the file.
    pub(super) fn new(pending: std::path::PathBuf) -> Self {
        Self {
            pasts: past::Pasts::default(),
            pending: pending::Pending::new(pending),
            wake: Notify::new(),
            untold: AtomicBool::default(),
        }
    }
}

/// A rollback, whoever orders it.
#[derive(Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) model: &'a ModelName,
    /// The version that is to have everything; else the last stable one.
    pub(super) to: Option<VersionId>,
    /// User name, or the id of the plan.
    pub(super) by: &'a str,
    pub(super) reason: &'a str,
    /// A rollback since then is the one that is asked for.
    pub(super) asked_at: Option<OffsetDateTime>,
    /// A plan that ends itself, and is left alone.
    pub(super) spare: Option<&'a PlanId>,
}

impl Service {
    pub(super) async fn roll_back(
        &self,
        call: Call,
        request: Rollback,
    ) -> Result<RolledBack, ApiError> {
        let caller = call.require(&[Role::Engineer])?;
        let Rollback { model, rollback, asked_at } = request;
        call.require_model(&model)?;
        self.check_reason(&rollback.reason)?;
        let order = Order {
            model: &model,
            to: rollback.to,
            by: &caller.name,
            reason: &rollback.reason,
            asked_at: self.same_since(asked_at),
            spare: None,
        };
        self.bring_back(&call, order).await
    }

    /// Gives everything to one version, in every router, and blocks those that it takes it from.
    /// When this returns, no router that lives decides by an older route. Works while the store is
    /// down, too.
    ///
    /// # Errors
    /// `not_found` if there is no such model or version; `conflict` if there is no version to go back
    /// to, or the one that is named may not be routed.
    pub(super) async fn bring_back(
        &self,
        call: &Call,
        order: Order<'_>,
    ) -> Result<RolledBack, ApiError> {
        let began = Instant::now();
        let model = order.model;
        let turned = self.turn(order).await.inspect_err(|error| {
            tracing::warn!(%model, by = order.by, %error, "a rollback was refused");
            // A name that a caller made up makes no series.
            if self.table.has(model) {
                count(model, "refused");
            }
        })?;
        let Turned { before, stable, stored, .. } = turned;
        let repeated = before.generation == turned.after.generation;
        let (after, imposed) = self.put_everywhere(turned.after, stored).await;
        let ending = async {
            if stored { self.end_plans(call, &after, order.spare).await } else { Vec::new() }
        };
        let (before, now) = (json!(before), json!(after));
        let action = "route.rollback";
        let on_record = async {
            // Who keeps the trail shares the store: it is not waited for while that is down.
            if stored {
                self.record_why(call, action, model, order.reason, before, now).await;
            } else {
                let (target, reason) = (format!("model:{model}"), order.reason.to_owned());
                let change = runtime::audit::Change { action, target, reason, before, after: now };
                self.deps.recorder.later(call, change);
            }
        };
        let (ended, ()) = tokio::join!(ending, on_record);
        self.back.untold.store(true, Ordering::Relaxed);
        self.back.wake.notify_one();
        let took = began.elapsed();
        let version = after.whole().ok_or_else(ApiError::internal)?;
        let answer = RolledBack {
            model: model.clone(),
            version,
            stable,
            blocked: after.blocked.iter().map(|blocked| blocked.version).collect(),
            generation: after.generation,
            acknowledged: imposed.acknowledged,
            unconfirmed: imposed.unconfirmed,
            stored,
            ended,
            repeated,
            took_ms: took.as_secs_f64() * 1000.0,
        };
        count(model, outcome(&answer));
        record(&metrics().rollback_duration, took, &[]);
        let (subject, told) = (format!("model:{model}"), json!(answer));
        self.tell("route.rolled_back", model, &subject, order.by, order.reason, told).await;
        Ok(answer)
    }

    /// Since when a rollback is the one that is asked for: people who see the same trouble call for the
    /// same thing, and one who sees no effect calls twice.
    fn same_since(&self, asked_at: Option<OffsetDateTime>) -> Option<OffsetDateTime> {
        let before = std::time::Duration::from_secs(self.settings.rollback.repeat_s);
        let before = time::Duration::try_from(before).ok()?;
        asked_at.and_then(|at| at.checked_sub(before))
    }

    /// Refuses a reason that is too long to be kept.
    pub(super) fn check_reason(&self, reason: &str) -> Result<(), ApiError> {
        let most = self.settings.rollback.max_reason_bytes;
        if reason.len() <= most {
            return Ok(());
        }
        Err(ApiError::at(
            "#/reason",
            format!(
                "has {} bytes, more than the {most} that `router.rollback.max_reason_bytes` allows",
                reason.len()
            ),
        ))
    }
}

/// Makes the counters of a model's rollbacks known before they count.
pub(super) fn begin_counters(model: &ModelName) {
    for outcome in ["done", "unconfirmed", "unstored", "refused"] {
        let labels = [label("model", model.to_string()), label("outcome", outcome)];
        metrics().rollbacks.add(0, &labels);
    }
}

fn outcome(answer: &RolledBack) -> &'static str {
    match answer {
        RolledBack { stored: false, .. } => "unstored",
        RolledBack { unconfirmed, .. } if !unconfirmed.is_empty() => "unconfirmed",
        RolledBack { .. } => "done",
    }
}

fn count(model: &ModelName, outcome: &'static str) {
    metrics().rollbacks.add(1, &[label("model", model.to_string()), label("outcome", outcome)]);
}
