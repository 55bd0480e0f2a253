//! `text/csv` with a header: a row per line.

use contracts::pointer::step;
use contracts::{ApiError, ErrorCode, Faults};
use domain::manifest::{Feature, FeatureKind, Modality};
use models::preprocess::tabular::Cell;

use super::input;
use super::json::Json;
use super::natural::{bounded, must_take};
use super::{Asked, Bounds, Decoded};

pub(super) fn decode(held: &Asked<'_>, body: &[u8], bounds: Bounds) -> Result<Decoded, ApiError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(body);
    let headers = reader.headers().map_err(malformed)?.clone();
    match held.manifest.modality {
        Modality::Tabular => must_take(held, Modality::Tabular, "#")?,
        Modality::Text => {
            let texts = texts(held, &mut reader, &headers, bounds)?;
            return input::texts(held, texts, true);
        }
        Modality::Image => {
            return Err(ApiError::at("#", "does not fit: the model takes pictures, not a table"));
        }
    }
    let features = &held.manifest.features;
    let columns = columns(held, &headers)?;
    let mut faults = Faults::default();
    let mut rows = Vec::new();
    for (index, record) in reader.records().enumerate() {
        let record = record.map_err(malformed)?;
        bounded(held, index + 1, bounds, "#")?;
        let pointer = step("#/instances", &index.to_string());
        let mut cells = Vec::with_capacity(features.len());
        for (feature, column) in features.iter().zip(&columns) {
            let text = column.and_then(|column| record.get(column)).unwrap_or_default();
            let cell = cell(feature, text);
            if let Err(detail) = input::check(held, feature, &cell) {
                faults.add(step(&pointer, &feature.name), detail);
            }
            cells.push(cell);
        }
        if faults.full() {
            break;
        }
        rows.push(cells);
    }
    faults.check()?;
    bounded(held, rows.len(), bounds, "#")?;
    input::of_cells(held, &rows, true)
}

fn malformed(error: csv::Error) -> ApiError {
    ApiError::new(ErrorCode::BadRequest, format!("the body is not CSV in UTF-8: {error}"))
}

/// The column of each feature; `None` where an optional one has none.
fn columns(held: &Asked<'_>, headers: &csv::StringRecord) -> Result<Vec<Option<usize>>, ApiError> {
    let manifest = &held.manifest;
    let mut faults = Faults::default();
    for (index, name) in headers.iter().enumerate() {
        if manifest.features.iter().all(|feature| feature.name != name) {
            faults.add(step("#/header", name), input::unknown(manifest));
        } else if headers.iter().take(index).any(|earlier| earlier == name) {
            faults.add(step("#/header", name), "is given twice");
        }
    }
    let mut columns = Vec::with_capacity(manifest.features.len());
    for feature in &manifest.features {
        let column = headers.iter().position(|name| name == feature.name);
        if column.is_none() && !feature.optional {
            faults.add(
                step("#/header", &feature.name),
                "is missing: the first line names the features",
            );
        }
        columns.push(column);
    }
    faults.check()?;
    Ok(columns)
}

fn cell(feature: &Feature, text: &str) -> Cell {
    let trimmed = text.trim();
    if trimmed.is_empty() && feature.kind != FeatureKind::String {
        return Cell::Missing;
    }
    let as_text = || Cell::Text(text.to_owned());
    match feature.kind {
        FeatureKind::Integer => match trimmed.parse() {
            Ok(value) => Cell::Integer(value),
            Err(_) => trimmed.parse().map_or_else(|_| as_text(), Cell::Number),
        },
        FeatureKind::Number => trimmed.parse().map_or_else(|_| as_text(), Cell::Number),
        FeatureKind::Boolean => match trimmed.to_ascii_lowercase().as_str() {
            "true" | "1" => Cell::Boolean(true),
            "false" | "0" => Cell::Boolean(false),
            _ => as_text(),
        },
        FeatureKind::Category => Cell::Text(trimmed.to_owned()),
        FeatureKind::String => as_text(),
    }
}

fn texts(
    held: &Asked<'_>,
    reader: &mut csv::Reader<&[u8]>,
    headers: &csv::StringRecord,
    bounds: Bounds,
) -> Result<Vec<(String, Json)>, ApiError> {
    let [Some("text"), None] = [headers.get(0), headers.get(1)] else {
        return Err(ApiError::at("#/header", "must be the one column `text`"));
    };
    let mut texts = Vec::new();
    for (index, record) in reader.records().enumerate() {
        bounded(held, index + 1, bounds, "#")?;
        let record = record.map_err(malformed)?;
        let text = record.get(0).unwrap_or_default().to_owned();
        texts.push((step(&step("#/instances", &index.to_string()), "text"), Json::Text(text)));
    }
    bounded(held, texts.len(), bounds, "#")?;
    Ok(texts)
}
