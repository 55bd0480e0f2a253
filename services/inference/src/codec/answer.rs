//! The envelope of a natural answer, written straight to bytes.

use bytes::Bytes;
use contracts::ApiError;
use contracts::inference::PredictTask;
use domain::{ModelName, PredictionId, VersionId};
use models::{Outcome, Prediction};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::residency::Held;

/// Models of more classes show their top probabilities only.
const MANY_CLASSES: usize = 20;

/// What an answer is written for.
pub(super) struct View<'a> {
    pub(super) held: &'a Held,
    pub(super) task: &'a PredictTask,
    pub(super) top: usize,
}

#[derive(Serialize)]
struct One<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    #[serde(flatten)]
    row: Row<'a>,
    cached: bool,
    degraded: bool,
}

#[derive(Serialize)]
struct Many<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    predictions: Vec<Row<'a>>,
    cached: bool,
    degraded: bool,
}

#[derive(Serialize)]
struct Head<'a> {
    prediction_id: PredictionId,
    model: &'a ModelName,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_version: Option<VersionId>,
}

#[derive(Serialize)]
struct Row<'a> {
    prediction: Shown<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probabilities: Option<Probabilities<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    Class(usize),
    Name(&'a str),
    Value(f64),
    Vector(&'a [f32]),
}

/// An object from class to probability: in class order, or the highest first of many.
struct Probabilities<'a> {
    keys: &'a [String],
    values: &'a [f32],
    top: usize,
}

impl Serialize for Probabilities<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pairs: Vec<_> = self.keys.iter().zip(self.values).collect();
        if self.values.len() > MANY_CLASSES {
            pairs.sort_by(|one, two| two.1.total_cmp(one.1));
            pairs.truncate(self.top);
        }
        let mut map = serializer.serialize_map(Some(pairs.len()))?;
        for (key, value) in pairs {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// Writes one envelope, or one with a list.
pub(super) fn write(
    view: &View<'_>,
    outcomes: &[Outcome],
    list: bool,
    truncated: &[bool],
) -> Result<Bytes, ApiError> {
    let task = view.task;
    let head = Head {
        prediction_id: task.prediction_id,
        model: &task.target.model,
        model_version: task.show_version.then_some(task.target.version),
    };
    let rows = outcomes.iter().enumerate().map(|(index, outcome)| {
        let truncated = truncated.get(index).copied().unwrap_or_default();
        row(view, outcome, truncated)
    });
    let (cached, degraded) = (false, task.degraded);
    let written = if list {
        let predictions = rows.collect();
        serde_json::to_vec(&Many { head, predictions, cached, degraded })
    } else {
        let mut rows = rows;
        let Some(row) = rows.next() else { return Err(ApiError::internal()) };
        serde_json::to_vec(&One { head, row, cached, degraded })
    };
    written.map(Bytes::from).map_err(|error| {
        tracing::error!(%error, "an answer could not be written");
        ApiError::internal()
    })
}

fn row<'a>(view: &View<'a>, outcome: &'a Outcome, truncated: bool) -> Row<'a> {
    Row {
        prediction: match &outcome.prediction {
            Prediction::Class(class) => Shown::Class(*class),
            Prediction::Name(name) => Shown::Name(name),
            Prediction::Value(value) => Shown::Value(*value),
            Prediction::Vector(vector) => Shown::Vector(vector),
        },
        label: outcome.label.as_deref(),
        confidence: outcome.confidence,
        probabilities: outcome.probabilities.as_deref().map(|values| Probabilities {
            keys: &view.held.keys,
            values,
            top: view.top,
        }),
        truncated,
    }
}
