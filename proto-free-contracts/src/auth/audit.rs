//! The audit trail, as services tell it to each other and to the public.

use domain::{AuditEntry, AuditFilter, SealedEntry};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Entries for the audit trail.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Entries {
    /// In order.
    pub entries: Vec<AuditEntry>,
}

/// A page of the audit trail.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct AuditQuery {
    /// Which entries.
    pub filter: AuditFilter,
    /// How many at most.
    pub limit: u32,
}

/// Entries of the audit trail.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<SealedEntry>,
    /// Where the next page begins: `after` or, with the newest first, `before`. Absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Whether the audit trail is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditVerdict {
    /// Whether each entry is there and as it was written.
    pub whole: bool,
    /// Entries looked at.
    pub entries: u64,
    /// The place of the last one.
    pub last: u64,
    /// The seal of the last one: kept elsewhere, it proves later that nothing before was changed.
    pub seal: String,
    /// What is wrong, the first hundred faults, in order of place.
    pub faults: Vec<AuditFault>,
}

/// An entry that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditFault {
    /// Its place.
    pub seq: u64,
    /// What is wrong.
    #[schema(example = "is missing")]
    pub fault: String,
}
