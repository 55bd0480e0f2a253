//! When a delivery that failed is tried again.

use std::time::Duration;

use crate::settings::EventSettings;

/// The time until the next try after so many that failed, from 1: grows by the factor each time, up
/// to the maximum, and is spread by the jitter, so that receivers that were down are not met by all at
/// once. `chance` is 0 to 1. `None` if it was tried often enough.
pub(super) fn delay(settings: &EventSettings, failed: u32, chance: f64) -> Option<Duration> {
    if failed >= settings.attempts {
        return None;
    }
    let most = Duration::from_secs(settings.max_delay_s).as_secs_f64();
    let first = Duration::from_millis(settings.first_delay_ms).as_secs_f64();
    let steps = i32::try_from(failed.saturating_sub(1)).unwrap_or(i32::MAX);
    let plain = (first * settings.factor.max(1.0).powi(steps)).min(most);
    let spread = 1.0 + settings.jitter.clamp(0.0, 1.0) * (2.0 * chance - 1.0);
    Duration::try_from_secs_f64(plain * spread)
        .ok()
        .or(Some(Duration::from_secs(settings.max_delay_s)))
}

/// A number from 0 to 1 that differs from router to router and from try to try.
pub(super) fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without it all would be tried after the plain time, which does no harm.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(attempts: u32, factor: f64, jitter: f64) -> EventSettings {
        EventSettings {
            queue: 1,
            keep_days: 1,
            max_webhooks: 1,
            attempts,
            first_delay_ms: 5000,
            factor,
            max_delay_s: 3600,
            jitter,
            timeout_ms: 1,
            max_answer_bytes: 1,
            concurrency: 1,
            poll_interval_ms: 1,
            lease_s: 1,
        }
    }

    #[test]
    fn it_grows_to_the_maximum_and_ends() {
        let settings = settings(7, 4.0, 0.0);
        let delays: Vec<_> = (1..=7)
            .map(|failed| delay(&settings, failed, 0.5).map(|delay| delay.as_secs()))
            .collect();
        let expected = [Some(5), Some(20), Some(80), Some(320), Some(1280), Some(3600), None];
        assert_eq!(delays, expected);
    }

    proptest! {
        #[test]
        fn it_never_leaves_its_bounds(
            failed in 1..u32::MAX - 1,
            factor in 0.0..1e9_f64,
            jitter in 0.0..1.0_f64,
            chance in 0.0..=1.0_f64,
        ) {
            let delay = delay(&settings(u32::MAX, factor, jitter), failed, chance).unwrap();
            let seconds = delay.as_secs_f64();
            prop_assert!(seconds >= 5.0 * (1.0 - jitter) - 1e-6, "{seconds}");
            prop_assert!(seconds <= 3600.0 * (1.0 + jitter) + 1e-6, "{seconds}");
        }
    }
}
