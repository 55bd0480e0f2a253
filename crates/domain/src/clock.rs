//! Wall-clock time as an argument, so that a test can move it.

use std::fmt::Debug;

use time::OffsetDateTime;

/// Tells the wall-clock time. The running process uses the system's; tests use one they move.
pub trait Clock: Send + Sync + Debug {
    /// The time now, in UTC.
    fn now(&self) -> OffsetDateTime;
}
