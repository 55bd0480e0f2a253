//! What really happened: ground truth for a prediction, or for a unit.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{InvalidId, ModelName, PredictionId};

/// One piece of ground truth. The same subject, outcome, source and moment again is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Feedback {
    /// What it speaks of.
    #[serde(flatten)]
    pub subject: Subject,
    /// What happened.
    pub outcome: Outcome,
    /// Who says so (principal id).
    pub source: String,
    /// When it happened, where the source says so.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub occurred_at: Option<OffsetDateTime>,
    /// When it was received.
    #[serde(with = "time::serde::rfc3339")]
    pub received_at: OffsetDateTime,
}

impl Feedback {
    /// When it happened; when it was received, if nobody said.
    pub fn at(&self) -> OffsetDateTime {
        self.occurred_at.unwrap_or(self.received_at)
    }
}

/// What feedback speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Subject {
    /// One prediction. May be unknown yet: the log is filled after the answer.
    Prediction {
        /// Names it.
        prediction_id: PredictionId,
    },
    /// One unit, whatever was predicted for it.
    Unit {
        /// The model that it asked.
        model: ModelName,
        /// The unit, as it was given with its requests.
        unit: String,
    },
}

impl Subject {
    /// The prediction, if it is one.
    pub fn prediction_id(&self) -> Option<PredictionId> {
        match self {
            Self::Prediction { prediction_id } => Some(*prediction_id),
            Self::Unit { .. } => None,
        }
    }
}

impl From<PredictionId> for Subject {
    fn from(prediction_id: PredictionId) -> Self {
        Self::Prediction { prediction_id }
    }
}

/// What happened: the true label, the true number, or a number with a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The true class.
    Label(String),
    /// The true value.
    Value(f64),
    /// What came of it, such as the revenue.
    Metric {
        /// Names it.
        name: MetricName,
        /// How much.
        value: f64,
    },
}

impl Outcome {
    /// `label`, `value`, or the metric's name, which is neither.
    pub fn kind(&self) -> &str {
        match self {
            Self::Label(_) => "label",
            Self::Value(_) => "value",
            Self::Metric { name, .. } => name.as_str(),
        }
    }

    /// The label, if it is one.
    pub fn label(&self) -> Option<&str> {
        match self {
            Self::Label(label) => Some(label),
            Self::Value(_) | Self::Metric { .. } => None,
        }
    }

    /// The number, if it is a value or a metric.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Label(_) => None,
            Self::Value(value) | Self::Metric { value, .. } => Some(*value),
        }
    }
}

/// The name of a metric, safe in a path or a label, and never `label` or `value`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "revenue", pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
pub struct MetricName(String);

impl MetricName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MetricName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let goes_on_well =
            text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        let is_free = !matches!(text, "label" | "value");
        if starts_well && goes_on_well && is_free && text.len() <= 64 {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId::MetricName(text.chars().take(200).collect()))
        }
    }
}

impl TryFrom<String> for MetricName {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<MetricName> for String {
    fn from(name: MetricName) -> Self {
        name.0
    }
}

impl fmt::Display for MetricName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What each source says by now: the latest it said of each subject and kind of outcome, in the order
/// given. All readers resolve corrections by this one.
///
/// The latest is the one that happened last, by [`Feedback::at`]; of two at the same moment, the one
/// that was received last; of two received together, the later in the list.
pub fn latest(feedback: &[Feedback]) -> Vec<&Feedback> {
    let mut places: HashMap<(&Subject, &str, &str), usize> = HashMap::new();
    let mut latest: Vec<Option<&Feedback>> = Vec::with_capacity(feedback.len());
    for (place, one) in feedback.iter().enumerate() {
        latest.push(Some(one));
        let key = (&one.subject, one.outcome.kind(), one.source.as_str());
        let Some(earlier) = places.insert(key, place) else { continue };
        let moment = |one: &Feedback| (one.at(), one.received_at);
        let corrects = |earlier: &&Feedback| moment(earlier) <= moment(one);
        if feedback.get(earlier).is_some_and(|earlier| corrects(&earlier)) {
            latest.get_mut(earlier).and_then(Option::take);
        } else {
            places.insert(key, earlier);
            latest.get_mut(place).and_then(Option::take);
        }
    }
    latest.into_iter().flatten().collect()
}

/// A prediction that feedback speaks of, and the log does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pending {
    /// The prediction.
    pub prediction_id: PredictionId,
    /// How many outcomes wait for it.
    pub outcomes: u64,
    /// When the first of them was received.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// How much feedback of one kind there is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tally {
    /// `label`, `value`, or a metric's name.
    pub kind: String,
    /// For predictions that the log knows.
    pub matched: u64,
    /// For predictions that the log does not know.
    pub pending: u64,
    /// For units.
    pub of_units: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(subject: &Subject, label: &str, source: &str, at: Option<i64>, heard: i64) -> Feedback {
        let moment = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        Feedback {
            subject: subject.clone(),
            outcome: Outcome::Label(label.to_owned()),
            source: source.to_owned(),
            occurred_at: at.map(moment),
            received_at: moment(heard),
        }
    }

    #[test]
    fn feedback_reads_as_it_was_kept_before_there_were_units() {
        let kept = r#"{"prediction_id":"0199f3a4-0000-7000-8000-000000000000","outcome":{"label":"setosa"},"source":"till","received_at":"2026-01-01T00:00:00Z"}"#;
        let read: Feedback = serde_json::from_str(kept).unwrap();
        assert_eq!(read.outcome, Outcome::Label("setosa".to_owned()));
        assert!(read.subject.prediction_id().is_some() && read.occurred_at.is_none());
        assert_eq!(serde_json::to_string(&read).unwrap(), kept);
    }

    #[test]
    fn feedback_of_a_unit_comes_back_as_it_went() {
        let model = "iris".parse().unwrap();
        let one = Feedback {
            subject: Subject::Unit { model, unit: "u/\"1".to_owned() },
            outcome: Outcome::Metric { name: "revenue".parse().unwrap(), value: 0.1 + 0.2 },
            ..says(&PredictionId::new().into(), "", "till", Some(5), 9)
        };
        let text = serde_json::to_string(&one).unwrap();
        assert!(text.contains(r#""metric":{"name":"revenue","value":0.30000000000000004}"#));
        assert_eq!(serde_json::from_str::<Feedback>(&text).unwrap(), one);
    }

    #[test]
    fn a_metric_keeps_to_safe_characters_and_is_no_other_kind() {
        assert!("revenue.2026_q1-eu".parse::<MetricName>().is_ok());
        for bad in ["", "label", "value", "-x", "a b", "é", &"a".repeat(65)] {
            assert!(bad.parse::<MetricName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_latest_wins_per_subject_kind_and_source_however_late_it_comes() {
        let (one, other): (Subject, Subject) =
            (PredictionId::new().into(), PredictionId::new().into());
        let metric = Feedback {
            outcome: Outcome::Metric { name: "revenue".parse().unwrap(), value: 1.0 },
            ..says(&one, "", "till", None, 4)
        };
        let all = [
            says(&one, "first", "till", None, 1),
            says(&one, "second", "till", None, 2),
            // Heard last, but of before the second.
            says(&one, "overtaken", "till", Some(0), 9),
            says(&one, "of another source", "anna", None, 1),
            says(&other, "of another prediction", "till", None, 1),
            metric,
        ];
        let labels = |found: Vec<&Feedback>| -> Vec<String> {
            found.iter().map(|one| one.outcome.label().unwrap_or("metric").to_owned()).collect()
        };
        let expected = ["second", "of another source", "of another prediction", "metric"];
        assert_eq!(labels(latest(&all)), expected);
        // Together, the later in the list.
        let together = [says(&one, "a", "till", None, 1), says(&one, "b", "till", None, 1)];
        assert_eq!(labels(latest(&together)), ["b"]);
        assert!(latest(&[]).is_empty());
    }
}
