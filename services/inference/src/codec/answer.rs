//! The envelope of a natural answer, written straight to bytes.

use std::borrow::Cow;

use bytes::Bytes;
use contracts::ApiError;
use contracts::inference::PredictTask;
use domain::{ModelName, PredictionId, VersionId};
use models::rules::Sieve;
use models::{Outcome, Prediction};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::judge;
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flagged: Vec<&'a str>,
}

#[derive(Serialize)]
struct Many<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    predictions: Vec<Row<'a>>,
    cached: bool,
    degraded: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flagged: Vec<&'a str>,
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
    label: Option<Cow<'a, str>>,
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
    Name(Cow<'a, str>),
    Value(f64),
    Vector(&'a [f32]),
}

/// An object from class to probability: in class order, or the highest first of many.
struct Probabilities<'a>(Vec<(Cow<'a, str>, f32)>);

impl Serialize for Probabilities<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
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
    mut sieve: Option<&mut Sieve<'_>>,
) -> Result<Bytes, ApiError> {
    let task = view.task;
    let head = Head {
        prediction_id: task.prediction_id,
        model: &task.target.model,
        model_version: task.show_version.then_some(task.target.version),
    };
    let row = |(index, outcome)| {
        let truncated = truncated.get(index).copied().unwrap_or_default();
        row(view, outcome, truncated, sieve.as_deref_mut())
    };
    let rows: Vec<_> = outcomes.iter().enumerate().map(row).collect();
    judge(task, sieve.as_deref())?;
    let flagged = sieve.as_deref().map(Sieve::flagged).unwrap_or_default();
    let (cached, degraded) = (false, task.degraded);
    let written = if list {
        serde_json::to_vec(&Many { head, predictions: rows, cached, degraded, flagged })
    } else {
        let Some(row) = rows.into_iter().next() else { return Err(ApiError::internal()) };
        serde_json::to_vec(&One { head, row, cached, degraded, flagged })
    };
    written.map(Bytes::from).map_err(|error| {
        tracing::error!(%error, "an answer could not be written");
        ApiError::internal()
    })
}

fn row<'a>(
    view: &View<'a>,
    outcome: &'a Outcome,
    truncated: bool,
    mut sieve: Option<&mut Sieve<'_>>,
) -> Row<'a> {
    let mut sifted = |text: &'a str| match sieve.as_deref_mut().and_then(|sieve| sieve.text(text)) {
        Some(masked) => Cow::Owned(masked),
        None => Cow::Borrowed(text),
    };
    Row {
        prediction: match &outcome.prediction {
            Prediction::Class(class) => Shown::Class(*class),
            Prediction::Name(name) => Shown::Name(sifted(name)),
            Prediction::Value(value) => Shown::Value(*value),
            Prediction::Vector(vector) => Shown::Vector(vector),
        },
        label: outcome.label.as_deref().map(&mut sifted),
        confidence: outcome.confidence,
        probabilities: outcome
            .probabilities
            .as_deref()
            .map(|values| probabilities(view, values, &mut sifted)),
        truncated,
    }
}

/// Each class with its probability. The names of classes are texts of the answer, too.
fn probabilities<'a>(
    view: &View<'a>,
    values: &[f32],
    mut sifted: impl FnMut(&'a str) -> Cow<'a, str>,
) -> Probabilities<'a> {
    let mut pairs: Vec<_> = view.held.keys.iter().zip(values.iter().copied()).collect();
    if values.len() > MANY_CLASSES {
        pairs.sort_by(|one, two| two.1.total_cmp(&one.1));
        pairs.truncate(view.top);
    }
    let mut named: Vec<(Cow<'a, str>, f32)> = Vec::with_capacity(pairs.len());
    for (number, (name, value)) in (1_usize..).zip(pairs) {
        let mut name = sifted(name);
        // Two that are masked may look the same, and an object has each name once.
        if matches!(name, Cow::Owned(_)) && named.iter().any(|(known, _)| *known == name) {
            name = Cow::Owned(format!("{name} {number}"));
        }
        named.push((name, value));
    }
    Probabilities(named)
}
