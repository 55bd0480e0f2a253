//! The system's clock.

use domain::Clock;
use time::OffsetDateTime;

/// Tells the system's time.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that others take")]
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}
