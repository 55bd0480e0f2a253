//! Where state lives: ports (traits) and their adapters, chosen by URL scheme.
//!
//! Reading order: [`ports`] (what the services need), [`stores`] (which adapter serves it),
//! [`error`], then one module per adapter: `sqlite` (accounts, registry, routes, prediction log,
//! feedback), `postgres` (accounts, registry, routes), `mongo`
//! (prediction log, feedback), `folder` and `bucket` (artefacts), `memory`
//! and `redis` (announcements, kept answers, limits, requests done once). Behind the feature `conformance` is one suite per port, run against
//! every adapter.
//!
//! To add an adapter: give it a module, choose it in [`stores`] by its scheme, add it to
//! `tests/conformance`.
//!
//! Invariants: no other crate knows a database driver; an adapter answers in [`StoreError`] alone;
//! nothing is stored that could not be read again.

pub mod deferred;
pub mod error;
pub mod ports;
pub mod stores;

#[cfg(feature = "conformance")]
pub mod conformance;

mod announcements;
mod artifacts;
mod bucket;
mod columns;
mod digest;
mod events;
mod folder;
mod idempotency;
mod json;
mod limits;
mod memory;
mod mongo;
mod observed;
mod postgres;
mod redis;
mod sealing;
mod sqlite;
mod vitals;

pub use artifacts::Reencrypted;
pub use bucket::Keys;
pub use error::StoreError;
pub use stores::{
    Cache, Documents, Relational, artifacts, cache, documents, reencrypt, relational,
};
pub use vitals::Vitals;
