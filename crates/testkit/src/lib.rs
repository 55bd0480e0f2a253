//! Engines to test on: real processes, started from the binaries in the target folder, spoken to
//! over HTTP as any client would.
//!
//! Reading order: [`topology`] (one process or seven), [`Engine`] (started, stopped, killed,
//! restarted), [`Client`] (the public API as verbs), [`models`] (models with golden answers), [`graphs`]
//! (good and bad ones made on the spot), [`tensor`] (the forms of the Open Inference Protocol V2),
//! [`stores`] (databases of one's own), [`provider`] (who vouches for people), [`receiver`] (of webhooks),
//! [`prometheus`] and
//! [`collector`] (what watches an engine).
//!
//! Invariants: no fixed port, no shared folder, no sleep that is not a wait for a condition with a
//! deadline; no process and no file outlives the test run, not even a killed one.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "for tests only: a panic that says what is wrong is how a test fails"
)]

pub mod client;
pub mod collector;
pub mod compare;
pub mod engine;
pub mod fuzz;
pub mod gatekeeper;
pub mod graphs;
pub mod models;
mod nginx;
pub mod prometheus;
pub mod provider;
pub mod receiver;
pub mod secrets;
pub mod server;
pub mod stores;
pub mod tensor;
pub mod topology;
pub mod wait;
mod watch;

pub use client::{Answer, Client, Upload};
pub use collector::Collector;
pub use compare::compare;
pub use engine::{Engine, PASSWORD};
pub use gatekeeper::Gatekeeper;
pub use prometheus::Prometheus;
pub use provider::{Provider, Returned};
pub use receiver::{Received, Receiver};
pub use reqwest::{Method, RequestBuilder};
pub use stores::{PrivateServer, shared_mongo, shared_postgres, shared_redis, shared_s3};
pub use topology::{Setup, Stores, Topology, run, shared};
pub use wait::until;

/// Whether to measure at length (`make measure`, `make limits`), not only to test.
pub fn at_length() -> bool {
    std::env::var_os("AT_LENGTH").is_some()
}

/// Expands each scenario, `async fn name(topology: Topology)`, to two tests: `embedded::name` and
/// `distributed::name`.
#[macro_export]
macro_rules! scenarios {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(
                #[test]
                fn $name() {
                    let topology = $crate::Topology::Embedded;
                    $crate::run(topology, super::$name(topology));
                }
            )+
        }

        mod distributed {
            $(
                #[test]
                fn $name() {
                    let topology = $crate::Topology::Distributed;
                    $crate::run(topology, super::$name(topology));
                }
            )+
        }
    };
}
