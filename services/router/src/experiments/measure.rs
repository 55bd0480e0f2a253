//! What a request, or a unit, is worth by a metric.

use domain::experiment::Measure;
use domain::prediction::Exposure;
use time::{Duration, OffsetDateTime};

use super::truth::Truth;

/// What the control itself would have answered, where it was asked too: what CUPED takes out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Score {
    /// Its label.
    pub label: Option<String>,
    /// The highest class probability.
    pub confidence: Option<f64>,
    /// Its value, of a regression.
    pub value: Option<f64>,
}

impl From<&Exposure> for Score {
    fn from(exposure: &Exposure) -> Self {
        let Exposure { label, confidence, value, .. } = exposure;
        Self { label: label.clone(), confidence: *confidence, value: *value }
    }
}

/// When outcomes are counted.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// How long an outcome is waited for; zero for no time at all: what is known counts.
    pub length: Duration,
    /// The moment of the look.
    pub now: OffsetDateTime,
}

impl Window {
    /// Whether the outcome of what was done at a moment may still come. One that came already is not counted either:
    /// what comes soon is not like what comes late.
    pub fn is_open(&self, from: OffsetDateTime) -> bool {
        self.now < from.saturating_add(self.length)
    }

    /// Whether a moment is within the window of what was done at another.
    fn holds(&self, from: OffsetDateTime, at: OffsetDateTime) -> bool {
        self.length.is_zero() || at <= from.saturating_add(self.length)
    }
}

/// What a request is worth; `None` if that is not known, or not yet.
///
/// A version's failure counts: it is part of what the version does. Latency is that of the failure then.
pub fn of_request(
    measure: &Measure,
    exposure: &Exposure,
    truth: &Truth,
    window: Window,
) -> Option<f64> {
    if measure.is_from_feedback() && window.is_open(exposure.at) {
        return None;
    }
    let yes = |is: bool| Some(f64::from(u8::from(is)));
    let latency_ms = exposure.latency_us as f64 / 1000.0;
    let off_by = || Some(exposure.value? - truth.value.as_ref()?.0);
    match measure {
        // A failure that something else stood in for is one of the version, too.
        Measure::Error => yes(exposure.error.is_some() || exposure.degraded.is_some()),
        Measure::Latency => Some(latency_ms),
        Measure::Slow { over_ms } => yes(latency_ms > *over_ms),
        Measure::Confidence => exposure.confidence,
        Measure::LowConfidence { below } => yes(exposure.confidence? < *below),
        Measure::Degraded => yes(exposure.degraded.is_some()),
        Measure::Accuracy => yes(exposure.label.as_ref()? == &truth.label.as_ref()?.0),
        Measure::SquaredError => off_by().map(|off| off * off),
        Measure::AbsoluteError => off_by().map(f64::abs),
        Measure::Named { missing, .. } => of_unit(measure, exposure.at, truth, window).or(*missing),
        Measure::LabelIs { .. } | Measure::Value => of_unit(measure, exposure.at, truth, window),
    }
    .filter(|value| value.is_finite())
}

/// What feedback on a unit as such makes the unit worth; `None` if there is none, or it cannot be said of a unit.
pub fn of_unit(
    measure: &Measure,
    from: OffsetDateTime,
    truth: &Truth,
    window: Window,
) -> Option<f64> {
    if window.is_open(from) {
        return None;
    }
    match measure {
        Measure::LabelIs { label } => {
            truth.label.as_ref().map(|(is, _)| f64::from(u8::from(is == label)))
        }
        Measure::Value => truth.value.map(|(value, _)| value),
        Measure::Named { metric, missing } => {
            let (value, at) = truth.metrics.get(metric)?;
            // What comes after its end cannot count: the end had made something else of it.
            (missing.is_none() || window.holds(from, *at)).then_some(*value)
        }
        _ => None,
    }
}

/// What the control's own prediction says of the same request, before anything came of it.
pub fn covariate(measure: &Measure, control: &Score) -> Option<f64> {
    match measure {
        Measure::LabelIs { label } => {
            let confidence = control.confidence?;
            Some(if control.label.as_ref()? == label { confidence } else { 1.0 - confidence })
        }
        _ => control.value.or(control.confidence),
    }
    .filter(|value| value.is_finite())
}
