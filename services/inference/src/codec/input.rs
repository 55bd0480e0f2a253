//! Rows, texts and pictures into the model's tensors.

use contracts::pointer::step;
use contracts::{ApiError, Faults};
use domain::Manifest;
use domain::manifest::Feature;
use models::ModelError;
use models::preprocess::tabular::{self, Cell};
use models::preprocess::{image, text};

use super::json::Json;
use super::{Asked, Decoded, Form};
use crate::InferenceError;

/// Rows of features, each with its pointer.
pub(super) fn rows(
    held: &Asked<'_>,
    rows: Vec<(String, Json)>,
    list: bool,
) -> Result<Decoded, ApiError> {
    let mut faults = Faults::default();
    let mut cells = Vec::with_capacity(rows.len());
    for (pointer, row) in rows {
        cells.push(row_cells(held, &pointer, row, &mut faults));
        if faults.full() {
            break;
        }
    }
    faults.check()?;
    of_cells(held, &cells, list)
}

/// Rows of cells that were checked.
pub(super) fn of_cells(
    held: &Asked<'_>,
    cells: &[Vec<Cell>],
    list: bool,
) -> Result<Decoded, ApiError> {
    let inputs = tabular::tensors(&held.manifest, cells).map_err(api)?;
    let (rows, truncated) = (cells.len(), Vec::new());
    Ok(Decoded { inputs, rows, form: Form::Natural { list, truncated } })
}

fn row_cells(held: &Asked<'_>, pointer: &str, row: Json, faults: &mut Faults) -> Vec<Cell> {
    let features = &held.manifest.features;
    match row {
        Json::List(values) => {
            if values.len() != features.len() {
                let detail = format!(
                    "must hold {} values, one per feature, got {}",
                    features.len(),
                    values.len()
                );
                faults.add(pointer.to_owned(), detail);
                return Vec::new();
            }
            let mut cells = Vec::with_capacity(values.len());
            for (index, (feature, value)) in features.iter().zip(values).enumerate() {
                match cell(value).and_then(|cell| check(held, feature, &cell).map(|()| cell)) {
                    Ok(cell) => cells.push(cell),
                    Err(detail) => faults.add(step(pointer, &index.to_string()), detail),
                }
            }
            cells
        }
        Json::Object(fields) => by_name(held, pointer, fields, faults),
        other => {
            let detail = format!("must be a list or an object of features, got {}", other.kind());
            faults.add(pointer.to_owned(), detail);
            Vec::new()
        }
    }
}

fn by_name(
    held: &Asked<'_>,
    pointer: &str,
    fields: Vec<(String, Json)>,
    faults: &mut Faults,
) -> Vec<Cell> {
    let manifest = &held.manifest;
    let features = &manifest.features;
    let mut given: Vec<Option<Json>> = Vec::new();
    given.resize_with(features.len(), || None);
    for (position, (name, value)) in fields.into_iter().enumerate() {
        // Most clients send the features in order.
        let place = match features.get(position) {
            Some(feature) if feature.name == name => Some(position),
            _ => features.iter().position(|feature| feature.name == name),
        };
        match place.and_then(|place| given.get_mut(place)) {
            Some(slot @ None) => *slot = Some(value),
            Some(Some(_)) => faults.add(step(pointer, &name), "is given twice"),
            None => faults.add(step(pointer, &name), unknown(manifest)),
        }
    }
    let mut cells = Vec::with_capacity(features.len());
    for (feature, value) in features.iter().zip(given) {
        let value = value.unwrap_or(Json::Null);
        match cell(value).and_then(|cell| check(held, feature, &cell).map(|()| cell)) {
            Ok(cell) => cells.push(cell),
            Err(detail) => faults.add(step(pointer, &feature.name), detail),
        }
    }
    cells
}

/// Whether a cell is what the feature, and the model's policy, allow.
pub(super) fn check(held: &Asked<'_>, feature: &Feature, cell: &Cell) -> Result<(), String> {
    tabular::check(feature, cell)?;
    match (cell, held.rules) {
        (Cell::Text(text), Some(rules)) => rules.text_fault(text).map_or(Ok(()), Err),
        _ => Ok(()),
    }
}

/// What to say of a name that is no feature.
pub(super) fn unknown(manifest: &Manifest) -> String {
    let some: Vec<_> =
        manifest.features.iter().take(20).map(|feature| format!("`{}`", feature.name)).collect();
    let more = if manifest.features.len() > 20 { ", ..." } else { "" };
    format!("is not a feature of the model: these are {}{more}", some.join(", "))
}

fn cell(value: Json) -> Result<Cell, String> {
    Ok(match value {
        Json::Null => Cell::Missing,
        Json::Boolean(value) => Cell::Boolean(value),
        Json::Integer(value) => Cell::Integer(value),
        Json::Number(value) => Cell::Number(value),
        Json::Text(text) => Cell::Text(text),
        other => return Err(format!("must be a single value, got {}", other.kind())),
    })
}

/// Texts, each with its pointer.
pub(super) fn texts(
    held: &Asked<'_>,
    values: Vec<(String, Json)>,
    list: bool,
) -> Result<Decoded, ApiError> {
    let mut faults = Faults::default();
    let mut texts = Vec::with_capacity(values.len());
    let mut pointers = Vec::with_capacity(values.len());
    for (pointer, value) in values {
        match value {
            Json::Text(text) => {
                // One by one, so that each fault has its pointer.
                if let Some(fault) = text_fault(held, &text) {
                    faults.add(pointer.clone(), fault);
                }
                texts.push(text);
            }
            other => faults.add(pointer.clone(), format!("must be a text, got {}", other.kind())),
        }
        pointers.push(pointer);
    }
    faults.check()?;
    let made = tokens(held, &texts).map_err(|error| match (error, pointers.as_slice()) {
        (ModelError::Input { reason, .. }, [one]) => ApiError::at(one, reason),
        (error, _) => api(error),
    })?;
    let form = Form::Natural { list, truncated: made.truncated };
    Ok(Decoded { inputs: made.tensors, rows: texts.len(), form })
}

/// Texts as the model's tensors.
pub(super) fn tokens(held: &Asked<'_>, texts: &[String]) -> Result<text::Tokenized, ModelError> {
    let manifest = &held.manifest;
    match (&held.tokenizer, &manifest.text) {
        (Some(tokenizer), _) => tokenizer.tensors(manifest, texts),
        (None, Some(input)) => text::strings(manifest, input, texts),
        (None, None) => Err(ModelError::Input {
            input: "text".to_owned(),
            reason: "does not fit: the model takes no text".to_owned(),
        }),
    }
}

/// What is wrong with a text, if its length or a character is.
pub(super) fn text_fault(held: &Asked<'_>, text: &str) -> Option<String> {
    let most = held.manifest.text.as_ref().map_or(usize::MAX, |text| text.max_chars);
    if text.contains('\0') {
        return Some("must not hold a NUL character".to_owned());
    }
    if text.len() > most {
        let count = text.chars().count();
        if count > most {
            return Some(format!("must have at most {most} characters, has {count}"));
        }
    }
    held.rules.and_then(|rules| rules.text_fault(text))
}

/// A picture.
pub(super) fn picture(held: &Asked<'_>, bytes: &[u8], pointer: &str) -> Result<Decoded, ApiError> {
    let (Some(image), Some(input)) = (&held.manifest.image, held.manifest.inputs.first()) else {
        return Err(ApiError::at(pointer, "does not fit: the model takes no pictures"));
    };
    if let Some(fault) = held.rules.and_then(|rules| rules.picture_fault(bytes)) {
        return Err(ApiError::at(pointer, fault));
    }
    let tensor = image::tensor(image, input, bytes).map_err(|error| match error {
        ModelError::Input { reason, .. } => ApiError::at(pointer, reason),
        error => api(error),
    })?;
    let form = Form::Natural { list: false, truncated: Vec::new() };
    Ok(Decoded { inputs: vec![tensor], rows: 1, form })
}

pub(super) fn api(error: ModelError) -> ApiError {
    InferenceError::Model(error).into()
}
