//! What a client sent, taken apart: one object, a list, `{"items": [...]}`, a line each, or a table.

use contracts::feedback::NewFeedback;
use contracts::{ApiError, ErrorCode};
use serde::Deserialize;
use serde_json::value::RawValue;

mod item;
mod table;

/// Feedback as it was sent.
#[derive(Debug)]
pub(crate) enum Given {
    One(Item),
    Many(Vec<Item>),
}

/// One of them, if it could be read.
#[derive(Debug)]
pub(crate) struct Item {
    /// Where it stands: `#`, `#/3` or `#/items/3`.
    pub(crate) pointer: String,
    pub(crate) read: Result<NewFeedback, ApiError>,
}

/// Reads a body.
///
/// # Errors
/// `bad_request` if it is of another form or not JSON; `unprocessable` if it holds no item, or its
/// table has no sound header; `too_large` if it holds more than `max_items`.
pub(crate) fn read(content_type: &str, body: &[u8], max_items: usize) -> Result<Given, ApiError> {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/json" | "" => json(body, max_items),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
            lines(body, max_items).map(Given::Many)
        }
        "text/csv" => table::read(body, max_items).map(Given::Many),
        _ => Err(ApiError::new(
            ErrorCode::BadRequest,
            format!(
                "feedback comes as `application/json`, `application/x-ndjson` or `text/csv`, not as `{}`",
                kind.escape_debug()
            ),
        )),
    }
}

fn json(body: &[u8], max_items: usize) -> Result<Given, ApiError> {
    #[derive(Deserialize)]
    struct Peek<'a> {
        #[serde(borrow)]
        items: Option<&'a RawValue>,
    }
    let whole: &RawValue = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    let (list, before) = if whole.get().starts_with('[') {
        (whole, "#")
    } else {
        let Ok(Peek { items: Some(items) }) = serde_json::from_str(whole.get()) else {
            return Ok(Given::One(item::read("#".to_owned(), whole.get())));
        };
        only_items(whole)?;
        (items, "#/items")
    };
    if !list.get().starts_with('[') {
        return Err(ApiError::at(before, "must be a list"));
    }
    let items: Vec<&RawValue> =
        serde_json::from_str(list.get()).map_err(|error| not_json(&error))?;
    counted(items.len(), max_items, before)?;
    let items = items.iter().enumerate();
    Ok(Given::Many(
        items.map(|(n, text)| item::read(format!("{before}/{n}"), text.get())).collect(),
    ))
}

/// Refuses what stands beside `items`, which would be lost.
fn only_items(whole: &RawValue) -> Result<(), ApiError> {
    let members: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(whole.get()).map_err(|error| not_json(&error))?;
    match members.keys().find(|name| *name != "items") {
        None => Ok(()),
        Some(name) => Err(ApiError::at(
            item::step("#", name),
            "is not known beside `items`: put it into each item",
        )),
    }
}

fn lines(body: &[u8], max_items: usize) -> Result<Vec<Item>, ApiError> {
    let lines = body.split(|byte| *byte == b'\n').enumerate();
    let lines: Vec<_> = lines.filter(|(_, line)| !line.trim_ascii().is_empty()).collect();
    counted(lines.len(), max_items, "#")?;
    let read = |(n, (line, text)): (usize, (usize, &[u8]))| {
        let pointer = format!("#/{n}");
        match std::str::from_utf8(text) {
            Ok(text) => item::read(pointer, text),
            Err(_) => {
                let detail = format!("must be UTF-8: line {} is not", line + 1);
                Item { read: Err(ApiError::at(pointer.as_str(), detail)), pointer }
            }
        }
    };
    Ok(lines.into_iter().enumerate().map(read).collect())
}

/// Refuses none, and too many.
fn counted(items: usize, max_items: usize, pointer: &str) -> Result<(), ApiError> {
    match items {
        0 => Err(ApiError::at(pointer, "must hold at least one item")),
        _ if items > max_items => Err(ApiError::new(
            ErrorCode::TooLarge,
            format!(
                "{items} items are more than the {max_items} that the setting `feedback.max_items` allows: send them in parts"
            ),
        )),
        _ => Ok(()),
    }
}

fn not_json(error: &serde_json::Error) -> ApiError {
    ApiError::new(ErrorCode::BadRequest, format!("the body is not JSON: {error}"))
}

#[cfg(test)]
mod tests;
