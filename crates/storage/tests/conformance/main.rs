//! Runs the conformance suites against every adapter, on real stores.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "in a test binary, what cannot be set up is a failure"
)]

mod announcements;
mod bucket;
mod bulk;
mod encryption;
mod limits;
mod mongo;
mod postgres;
mod responses;
mod sqlite;

/// How a test of an adapter ends.
type Outcome = Result<(), storage::StoreError>;
