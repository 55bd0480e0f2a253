//! What a service tells the audit trail: what it did, and what it did not allow.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contracts::auth::Entries;
use contracts::{AuthApi, Call};
use domain::{Actor, AuditEntry, AuditOutcome, AuditQueue, Clock, Principal, RequestId};
use serde_json::Value;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

/// Entries sent at once.
const BATCH: usize = 200;
/// How long one who made a change waits until it is on record; then it is sent later.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often refusals, and what could not be sent, are sent.
const PAUSE: Duration = Duration::from_secs(1);

/// Sends entries to the auth service, which keeps the trail. What cannot be sent waits.
pub struct Recorder {
    service: &'static str,
    auth: Option<Arc<dyn AuthApi>>,
    clock: Arc<dyn Clock>,
    waiting: Mutex<AuditQueue>,
    sending: tokio::sync::Mutex<()>,
}

/// Something that was done.
#[derive(Debug, Default)]
pub struct Change {
    /// What, such as `route.put`.
    pub action: &'static str,
    /// On what, such as `model:iris`.
    pub target: String,
    /// Why, if that was said.
    pub reason: String,
    /// What was there before; `Null` for nothing.
    pub before: Value,
    /// What is there now; `Null` for nothing.
    pub after: Value,
}

impl Change {
    /// The entry of what was done in this call.
    pub fn entry(self, call: &Call, now: OffsetDateTime) -> AuditEntry {
        let value = |value: Value| (!value.is_null()).then_some(value);
        AuditEntry {
            at: now,
            actor: call.principal.as_ref().map(Actor::from),
            client: call.client,
            request_id: call.request_id.clone(),
            action: self.action.to_owned(),
            target: self.target,
            outcome: AuditOutcome::Done,
            reason: self.reason,
            before: value(self.before),
            after: value(self.after),
            count: 1,
        }
    }
}

/// What somebody was not allowed to do.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// What was tried.
    pub action: &'static str,
    /// Who, if that is known.
    pub principal: Option<&'a Principal>,
    /// From where.
    pub client: Option<IpAddr>,
    /// The request.
    pub request_id: &'a RequestId,
    /// On what.
    pub target: String,
    /// Why it was refused.
    pub reason: &'a str,
}

impl Refusal<'_> {
    /// The entry of it.
    pub fn entry(self, now: OffsetDateTime) -> AuditEntry {
        AuditEntry {
            at: now,
            actor: self.principal.map(Actor::from),
            client: self.client,
            request_id: self.request_id.clone(),
            action: self.action.to_owned(),
            target: self.target,
            outcome: AuditOutcome::Refused,
            reason: self.reason.to_owned(),
            before: None,
            after: None,
            count: 1,
        }
    }
}

impl Recorder {
    /// Tells this auth service, on the account of `service`. Spawn [`Recorder::write`], too.
    pub fn new(service: &'static str, auth: Arc<dyn AuthApi>, clock: Arc<dyn Clock>) -> Self {
        let (waiting, sending) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { service, auth: Some(auth), clock, waiting, sending }
    }

    /// Tells nobody, for a service by itself that is tried out.
    pub fn alone(service: &'static str, clock: Arc<dyn Clock>) -> Self {
        let (waiting, sending) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { service, auth: None, clock, waiting, sending }
    }

    /// Puts on record what was done. If that cannot be now, it is done later: the change stands.
    pub async fn done(&self, call: &Call, change: Change) {
        self.push(change.entry(call, self.clock.now()));
        tokio::time::timeout(PATIENCE, self.send()).await.ok();
    }

    /// Puts on record, soon, what was done in a hurry.
    pub fn later(&self, call: &Call, change: Change) {
        self.push(change.entry(call, self.clock.now()));
    }

    /// Puts on record, soon, what was refused. The same within a second is one entry that counts.
    pub fn refused(&self, refusal: Refusal<'_>) {
        self.push(refusal.entry(self.clock.now()));
    }

    fn push(&self, entry: AuditEntry) {
        if self.auth.is_none() {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = waiting.push(entry) {
            tracing::error!(
                action = entry.action,
                target = entry.target,
                "the audit trail cannot be reached and too much waits: an entry is lost"
            );
        }
    }

    /// Sends what waits, until told to stop.
    pub async fn write(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_some() {
            self.send().await;
        }
        tokio::time::timeout(PATIENCE, self.send()).await.ok();
    }

    async fn send(&self) {
        let Some(auth) = &self.auth else { return };
        let _alone = self.sending.lock().await;
        loop {
            let entries = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).front(BATCH);
            if entries.is_empty() {
                return;
            }
            let call = Call::service(self.service, PATIENCE);
            let request = Entries { entries: entries.clone() };
            if let Err(error) = auth.record(call, request).await {
                tracing::warn!(%error, "the audit trail cannot be reached: it is tried again");
                return;
            }
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).written(&entries);
        }
    }
}
