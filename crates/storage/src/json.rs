//! Records as JSON text: written only if they can be read again, read with a name to complain of.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::StoreError;

/// The record's text. `Invalid` if it has none.
pub(crate) fn write<T: Serialize>(
    what: &'static str,
    id: &str,
    record: &T,
) -> Result<String, StoreError> {
    serde_json::to_string(record).map_err(|cause| StoreError::Invalid {
        what,
        id: id.to_owned(),
        why: cause.to_string(),
    })
}

/// The record in the text. `Corrupt` if there is none.
pub(crate) fn read<T: DeserializeOwned>(
    what: &'static str,
    id: &str,
    text: &str,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|cause| StoreError::Corrupt {
        what,
        id: id.to_owned(),
        source: cause.into(),
    })
}

/// Refuses numbers that JSON would write as `null`.
pub(crate) fn finite(
    what: &'static str,
    id: &str,
    field: &str,
    value: f64,
) -> Result<(), StoreError> {
    if value.is_finite() {
        return Ok(());
    }
    let why = format!("`{field}` must be finite, got `{value}`");
    Err(StoreError::Invalid { what, id: id.to_owned(), why })
}
