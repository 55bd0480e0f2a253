//! One item: an object with the members of [`NewFeedback`].

use std::fmt::Write;

use contracts::feedback::NewFeedback;
use contracts::{ApiError, Faults};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Item;

/// The members, in the order that a table shows them.
pub(super) const MEMBERS: [&str; 7] =
    ["prediction_id", "model", "unit", "label", "value", "metric", "at"];

/// Reads one from its JSON.
pub(super) fn read(pointer: String, text: &str) -> Item {
    let read = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(members)) => feedback(&pointer, &members),
        Ok(_) => Err(ApiError::at(pointer.as_str(), "must be an object")),
        Err(error) => Err(ApiError::at(pointer.as_str(), format!("is not JSON: {error}"))),
    };
    Item { pointer, read }
}

fn feedback(pointer: &str, members: &Map<String, Value>) -> Result<NewFeedback, ApiError> {
    let mut read = NewFeedback::default();
    let mut faults = Faults::default();
    for (name, value) in members {
        if value.is_null() && MEMBERS.contains(&name.as_str()) {
            continue;
        }
        if let Err(detail) = set(&mut read, name, value) {
            faults.add(step(pointer, name), detail);
        }
    }
    faults.check().map(|()| read)
}

/// Sets a member from its JSON.
fn set(read: &mut NewFeedback, name: &str, value: &Value) -> Result<(), String> {
    match (name, value) {
        ("value", value) => {
            let number = value.as_f64().ok_or_else(|| must_be("a number", value))?;
            read.value = Some(number);
            Ok(())
        }
        (_, Value::String(text)) => set_text(read, name, text),
        (name, value) if MEMBERS.contains(&name) => Err(must_be("a text", value)),
        _ => Err(unknown()),
    }
}

/// Sets a member from its text, as a table has it.
pub(super) fn set_text(read: &mut NewFeedback, name: &str, text: &str) -> Result<(), String> {
    match name {
        "prediction_id" => read.prediction_id = Some(text.parse().map_err(told)?),
        "model" => read.model = Some(text.parse().map_err(told)?),
        "unit" => read.unit = Some(text.to_owned()),
        "label" => read.label = Some(text.to_owned()),
        "value" => {
            let number = text.trim().parse();
            read.value =
                Some(number.map_err(|_cause| format!("must be a number, got `{}`", cut(text)))?);
        }
        "metric" => read.metric = Some(text.parse().map_err(told)?),
        "at" => {
            let moment = OffsetDateTime::parse(text, &Rfc3339);
            read.at = Some(moment.map_err(|_cause| {
                format!("must be a moment like `2026-01-31T23:59:59Z`, got `{}`", cut(text))
            })?);
        }
        _ => return Err(unknown()),
    }
    Ok(())
}

fn told(error: domain::InvalidId) -> String {
    error.to_string()
}

fn must_be(what: &str, value: &Value) -> String {
    format!("must be {what}, got `{}`", cut(&value.to_string()))
}

pub(super) fn unknown() -> String {
    format!("is not known: there are `{}`", MEMBERS.join("`, `"))
}

/// The begin of a text, for an error.
fn cut(text: &str) -> String {
    text.chars().take(100).collect()
}

/// A JSON pointer as a URI fragment (RFC 6901, section 6), with one more step.
pub(super) fn step(parent: &str, name: &str) -> String {
    let mut pointer = format!("{parent}/");
    for byte in name.bytes() {
        match byte {
            b'~' => pointer.push_str("~0"),
            b'/' => pointer.push_str("~1"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                pointer.push(char::from(byte));
            }
            // Writing to a `String` cannot fail.
            other => drop(write!(pointer, "%{other:02X}")),
        }
    }
    pointer
}
