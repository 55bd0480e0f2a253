//! The audit trail. Each entry is sealed over the seal before it with a key that the store does not
//! hold, so that whoever can change the store can neither change nor take out an entry unseen.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contracts::auth::{AuditFault, AuditPage, AuditQuery, AuditVerdict};
use contracts::{ApiError, Call};
use domain::{AuditEntry, AuditFilter, AuditQueue, AuditRow, Clock, Role, SealedEntry, hex};
use hmac::{Hmac, KeyInit as _, Mac as _};
use runtime::audit::{Change, Refusal};
use sha2::Sha256;
use storage::StoreError;
use storage::ports::AuditTrail;
use tokio_util::sync::CancellationToken;

use crate::AuthError;

/// What stands before the first entry.
const BEGIN: &str = "";
/// Entries written at once.
const BATCH: usize = 200;
/// Entries read at once.
const PAGE: u32 = 1000;
/// The most faults that a verdict tells.
const FAULTS: usize = 100;
/// Characters of what somebody tried to sign in to.
const MAX_TARGET: usize = 300;
/// Refusals are written this often.
const PAUSE: Duration = Duration::from_millis(200);

/// The trail, and what is to be added to it.
pub(crate) struct Trail {
    store: Arc<dyn AuditTrail>,
    clock: Arc<dyn Clock>,
    key: [u8; 32],
    waiting: Mutex<AuditQueue>,
    /// Held by whoever adds: the place and the seal of the last entry, as far as is known.
    last: tokio::sync::Mutex<Option<(u64, String)>>,
}

impl Trail {
    pub(crate) fn new(store: Arc<dyn AuditTrail>, clock: Arc<dyn Clock>, key: [u8; 32]) -> Self {
        Self { store, clock, key, waiting: Mutex::default(), last: tokio::sync::Mutex::default() }
    }

    /// Notes what was done, and writes it. If the store fails now, it is written later.
    pub(crate) async fn done(&self, call: &Call, change: Change) {
        self.add(vec![change.entry(call, self.clock.now())]);
        self.flush().await;
    }

    /// Notes what somebody was not allowed to do.
    pub(crate) fn refused(&self, call: &Call, action: &'static str, target: &str, why: &AuthError) {
        let refusal = Refusal {
            action,
            principal: call.principal.as_ref(),
            client: call.client,
            request_id: &call.request_id,
            // A name may be any text that somebody tried.
            target: target.chars().take(MAX_TARGET).collect(),
            reason: &why.to_string(),
        };
        self.add(vec![refusal.entry(self.clock.now())]);
    }

    /// Takes entries in line.
    pub(crate) fn add(&self, entries: Vec<AuditEntry>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            if let Some(entry) = waiting.push(entry) {
                tracing::error!(
                    action = entry.action,
                    target = entry.target,
                    "the audit trail cannot be written and too much waits: an entry is lost"
                );
            }
        }
    }

    /// Writes what waits, until told to stop.
    pub(crate) async fn write(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_some() {
            self.flush().await;
        }
        self.flush().await;
    }

    /// Writes what waits. What cannot be written goes on waiting.
    pub(crate) async fn flush(&self) {
        let mut last = self.last.lock().await;
        loop {
            let batch = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).front(BATCH);
            if batch.is_empty() {
                return;
            }
            if let Err(error) = self.append(&mut last, &batch).await {
                tracing::warn!(%error, "the audit trail cannot be written now: it is tried again");
                return;
            }
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).written(&batch);
        }
    }

    async fn append(
        &self,
        last: &mut Option<(u64, String)>,
        entries: &[AuditEntry],
    ) -> Result<(), AuthError> {
        loop {
            let (mut seq, mut seal) = match last.take() {
                Some(known) => known,
                None => self.store.head().await?.unwrap_or((0, BEGIN.to_owned())),
            };
            let mut rows = Vec::with_capacity(entries.len());
            for entry in entries {
                seq += 1;
                let record = serde_json::to_string(entry).map_err(AuthError::Entry)?;
                seal = self.seal(&seal, seq, &record);
                rows.push(AuditRow {
                    seq,
                    at: entry.at,
                    actor: entry.actor.as_ref().map(|actor| actor.name.clone()).unwrap_or_default(),
                    action: entry.action.clone(),
                    target: entry.target.clone(),
                    record,
                    seal: seal.clone(),
                });
            }
            match self.store.append(&rows).await {
                Ok(()) => {
                    *last = Some((seq, seal));
                    return Ok(());
                }
                // Another replica was quicker: what comes last is read anew.
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// HMAC-SHA-256 (RFC 2104) over the seal before, the place and the record, each after its length.
    fn seal(&self, before: &str, seq: u64, record: &str) -> String {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("any length");
        for part in [before.as_bytes(), &seq.to_be_bytes(), record.as_bytes()] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        hex(&mac.finalize().into_bytes())
    }

    /// Reads the trail, for admins; for analysts what was done to models.
    pub(crate) async fn page(
        &self,
        call: &Call,
        query: AuditQuery,
    ) -> Result<AuditPage, AuthError> {
        let caller = call.require(&[Role::Analyst])?;
        if !(1..=PAGE).contains(&query.limit) {
            let why = format!("must be 1 to {PAGE}, got `{}`", query.limit);
            return Err(ApiError::at("#/limit", why).into());
        }
        let rows = self.store.page(&query.filter, query.limit).await?;
        let full = rows.len() >= usize::try_from(query.limit).unwrap_or(usize::MAX);
        let next = rows.last().filter(|_| full).map(|row| row.seq);
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            if caller.role == Role::Admin || row.target.starts_with("model:") {
                entries.push(sealed(row)?);
            }
        }
        Ok(AuditPage { entries, next })
    }

    /// Goes through the whole trail.
    pub(crate) async fn verify(&self) -> Result<AuditVerdict, AuthError> {
        self.flush().await;
        // First where it ends, so that what is added meanwhile is not missed.
        let head = self.store.head().await?;
        let (end, end_seal) = head.clone().unwrap_or((0, BEGIN.to_owned()));
        let (mut seq, mut seal, mut entries) = (0, BEGIN.to_owned(), 0);
        let mut faults = Vec::new();
        let mut fault = |seq, fault: &str| {
            if faults.len() < FAULTS {
                faults.push(AuditFault { seq, fault: fault.to_owned() });
            }
        };
        loop {
            let filter = AuditFilter { after: seq, ..AuditFilter::default() };
            let rows = self.store.page(&filter, PAGE).await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                let gone = seq + 1..row.seq;
                let is_gap = !gone.is_empty();
                gone.take(FAULTS).for_each(|seq| fault(seq, "is missing"));
                // After a gap the seal before is not known: the next entry that fits tells it.
                if !is_gap && row.seal != self.seal(&seal, row.seq, &row.record) {
                    fault(row.seq, "is not as it was written");
                } else if !columns_fit(&row) {
                    fault(row.seq, "is not listed under what it says");
                }
                (seq, seal) = (row.seq, row.seal);
                entries += 1;
            }
        }
        (seq + 1..=end).take(FAULTS).for_each(|seq| fault(seq, "is missing"));
        if seq == end && seal != end_seal {
            fault(seq, "is not the one that was noted as the last");
        }
        Ok(AuditVerdict { whole: faults.is_empty(), entries, last: seq, seal, faults })
    }
}

/// Whether a row is found under what its entry says.
fn columns_fit(row: &AuditRow) -> bool {
    let Ok(entry) = serde_json::from_str::<AuditEntry>(&row.record) else { return false };
    entry.actor.map(|actor| actor.name).unwrap_or_default() == row.actor
        && entry.action == row.action
        && entry.target == row.target
        && entry.at.unix_timestamp() == row.at.unix_timestamp()
}

fn sealed(row: AuditRow) -> Result<SealedEntry, AuthError> {
    let entry = serde_json::from_str(&row.record).map_err(AuthError::Entry)?;
    Ok(SealedEntry { seq: row.seq, entry, seal: row.seal })
}
