//! Output tensors into predictions, one per row.
//!
//! The label always comes from the probabilities where there are any, by one rule: the first
//! maximum. Libraries break ties differently; this engine answers the same for all of them.

use domain::Manifest;
use domain::manifest::{OutputRole, OutputSpec, Task};

use crate::{ModelError, Tensor, Values};

/// What the model says of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The answer.
    pub prediction: Prediction,
    /// The class's name, for a classification.
    pub label: Option<String>,
    /// The highest class probability, 0 to 1, if the model gives any.
    pub confidence: Option<f32>,
    /// Probabilities in the order of the manifest's labels, if the model gives any.
    pub probabilities: Option<Vec<f32>>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Prediction {
    /// The class's position in the manifest's labels.
    Class(usize),
    /// A class that the manifest does not list.
    Name(String),
    /// A number.
    Value(f64),
    /// A vector.
    Vector(Vec<f32>),
}

/// The position of the first maximum; `None` if there is no number.
pub fn first_maximum(values: &[f32]) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (index, value) in values.iter().enumerate() {
        if !value.is_nan() && best.is_none_or(|(_, most)| *value > most) {
            best = Some((index, *value));
        }
    }
    best.map(|(index, _)| index)
}

/// Reads the outputs of a run: one outcome per row, in order.
///
/// # Errors
/// [`ModelError::Output`] if a tensor that the manifest gives a meaning is missing, has another
/// number of rows, or holds NaN or infinity.
pub fn outcomes(manifest: &Manifest, outputs: &[Tensor]) -> Result<Vec<Outcome>, ModelError> {
    let with = |role: OutputRole| manifest.outputs.iter().find(|output| output.role == role);
    let found = |spec: &OutputSpec| {
        outputs
            .iter()
            .find(|tensor| tensor.name == spec.name)
            .ok_or_else(|| ModelError::output(&spec.name, "is missing from the answer"))
    };
    match manifest.task {
        Task::Classification => {
            if let Some(spec) = with(OutputRole::Probabilities) {
                return classes(manifest, found(spec)?, false);
            }
            if let Some(spec) = with(OutputRole::Logits) {
                return classes(manifest, found(spec)?, true);
            }
            match with(OutputRole::Label) {
                Some(spec) => names(manifest, found(spec)?),
                None => Err(no_output("a label, probabilities or logits")),
            }
        }
        Task::Regression => {
            let spec = with(OutputRole::Value).ok_or_else(|| no_output("a value"))?;
            let tensor = found(spec)?;
            let rows = matrix(tensor)?;
            rows.into_iter()
                .map(|row| match row.as_slice() {
                    [value] => Ok(Outcome {
                        prediction: Prediction::Value(*value),
                        label: None,
                        confidence: None,
                        probabilities: None,
                    }),
                    _ => Err(ModelError::output(&tensor.name, "must be one number per row")),
                })
                .collect()
        }
        Task::Embedding => {
            let spec = with(OutputRole::Embedding).ok_or_else(|| no_output("an embedding"))?;
            let rows = narrow(matrix(found(spec)?)?);
            Ok(rows
                .into_iter()
                .map(|row| Outcome {
                    prediction: Prediction::Vector(row),
                    label: None,
                    confidence: None,
                    probabilities: None,
                })
                .collect())
        }
    }
}

fn no_output(what: &str) -> ModelError {
    ModelError::manifest("outputs", format!("must give one output the role of {what}"))
}

fn classes(manifest: &Manifest, tensor: &Tensor, logits: bool) -> Result<Vec<Outcome>, ModelError> {
    let rows = narrow(matrix(tensor)?);
    rows.into_iter()
        .map(|mut row| {
            if let ([yes], 2) = (row.as_slice(), manifest.labels.len()) {
                // One column for two classes: the chance (or score) of the second.
                let yes = if logits { 1.0 / (1.0 + (-yes).exp()) } else { *yes };
                row = vec![1.0 - yes, yes];
            } else if logits {
                softmax(&mut row);
            }
            if !manifest.labels.is_empty() && row.len() != manifest.labels.len() {
                return Err(ModelError::output(
                    &tensor.name,
                    format!("has {} columns for {} labels", row.len(), manifest.labels.len()),
                ));
            }
            let class = first_maximum(&row)
                .ok_or_else(|| ModelError::output(&tensor.name, "has no columns"))?;
            Ok(Outcome {
                prediction: Prediction::Class(class),
                label: Some(name(manifest, class)),
                confidence: row.get(class).copied(),
                probabilities: Some(row),
            })
        })
        .collect()
}

fn softmax(row: &mut [f32]) {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|value| *value = (*value - most).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|value| *value /= sum);
}

fn name(manifest: &Manifest, class: usize) -> String {
    manifest.labels.get(class).cloned().unwrap_or_else(|| class.to_string())
}

fn names(manifest: &Manifest, tensor: &Tensor) -> Result<Vec<Outcome>, ModelError> {
    let given: Vec<String> = match &tensor.values {
        Values::Bytes(list) => list.clone(),
        Values::Int64(list) => list.iter().map(ToString::to_string).collect(),
        Values::Int32(list) => list.iter().map(ToString::to_string).collect(),
        Values::Bool(list) => list.iter().map(|value| u8::from(*value).to_string()).collect(),
        Values::Fp32(list) => list.iter().map(ToString::to_string).collect(),
        _ => return Err(ModelError::output(&tensor.name, "is not a class number or name")),
    };
    let outcome = |given: String| {
        let class = manifest.labels.iter().position(|label| *label == given).or_else(|| {
            // Numbers of classes that labels.json has renamed.
            given.parse::<usize>().ok().filter(|class| *class < manifest.labels.len())
        });
        let (prediction, label) = match class {
            Some(class) => (Prediction::Class(class), name(manifest, class)),
            None => (Prediction::Name(given.clone()), given),
        };
        Outcome { prediction, label: Some(label), confidence: None, probabilities: None }
    };
    Ok(given.into_iter().map(outcome).collect())
}

/// The rows of a float tensor, all dimensions but the first flattened.
fn matrix(tensor: &Tensor) -> Result<Vec<Vec<f64>>, ModelError> {
    let values: Vec<f64> = match &tensor.values {
        Values::Fp16(list) => list.iter().map(|value| value.to_f64()).collect(),
        Values::Fp32(list) => list.iter().map(|value| f64::from(*value)).collect(),
        Values::Fp64(list) => list.clone(),
        _ => return Err(ModelError::output(&tensor.name, "must be of a float datatype")),
    };
    if let Some(bad) = values.iter().find(|value| !value.is_finite()) {
        return Err(ModelError::output(
            &tensor.name,
            format!("is `{bad}` for this input, which is no answer"),
        ));
    }
    let width = tensor.width();
    if width == 0 {
        return Err(ModelError::output(&tensor.name, "has no columns"));
    }
    Ok(values.chunks(width).map(<[f64]>::to_vec).collect())
}

#[expect(clippy::cast_possible_truncation, reason = "what a float32 tensor held before")]
fn narrow(rows: Vec<Vec<f64>>) -> Vec<Vec<f32>> {
    let narrow = |row: Vec<f64>| row.into_iter().map(|value| value as f32).collect();
    rows.into_iter().map(narrow).collect()
}

#[cfg(test)]
mod tests;
