//! The whole engine, tested from outside: scenarios on two topologies, and the rules of the
//! architecture.
//!
//! Reading order: [`architecture`] (who may use whom, how sources look), [`generated`] (documents
//! made from the code), then [`scenarios`] (one
//! file per subject, each function a scenario that speaks only the public API).

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "in a test binary, what is not there is a failure"
)]

mod architecture;
mod generated;
mod scenarios;
