//! What every adapter must do: one suite per port, run on a real store.
//!
//! A suite takes the port, asserts what [`ports`](crate::ports) promises, and may run on a store
//! that holds other things already. Those named `..._by_two` take two doors to the same store, as
//! two processes hold them. The tests of an adapter (`tests/conformance.rs`) open the store, run
//! these, open it again and look whether all is still there.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::StoreError;

mod accounts;
mod announcements;
mod artifacts;
mod audit;
mod credentials;
mod events;
mod feedback;
mod idempotency;
mod limits;
mod plans;
mod predictions;
mod registry;
mod responses;
mod routes;
mod shadows;

pub use accounts::{account_changes, accounts, accounts_by_two};
pub use announcements::{announcements, announcements_by_two, heard};
pub use artifacts::{artifacts, artifacts_by_two};
pub use audit::{audit, audit_by_two};
pub use credentials::{credentials, credentials_by_two};
pub use events::{events, events_by_two};
pub use feedback::{feedback, feedback_by_two};
pub use idempotency::{idempotency, idempotency_by_two};
pub use limits::{limits, limits_by_two};
pub use plans::{plans, plans_by_two};
pub use predictions::{predictions, predictions_by_two};
pub use registry::{registry, registry_by_two};
pub use responses::{responses, responses_by_two};
pub use routes::{routes, routes_by_two};
pub use shadows::shadows;

/// How a suite ends: it panics where the port breaks a promise, and returns what a call failed with
/// that should not have.
pub type Outcome = Result<(), StoreError>;

/// Texts that a careless adapter cuts, escapes twice or takes for a command.
fn odd_texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "\0",
        "before\0after",
        "\u{feff}\r\n\t\u{7f}",
        "Grüße 漢字 🦀 \u{202e}أهلا",
        "e\u{301} is not é",
        "'; DROP TABLE users; --",
        "%_\\\"'`$1?:x@y",
        "null",
        "{\"$where\": \"1\"}",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.push("long ".repeat(50_000));
    texts
}

/// Numbers that a careless adapter rounds.
const ODD_NUMBERS: [f64; 9] = [
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    f64::EPSILON,
    5e-324,
    0.1 + 0.2,
    1.0 / 3.0,
    9_007_199_254_740_993.0,
    -1.000_000_000_000_000_2e-300,
];

/// A name that no other run of a suite uses.
fn fresh(what: &str) -> String {
    format!("{what}-{}", Uuid::now_v7().simple())
}

/// A moment, in seconds after the one that the suites begin at.
fn moment(seconds: i64) -> OffsetDateTime {
    time::macros::datetime!(2024-02-29 23:59:59.123456789 UTC) + time::Duration::seconds(seconds)
}

#[track_caller]
fn assert_conflict<T>(outcome: Result<T, StoreError>) {
    let error = outcome.err();
    assert!(matches!(error, Some(StoreError::Conflict { .. })), "not a conflict: {error:?}");
}

#[track_caller]
fn assert_not_found<T>(outcome: Result<T, StoreError>) {
    let error = outcome.err();
    assert!(matches!(error, Some(StoreError::NotFound { .. })), "not `not found`: {error:?}");
}

#[track_caller]
fn assert_invalid<T>(outcome: Result<T, StoreError>) {
    let error = outcome.err();
    assert!(matches!(error, Some(StoreError::Invalid { .. })), "not invalid: {error:?}");
}
