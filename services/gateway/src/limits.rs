//! How much may be asked for: token buckets by policy, and requests at once.
//!
//! Reading order: [`policy`] (what is limited, for whom), [`settings`], [`limiter`] (the decision,
//! and where it is counted), [`concurrency`].

pub mod concurrency;
pub mod limiter;
pub mod policy;
pub mod settings;

pub use concurrency::Concurrency;
pub use limiter::{Limiter, Verdict};
pub use policy::{Asked, Policy};
pub use settings::{Mode, Settings};
