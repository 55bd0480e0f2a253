//! The statistics against answers that other programs computed: see README.md in this folder.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod assignment;
mod case;
mod difference;
mod guardrails;
mod split;
mod weights;
