//! Where moments and differences are in the picture.

use domain::experiment::Look;
use time::OffsetDateTime;

pub(super) const WIDTH: f64 = 760.0;
pub(super) const HEIGHT: f64 = 380.0;
pub(super) const LEFT: f64 = 90.0;
pub(super) const RIGHT: f64 = 16.0;
pub(super) const TOP: f64 = 60.0;
pub(super) const BOTTOM: f64 = 52.0;
/// What lies at the ends of the time is shown whole.
const INSET: f64 = 8.0;
/// Steps of the axis, about.
const STEPS: f64 = 6.0;

/// The time and the differences that the picture shows.
pub(super) struct Scale {
    from: OffsetDateTime,
    until: OffsetDateTime,
    step: f64,
    /// The lowest difference that is shown.
    pub(super) low: f64,
    /// The highest.
    pub(super) high: f64,
}

impl Scale {
    /// The scale that shows these looks, from the start of the experiment.
    pub(super) fn of(looks: &[Look], started_at: Option<OffsetDateTime>) -> Option<Self> {
        let (first, until) = (looks.first()?.at, looks.last()?.at);
        let from = started_at.map_or(first, |started| started.min(first));
        // The first intervals are so wide that nothing could be seen beside them: they may leave the picture.
        let told = looks.iter().skip(looks.len() / 4).flat_map(|look| &look.arms);
        let (mut low, mut high) = (0.0f64, 0.0f64);
        for arm in told {
            low = low.min(arm.lower);
            high = high.max(arm.upper);
        }
        let rough = (high - low) / STEPS;
        if !(rough > 0.0 && rough.is_finite()) {
            return None;
        }
        let size = 10f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
        let step = steps.iter().map(|step| step * size).find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        // The ends of the axis are ticks, too.
        let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        (step > 0.0 && high > low).then_some(Self { from, until, step, low, high })
    }

    pub(super) fn x(&self, at: OffsetDateTime) -> f64 {
        let (left, right) = (LEFT + INSET, WIDTH - RIGHT - INSET);
        let whole = (self.until - self.from).as_seconds_f64();
        if whole <= 0.0 {
            return f64::midpoint(left, right);
        }
        left + (at - self.from).as_seconds_f64() / whole * (right - left)
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        let part = (self.high - value) / (self.high - self.low);
        // Far outside is as good as infinitely far.
        (TOP + part * (HEIGHT - BOTTOM - TOP)).clamp(-10_000.0, 10_000.0)
    }

    /// Whether the picture shows this moment.
    pub(super) fn holds(&self, at: OffsetDateTime) -> bool {
        (self.from..=self.until).contains(&at)
    }

    /// Whether labels need seconds to differ.
    pub(super) fn is_short(&self) -> bool {
        self.until - self.from < time::Duration::hours(1)
    }

    /// The moments that are labelled: the ends, and two between them.
    pub(super) fn moments(&self) -> Vec<OffsetDateTime> {
        let whole = self.until - self.from;
        if whole <= time::Duration::ZERO {
            return vec![self.until];
        }
        (0..4).map(|third| self.from + whole * third / 3).collect()
    }

    /// Round numbers from one end to the other, zero among them.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let first = (self.low / self.step).round();
        let ticks = (0..16).map(|count| (first + f64::from(count)) * self.step);
        // Zero is written without a sign.
        ticks
            .take_while(|tick| *tick <= self.high + self.step / 2.0)
            .map(|tick| tick + 0.0)
            .collect()
    }
}
