//! A version that was asked the same as the one that answered, for comparison only.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;

use crate::{ModelName, PredictionId, VersionId};

/// What a shadow version would have answered. Written once, never changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShadowRecord {
    /// The prediction that was answered.
    pub prediction_id: PredictionId,
    /// When it was compared.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The model.
    pub model: ModelName,
    /// The version that answered.
    pub live_version: VersionId,
    /// The version that was asked, too.
    pub shadow_version: VersionId,
    /// What the one said.
    pub live: Said,
    /// What the other said; absent where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Said>,
    /// The code of its failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What was asked, where the two disagree and it is JSON within the log's size limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Box<RawValue>>,
}

/// What a version said to a request's first row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// Its label, if the model gives labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The highest class probability, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Its value, for a regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// In the model itself, microseconds.
    pub compute_us: u64,
}

impl ShadowRecord {
    /// How far apart the two are: 0 where they agree; for labels that differ the sum of both
    /// confidences (1 each where there is none), for values their distance. `None` if the shadow
    /// failed, or the two cannot be compared.
    pub fn distance(&self, tolerance: f64) -> Option<f64> {
        let shadow = self.shadow.as_ref()?;
        match (&self.live.label, &shadow.label, self.live.value, shadow.value) {
            (Some(one), Some(other), _, _) if one == other => Some(0.0),
            (Some(_), Some(_), _, _) => {
                let sure = |said: &Said| said.confidence.unwrap_or(1.0);
                Some(sure(&self.live) + sure(shadow))
            }
            (None, None, Some(one), Some(other)) => {
                let distance = (one - other).abs();
                let allowed = tolerance * one.abs().max(other.abs()).max(1.0);
                Some(if distance <= allowed { 0.0 } else { distance })
            }
            _ => None,
        }
    }

    /// The shadow's number less the live one's: values, or else confidences.
    pub fn difference(&self) -> Option<f64> {
        let shadow = self.shadow.as_ref()?;
        match (self.live.value, shadow.value) {
            (Some(one), Some(other)) => Some(other - one),
            _ => Some(shadow.confidence? - self.live.confidence?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::OffsetDateTime;

    fn record(live: Said, shadow: Option<Said>) -> ShadowRecord {
        ShadowRecord {
            prediction_id: PredictionId::new(),
            at: OffsetDateTime::UNIX_EPOCH,
            model: "iris".parse().unwrap(),
            live_version: "1".parse().unwrap(),
            shadow_version: "2".parse().unwrap(),
            live,
            shadow,
            error: None,
            input: None,
        }
    }

    fn label(label: &str, confidence: f64) -> Said {
        Said { label: Some(label.to_owned()), confidence: Some(confidence), ..Said::default() }
    }

    fn value(value: f64) -> Said {
        Said { value: Some(value), ..Said::default() }
    }

    #[test]
    fn labels_agree_or_are_as_far_apart_as_both_are_sure() {
        let same = record(label("a", 0.9), Some(label("a", 0.6)));
        assert_eq!(same.distance(0.0), Some(0.0));
        assert!((same.difference().unwrap() + 0.3).abs() < 1e-12);
        let other = record(label("a", 0.5), Some(label("b", 0.75)));
        assert_eq!(other.distance(0.0), Some(1.25));
    }

    #[test]
    fn values_agree_within_the_tolerance_and_what_failed_or_differs_in_kind_is_not_compared() {
        assert_eq!(record(value(100.0), Some(value(100.5))).distance(0.01), Some(0.0));
        assert_eq!(record(value(100.0), Some(value(102.0))).distance(0.01), Some(2.0));
        assert_eq!(record(value(1.0), None).distance(0.01), None);
        assert_eq!(record(value(1.0), Some(label("a", 1.0))).distance(0.01), None);
    }
}
