//! Runs a fresh model on a row of its own making: proves that it runs, and measures one row.

use std::time::{Duration, Instant};

use domain::Manifest;
use domain::manifest::{Feature, FeatureKind, Modality, TensorSpec};
use models::preprocess::tabular::{self, Cell};
use models::preprocess::text::{self, Tokenizer};
use models::{ModelError, Predictor, Tensor, Values, outcome};

/// Runs that are measured at most.
const RUNS: usize = 5;
/// Measuring ends after this time.
const ENOUGH: Duration = Duration::from_millis(100);
/// A size for dimensions that the graph leaves open, such as a text's length.
const OPEN: usize = 8;

/// Microseconds for one row, the median of a few runs, 1 at least.
///
/// # Errors
/// If the model fails on the row, or its outputs are not what its manifest says.
pub(super) fn warm(
    manifest: &Manifest,
    tokenizer: Option<&Tokenizer>,
    predictor: &dyn Predictor,
) -> Result<u64, ModelError> {
    let (inputs, ours) = row(manifest, tokenizer)?;
    let first = predictor.run(inputs.clone());
    let outputs = match first {
        Ok(outputs) => outputs,
        // Zeros in a shape that was guessed prove nothing against a model.
        Err(_) if !ours => return Ok(u64::MAX),
        Err(error) => return Err(error),
    };
    // A made-up row may well give NaN (a logarithm of zero); real ones are judged when they come.
    if ours && !outputs.iter().any(|tensor| tensor.values.has_non_finite()) {
        outcome::outcomes(manifest, &outputs)?;
    }
    let begun = Instant::now();
    let mut times = Vec::with_capacity(RUNS);
    while times.len() < RUNS && (times.is_empty() || begun.elapsed() < ENOUGH) {
        let run = Instant::now();
        predictor.run(inputs.clone())?;
        times.push(run.elapsed());
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok(u64::try_from(median.as_micros()).unwrap_or(u64::MAX).max(1))
}

/// A row, and whether it is one that a client could have sent.
fn row(
    manifest: &Manifest,
    tokenizer: Option<&Tokenizer>,
) -> Result<(Vec<Tensor>, bool), ModelError> {
    match (manifest.modality, tokenizer, &manifest.text) {
        (Modality::Tabular, _, _) if !manifest.features.is_empty() => {
            let cells = manifest.features.iter().map(cell).collect();
            Ok((tabular::tensors(manifest, &[cells])?, true))
        }
        (Modality::Text, Some(tokenizer), _) => {
            Ok((tokenizer.tensors(manifest, &["warming up"])?.tensors, true))
        }
        (Modality::Text, None, Some(input)) if manifest.inputs.len() == 1 => {
            Ok((text::strings(manifest, input, &["warming up"])?.tensors, true))
        }
        (modality, _, _) => {
            let tensors = manifest.inputs.iter().map(|input| zeros(manifest, input));
            Ok((tensors.collect::<Result<_, _>>()?, modality == Modality::Image))
        }
    }
}

fn cell(feature: &Feature) -> Cell {
    let middle = feature.training.map_or(0.0, |seen| seen.mean.unwrap_or(seen.min));
    let least = feature.min.unwrap_or(f64::NEG_INFINITY);
    let most = feature.max.unwrap_or(f64::INFINITY);
    let value = middle.max(least).min(most);
    match feature.kind {
        FeatureKind::Number => Cell::Number(value),
        // Rounded up it stays above `min`; an odd range without a whole number is the author's.
        FeatureKind::Integer => Cell::Number(value.ceil().min(most.floor())),
        FeatureKind::Boolean => Cell::Boolean(false),
        FeatureKind::Category => {
            Cell::Text(feature.categories.first().cloned().unwrap_or_default())
        }
        FeatureKind::String => Cell::Text("warming up".to_owned()),
    }
}

fn zeros(manifest: &Manifest, input: &TensorSpec) -> Result<Tensor, ModelError> {
    let sides = manifest.image.as_ref().map(|image| {
        let (width, height) = (image.width as usize, image.height as usize);
        match image.layout {
            domain::manifest::Layout::Nchw => [1, 3, height, width],
            domain::manifest::Layout::Nhwc => [1, height, width, 3],
        }
    });
    let shape: Vec<usize> = input
        .shape
        .iter()
        .enumerate()
        .map(|(axis, size)| match (usize::try_from(*size), sides) {
            (Ok(size), _) => size,
            (Err(_), _) if axis == 0 => 1,
            (Err(_), Some(sides)) => sides.get(axis).copied().unwrap_or(1),
            (Err(_), None) => OPEN,
        })
        .collect();
    let count = shape.iter().product();
    Tensor::new(&input.name, shape, Values::zeros(input.datatype, count))
}
