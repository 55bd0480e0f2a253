//! The manifest's rules on tensors that a caller made himself, as over the V2 protocol.

use domain::Manifest;
use domain::manifest::{Feature, FeatureKind};

use super::{Cell, check, to_f64};
use crate::{Tensor, Values};

/// A value of a tensor that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The tensor's name.
    pub input: String,
    /// The value's position in the tensor, row-major.
    pub index: usize,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// The values that break a rule of their feature, `limit` at most. Tensors that fit the graph are
/// taken for granted.
pub fn faults(manifest: &Manifest, tensors: &[Tensor], limit: usize) -> Vec<Fault> {
    let features = &manifest.features;
    let mut faults = Vec::new();
    if features.is_empty() {
        return faults;
    }
    for tensor in tensors {
        let width = tensor.width().max(1);
        for index in 0..tensor.values.len() {
            if faults.len() >= limit {
                return faults;
            }
            let feature = if width > 1 || manifest.inputs.len() == 1 {
                features.get(index % width)
            } else {
                features.iter().find(|feature| feature.name == tensor.name)
            };
            if let Some(feature) = feature
                && let Err(reason) = value(feature, &tensor.values, index)
            {
                let reason = format!("(feature `{}`) {reason}", feature.name);
                faults.push(Fault { input: tensor.name.clone(), index, reason });
            }
        }
    }
    faults
}

fn value(feature: &Feature, values: &Values, index: usize) -> Result<(), String> {
    let number = match values {
        Values::Fp32(list) => list.get(index).map(|value| f64::from(*value)),
        Values::Fp64(list) => list.get(index).copied(),
        Values::Fp16(list) => list.get(index).map(|value| value.to_f64()),
        Values::Int64(list) => list.get(index).map(|value| to_f64(*value)),
        Values::Int32(list) => list.get(index).map(|value| f64::from(*value)),
        Values::Bytes(list) => {
            let text = list.get(index).cloned().unwrap_or_default();
            return check(feature, &Cell::Text(text));
        }
        _ => None,
    };
    let Some(number) = number else { return Ok(()) };
    if number.is_nan() {
        return check(feature, &Cell::Missing);
    }
    match feature.kind {
        FeatureKind::Category => {
            let count = feature.categories.len();
            let known = super::whole(number)
                .and_then(|place| usize::try_from(place).ok())
                .is_some_and(|place| place < count);
            if known {
                return Ok(());
            }
            Err(format!("must be the position of a category, 0 to {}, got {number}", count - 1))
        }
        FeatureKind::Boolean if number == 0.0 || number == 1.0 => Ok(()),
        FeatureKind::Boolean => Err(format!("must be 0 or 1, got {number}")),
        _ => check(feature, &Cell::Number(number)),
    }
}
