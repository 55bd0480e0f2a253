//! Class names: `labels.json`, else the graph's own.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use super::files::LABELS;
use crate::ModelError;

/// The labels of `labels.json`: a list of names, or an object from position to name (as ImageNet's
/// usual file). `None` if there is no such file.
pub(super) fn from_file(
    files: &BTreeMap<String, Bytes>,
) -> Result<Option<Vec<String>>, ModelError> {
    let Some(bytes) = files.get(LABELS) else { return Ok(None) };
    let bad = |reason: String| ModelError::file(LABELS, reason);
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| bad(format!("is not JSON: {error}")))?;
    let list = match value {
        Value::Array(list) => list,
        Value::Object(fields) => {
            let mut places = BTreeMap::new();
            for (key, label) in fields {
                let place: usize = match key.parse() {
                    Ok(place) => place,
                    Err(_) => return Err(bad(format!("has the key `{key}`, must be a position"))),
                };
                places.insert(place, label);
            }
            if let Some((gap, _)) = places.keys().enumerate().find(|(at, place)| at != *place) {
                return Err(bad(format!("has no label at position {gap}")));
            }
            places.into_values().collect()
        }
        _ => {
            return Err(bad(
                "must be a list of names, or an object from position to name".to_owned()
            ));
        }
    };
    let name = |label: Value| match label {
        Value::String(name) => Ok(name),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(bad(format!("holds `{other}`, must hold names"))),
    };
    list.into_iter().map(name).collect::<Result<Vec<_>, _>>().map(Some)
}
