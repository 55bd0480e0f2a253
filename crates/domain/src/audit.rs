//! Who did what: the entries of the audit trail.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{Principal, RequestId};

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// It was done.
    Done,
    /// The caller may not do this, or proved nothing.
    Refused,
}

/// One thing that was done, or that somebody was not allowed to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: OffsetDateTime,
    /// Who; absent where nobody proved who it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// From where: the client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub client: Option<IpAddr>,
    /// The request that asked for it.
    pub request_id: RequestId,
    /// What, such as `route.put`.
    #[schema(example = "route.put")]
    pub action: String,
    /// On what, such as `model:iris`.
    #[schema(example = "model:iris")]
    pub target: String,
    /// What came of it.
    pub outcome: AuditOutcome,
    /// Why it was refused, or why it was done, where that was said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What was there before, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What is there now, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// How often the same was tried within a short time; only refusals are taken together.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub count: u32,
}

fn once() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_once(count: &u32) -> bool {
    *count == 1
}

/// Who did it, as it was then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Actor {
    /// The id of the user or the API key, or the service's name.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: crate::Role,
}

impl From<&Principal> for Actor {
    fn from(principal: &Principal) -> Self {
        Self { id: principal.id.clone(), name: principal.name.clone(), role: principal.role }
    }
}

impl AuditEntry {
    /// Whether both are the same refusal but for the moment and the request.
    fn is_again(&self, other: &Self) -> bool {
        let refused = AuditOutcome::Refused;
        (self.outcome, other.outcome) == (refused, refused)
            && self.actor == other.actor
            && self.client == other.client
            && self.action == other.action
            && self.target == other.target
            && self.reason == other.reason
    }
}

/// Entries on their way to the trail, in order. The same refusal again only counts.
#[derive(Debug, Default)]
pub struct AuditQueue(Vec<AuditEntry>);

/// Entries that may wait.
const WAITING: usize = 10_000;

impl AuditQueue {
    /// Takes an entry in line, or gives it back if too many wait.
    pub fn push(&mut self, entry: AuditEntry) -> Option<AuditEntry> {
        if let Some(known) = self.0.iter_mut().rev().find(|known| known.is_again(&entry)) {
            known.count = known.count.saturating_add(entry.count);
            return None;
        }
        if self.0.len() >= WAITING {
            return Some(entry);
        }
        self.0.push(entry);
        None
    }

    /// The first ones.
    pub fn front(&self, count: usize) -> Vec<AuditEntry> {
        self.0.iter().take(count).cloned().collect()
    }

    /// Removes those of the front that were written. What was counted since stays.
    pub fn written(&mut self, front: &[AuditEntry]) {
        let mut written = front.iter();
        self.0.retain_mut(|entry| match written.next() {
            Some(one) if entry.count > one.count => {
                entry.count -= one.count;
                true
            }
            Some(_) => false,
            None => true,
        });
    }
}

/// An entry in its place in the trail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SealedEntry {
    /// Its place: 1, 2, 3...
    pub seq: u64,
    /// What was done.
    #[serde(flatten)]
    pub entry: AuditEntry,
    /// HMAC-SHA-256 over the seal before it, the place and the entry; lower-case hex.
    pub seal: String,
}

/// An entry as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its place: 1, 2, 3...
    pub seq: u64,
    /// When, to search by.
    pub at: OffsetDateTime,
    /// Who, to search by: the name.
    pub actor: String,
    /// What, to search by.
    pub action: String,
    /// On what, to search by.
    pub target: String,
    /// The [`AuditEntry`] as JSON, byte for byte as it was sealed.
    pub record: String,
    /// The seal.
    pub seal: String,
}

/// Which entries of the trail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct AuditFilter {
    /// Only those after this place.
    pub after: u64,
    /// Only those before this place, newest first.
    pub newest_before: Option<u64>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub from: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub to: Option<OffsetDateTime>,
    pub actor: Option<String>,
    /// The action, or its beginning up to a dot.
    pub action: Option<String>,
    pub target: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(outcome: AuditOutcome, target: &str) -> AuditEntry {
        AuditEntry {
            at: OffsetDateTime::UNIX_EPOCH,
            actor: None,
            client: None,
            request_id: RequestId::new(),
            action: "test".to_owned(),
            target: target.to_owned(),
            outcome,
            reason: String::new(),
            before: None,
            after: None,
            count: 1,
        }
    }

    #[test]
    fn the_same_refusal_counts_and_changes_never_do() {
        let mut queue = AuditQueue::default();
        for _ in 0..3 {
            assert_eq!(queue.push(entry(AuditOutcome::Refused, "a")), None);
            assert_eq!(queue.push(entry(AuditOutcome::Done, "a")), None);
        }
        assert_eq!(queue.push(entry(AuditOutcome::Refused, "b")), None);
        let counts = |queue: &AuditQueue| {
            queue.front(99).iter().map(|entry| entry.count).collect::<Vec<_>>()
        };
        assert_eq!(counts(&queue), [3, 1, 1, 1, 1]);
        // One more of the first while it is written: that one stays.
        let front = queue.front(2);
        assert_eq!(queue.push(entry(AuditOutcome::Refused, "a")), None);
        queue.written(&front);
        assert_eq!(counts(&queue), [1, 1, 1, 1]);
    }

    #[test]
    fn too_many_are_given_back() {
        let mut queue = AuditQueue::default();
        for _ in 0..WAITING {
            assert_eq!(queue.push(entry(AuditOutcome::Done, "a")), None);
        }
        assert!(queue.push(entry(AuditOutcome::Done, "last")).is_some());
    }
}
