//! The natural forms: `{"features": ...}`, `{"instances": [...]}`, `{"text": ...}`, `{"texts": [...]}`,
//! `{"image": "<base64>"}`, a picture as the body, a table as `text/csv`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use contracts::pointer::step;
use contracts::{ApiError, ErrorCode, Faults};
use domain::manifest::Modality;
use models::rules::Compiled;

use super::input;
use super::json::Json;
use super::{Asked, Bounds, Decoded, table};

/// Keys that may stand beside the input: the router reads them.
const BESIDE: [&str; 2] = ["unit", "context"];
/// Keys that hold the input.
const INPUTS: [&str; 5] = ["features", "instances", "text", "texts", "image"];

pub(super) fn decode(
    held: &Asked<'_>,
    content_type: &str,
    body: &Bytes,
    bounds: Bounds,
) -> Result<Decoded, ApiError> {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "" | "application/json" => json(held, body, bounds),
        kind if kind.ends_with("+json") => json(held, body, bounds),
        "text/csv" | "application/csv" => table::decode(held, body, bounds),
        kind if kind.starts_with("image/") || kind == "application/octet-stream" => {
            must_take(held, Modality::Image, "#")?;
            input::picture(held, body, "#")
        }
        other => Err(ApiError::new(
            ErrorCode::BadRequest,
            format!(
                "content type `{other}` is none of `application/json`, `text/csv`, `image/jpeg`, \
                 `image/png`, `image/webp`"
            ),
        )),
    }
}

fn json(held: &Asked<'_>, body: &[u8], bounds: Bounds) -> Result<Decoded, ApiError> {
    let Json::Object(fields) = Json::read(body)? else {
        return Err(ApiError::at("#", format!("must be an object such as {}", example(held))));
    };
    let mut faults = Faults::default();
    let mut found: Option<(String, Json)> = None;
    let mut beside = Vec::new();
    for (key, value) in fields {
        if let Some(known) = BESIDE.into_iter().find(|known| *known == key) {
            // The router would take neither.
            if beside.contains(&known) {
                faults.add(step("#", &key), "is given twice");
            }
            beside.push(known);
            continue;
        }
        if !INPUTS.contains(&key.as_str()) {
            let detail = format!(
                "is not known here: the input goes into {}, beside it may stand `unit` and `context`",
                quoted(&INPUTS)
            );
            faults.add(step("#", &key), detail);
            continue;
        }
        match &found {
            None => found = Some((key, value)),
            Some((first, _)) if *first == key => faults.add(step("#", &key), "is given twice"),
            Some((first, _)) => {
                faults.add(step("#", &key), format!("cannot stand beside `{first}`"));
            }
        }
    }
    faults.check()?;
    let Some((key, value)) = found else {
        return Err(ApiError::at("#", format!("must hold the input, such as {}", example(held))));
    };
    let pointer = step("#", &key);
    match (key.as_str(), value) {
        ("features", row) => {
            must_take(held, Modality::Tabular, &pointer)?;
            input::rows(held, vec![(pointer, row)], false)
        }
        ("instances", Json::List(list)) => {
            bounded(held, list.len(), bounds, &pointer)?;
            let place = |(index, row): (usize, Json)| (step(&pointer, &index.to_string()), row);
            let rows: Vec<_> = list.into_iter().enumerate().map(place).collect();
            match held.manifest.modality {
                Modality::Tabular => {
                    must_take(held, Modality::Tabular, &pointer)?;
                    input::rows(held, rows, true)
                }
                Modality::Text => input::texts(held, rows, true),
                Modality::Image => must_take(held, Modality::Tabular, &pointer).and(no_rows()),
            }
        }
        ("text", text) => {
            must_take(held, Modality::Text, &pointer)?;
            input::texts(held, vec![(pointer, text)], false)
        }
        ("texts", Json::List(list)) => {
            must_take(held, Modality::Text, &pointer)?;
            bounded(held, list.len(), bounds, &pointer)?;
            let place = |(index, text): (usize, Json)| (step(&pointer, &index.to_string()), text);
            input::texts(held, list.into_iter().enumerate().map(place).collect(), true)
        }
        ("image", Json::Text(text)) => {
            must_take(held, Modality::Image, &pointer)?;
            input::picture(held, &from_base64(&text, &pointer)?, &pointer)
        }
        ("image", other) => {
            Err(ApiError::at(pointer, format!("must be a text in base64, got {}", other.kind())))
        }
        (_, other) => Err(ApiError::at(pointer, format!("must be a list, got {}", other.kind()))),
    }
}

fn no_rows() -> Result<Decoded, ApiError> {
    Err(ApiError::at("#", "must hold the input"))
}

/// Refuses input of another kind than the model takes.
pub(super) fn must_take(held: &Asked<'_>, kind: Modality, pointer: &str) -> Result<(), ApiError> {
    let manifest = &held.manifest;
    if manifest.modality != kind {
        return Err(ApiError::at(
            pointer,
            format!("does not fit: the model takes {}", example(held)),
        ));
    }
    if kind == Modality::Tabular && manifest.features.is_empty() {
        return Err(ApiError::at(
            pointer,
            "does not fit: the model has no features, ask it over the V2 protocol",
        ));
    }
    Ok(())
}

/// Refuses no rows, and too many.
pub(super) fn bounded(
    held: &Asked<'_>,
    rows: usize,
    bounds: Bounds,
    pointer: &str,
) -> Result<(), ApiError> {
    if rows == 0 {
        return Err(ApiError::at(pointer, "must hold at least one row"));
    }
    if let Some(most) = held.rules.and_then(Compiled::max_rows)
        && rows > most
    {
        return Err(ApiError::at(
            pointer,
            format!("must hold at most {most} rows by the model's policy, got {rows}"),
        ));
    }
    if rows > bounds.max_rows {
        return Err(ApiError::new(
            ErrorCode::TooLarge,
            format!(
                "a request may hold {} rows (`inference.max_rows_per_request`), got {rows}: send \
                 several",
                bounds.max_rows
            ),
        ));
    }
    Ok(())
}

fn example(held: &Asked<'_>) -> String {
    match held.manifest.modality {
        Modality::Tabular => {
            let names: Vec<_> = held
                .manifest
                .features
                .iter()
                .take(2)
                .map(|one| format!("\"{}\": ...", one.name))
                .collect();
            format!("`{{\"features\": {{{}, ...}}}}`", names.join(", "))
        }
        Modality::Text => "`{\"text\": \"...\"}`".to_owned(),
        Modality::Image => "a picture as the body, or `{\"image\": \"<base64>\"}`".to_owned(),
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn from_base64(text: &str, pointer: &str) -> Result<Vec<u8>, ApiError> {
    // A page's `data:image/png;base64,...` is common enough.
    let digits = match text.strip_prefix("data:") {
        Some(rest) => rest.split_once("base64,").map_or(rest, |(_, digits)| digits),
        None => text,
    };
    STANDARD
        .decode(digits.trim())
        .map_err(|error| ApiError::at(pointer, format!("must be base64 (RFC 4648): {error}")))
}
