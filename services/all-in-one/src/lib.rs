//! The six services in one process, on one port, with embedded stores: the default binary.
//!
//! Reading order: [`settings`] (all sections), [`engine`] (the six built in order of dependency),
//! [`demo`] (the sample models), [`commands`] (users, keys, audit), `main.rs` (the command line).
//!
//! Invariant: no service knows that it runs here. What differs from six processes is who is handed
//! an `Arc` instead of a client.

pub mod commands;
pub mod demo;
pub mod engine;
pub mod settings;

pub use engine::Engine;
pub use settings::Settings;
