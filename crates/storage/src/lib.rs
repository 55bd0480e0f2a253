//! Where state lives: ports (traits) and their adapters, chosen by URL scheme.
//!
//! Reading order: [`ports`] (what the services need), [`stores`] (which adapter serves it),
//! [`error`], then one module per adapter: `sqlite` (accounts, registry, routes, prediction log,
//! feedback) and `folder` (artefacts). Behind the feature `conformance` is one suite per port, run
//! against every adapter.
//!
//! To add an adapter: give it a module, choose it in [`stores`] by its scheme, add it to
//! `tests/conformance.rs`.
//!
//! Invariants: no other crate knows a database driver; an adapter answers in [`StoreError`] alone;
//! nothing is stored that could not be read again.

pub mod error;
pub mod ports;
pub mod stores;

#[cfg(feature = "conformance")]
pub mod conformance;

mod folder;
mod json;
mod sqlite;

pub use error::StoreError;
pub use stores::{Documents, Relational, artifacts, documents, relational};
