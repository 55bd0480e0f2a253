//! Rows of features into tensors, checked value by value against the manifest.

mod ready;

use domain::Manifest;
use domain::manifest::{Datatype, Feature, FeatureKind, TensorSpec};
use half::f16;

use crate::{ModelError, Tensor, Values};

pub use ready::{Fault, faults};

/// More columns than this are not named one by one: such a model answers over V2 only.
pub const MOST_FEATURES: i64 = 100_000;

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Left out, or `null`.
    Missing,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Number(f64),
    /// A text.
    Text(String),
}

/// Checks one value against its feature. The text says what is wrong and what would be right.
///
/// # Errors
/// A sentence without its subject, such as ``must be a number, got `"abc"` ``.
pub fn check(feature: &Feature, cell: &Cell) -> Result<(), String> {
    if matches!(cell, Cell::Missing) {
        return if feature.optional {
            Ok(())
        } else {
            Err(format!("is missing: `{}` must be {}", feature.name, wanted(feature)))
        };
    }
    let number = match (feature.kind, cell) {
        (FeatureKind::Number, Cell::Number(value)) => Some(*value),
        (FeatureKind::Number, Cell::Integer(value)) => Some(to_f64(*value)),
        (FeatureKind::Integer, Cell::Integer(value)) => Some(to_f64(*value)),
        // 3.0 is a whole number, too; JSON writers differ.
        (FeatureKind::Integer, Cell::Number(value)) if whole(*value).is_some() => Some(*value),
        (FeatureKind::Boolean, Cell::Boolean(_)) | (FeatureKind::String, Cell::Text(_)) => None,
        (FeatureKind::Category, _) if category(feature, cell).is_some() => None,
        _ => return Err(format!("must be {}, got {}", wanted(feature), shown(cell))),
    };
    if let (FeatureKind::String, Cell::Text(text)) = (feature.kind, cell)
        && text.contains('\0')
    {
        return Err("must not hold a NUL character".to_owned());
    }
    let Some(number) = number else { return Ok(()) };
    if !number.is_finite() {
        return Err(format!("must be a finite number, got `{number}`"));
    }
    if number.abs() > f64::from(f32::MAX) {
        return Err(format!("must fit a 32-bit float, got `{number:e}`"));
    }
    if let Some(min) = feature.min.filter(|min| number < *min) {
        return Err(format!("must be at least {min}, got {number}"));
    }
    if let Some(max) = feature.max.filter(|max| number > *max) {
        return Err(format!("must be at most {max}, got {number}"));
    }
    Ok(())
}

/// The tensors for rows of cells, one per feature of the manifest and in its order.
///
/// # Errors
/// [`ModelError::Input`] naming the feature, if a row has another number of cells or a cell breaks
/// its feature's rule. [`check`] finds the same, but all of it.
pub fn tensors(manifest: &Manifest, rows: &[Vec<Cell>]) -> Result<Vec<Tensor>, ModelError> {
    let features = &manifest.features;
    for row in rows {
        if row.len() != features.len() {
            return Err(ModelError::input(
                "features",
                format!("must be {} per row, got {}", features.len(), row.len()),
            ));
        }
        for (feature, cell) in features.iter().zip(row) {
            check(feature, cell).map_err(|reason| ModelError::input(&feature.name, reason))?;
        }
    }
    let count = rows.len();
    if let [input] = manifest.inputs.as_slice()
        && (features.len() > 1 || input.shape.get(1).is_some_and(|width| *width != 1))
    {
        let cells = rows.iter().flat_map(|row| row.iter().zip(features));
        return Ok(vec![Tensor::new(
            &input.name,
            vec![count, features.len()],
            fill(input.datatype, cells)?,
        )?]);
    }
    let mut tensors = Vec::with_capacity(manifest.inputs.len());
    for input in &manifest.inputs {
        let column = column_of(manifest, input);
        let pairs = rows.iter().filter_map(|row| Some((row.get(column)?, features.get(column)?)));
        let shape = if input.shape.len() == 1 { vec![count] } else { vec![count, 1] };
        tensors.push(Tensor::new(&input.name, shape, fill(input.datatype, pairs)?)?);
    }
    Ok(tensors)
}

/// The column of the feature that feeds `input`.
fn column_of(manifest: &Manifest, input: &TensorSpec) -> usize {
    // A single input may serve a feature of another name.
    let by_name = manifest.features.iter().position(|feature| feature.name == input.name);
    by_name.unwrap_or_default()
}

fn fill<'a>(
    datatype: Datatype,
    cells: impl Iterator<Item = (&'a Cell, &'a Feature)>,
) -> Result<Values, ModelError> {
    Ok(match datatype {
        Datatype::Fp32 => {
            Values::Fp32(cells.map(|(cell, feature)| narrow(cell, feature)).collect())
        }
        Datatype::Fp64 => {
            Values::Fp64(cells.map(|(cell, feature)| number(cell, feature)).collect())
        }
        Datatype::Fp16 => Values::Fp16(
            cells.map(|(cell, feature)| f16::from_f64(number(cell, feature))).collect(),
        ),
        Datatype::Int64 => {
            Values::Int64(cells.map(|(cell, feature)| integer(cell, feature)).collect())
        }
        Datatype::Int32 => {
            let mut list = Vec::new();
            for (cell, feature) in cells {
                let value = integer(cell, feature);
                let Ok(narrow) = i32::try_from(value) else {
                    let reason = format!("must fit 32 bits, got {value}");
                    return Err(ModelError::input(&feature.name, reason));
                };
                list.push(narrow);
            }
            Values::Int32(list)
        }
        Datatype::Bool => {
            Values::Bool(cells.map(|(cell, _)| *cell == Cell::Boolean(true)).collect())
        }
        Datatype::Bytes => Values::Bytes(cells.map(|(cell, _)| text(cell)).collect()),
        other => {
            return Err(ModelError::input(
                "features",
                format!("cannot fill datatype `{}`", crate::onnx::datatype_name(other)),
            ));
        }
    })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "digits are lost as the model wants, not range"
)]
fn narrow(cell: &Cell, feature: &Feature) -> f32 {
    number(cell, feature) as f32
}

fn number(cell: &Cell, feature: &Feature) -> f64 {
    match cell {
        Cell::Missing => f64::NAN,
        Cell::Number(value) => *value,
        _ => to_f64(integer(cell, feature)),
    }
}

fn integer(cell: &Cell, feature: &Feature) -> i64 {
    if feature.kind == FeatureKind::Category {
        return category(feature, cell).unwrap_or_default();
    }
    match cell {
        Cell::Boolean(value) => i64::from(*value),
        Cell::Integer(value) => *value,
        Cell::Number(value) => whole(*value).unwrap_or_default(),
        Cell::Missing | Cell::Text(_) => 0,
    }
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Missing => String::new(),
        Cell::Boolean(value) => value.to_string(),
        Cell::Integer(value) => value.to_string(),
        Cell::Number(value) => value.to_string(),
        Cell::Text(text) => text.clone(),
    }
}

/// The position of a value among the feature's categories. A number stands for its text.
fn category(feature: &Feature, cell: &Cell) -> Option<i64> {
    let place = match cell {
        Cell::Text(text) => feature.categories.iter().position(|known| known == text),
        Cell::Integer(_) | Cell::Boolean(_) => {
            let text = text(cell);
            feature.categories.iter().position(|known| *known == text)
        }
        Cell::Missing | Cell::Number(_) => None,
    };
    place.and_then(|place| i64::try_from(place).ok())
}

/// The whole number that a float is, if it is one that a float holds exactly.
fn whole(value: f64) -> Option<i64> {
    let exact = value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "within 2^53 and without a fraction")]
    exact.then_some(value as i64)
}

fn to_f64(value: i64) -> f64 {
    value as f64
}

fn wanted(feature: &Feature) -> String {
    match feature.kind {
        FeatureKind::Number => "a number".to_owned(),
        FeatureKind::Integer => "a whole number".to_owned(),
        FeatureKind::Boolean => "`true` or `false`".to_owned(),
        FeatureKind::String => "a text".to_owned(),
        FeatureKind::Category => {
            let some: Vec<_> =
                feature.categories.iter().take(8).map(|name| format!("`{name}`")).collect();
            let more =
                if feature.categories.len() > 8 { " or another of its categories" } else { "" };
            format!("one of {}{more}", some.join(", "))
        }
    }
}

fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => {
            let short: String = text.chars().take(40).collect();
            let dots = if short.len() < text.len() { "..." } else { "" };
            format!("`\"{short}{dots}\"`")
        }
        other => format!("`{}`", text(other)),
    }
}

#[cfg(test)]
mod tests;
