//! What every relational store says of models and the numbers of their versions.

use domain::{ModelName, VersionId};

use crate::StoreError;

pub(crate) fn version_id(model: &ModelName, number: i64) -> Result<VersionId, StoreError> {
    u32::try_from(number).ok().and_then(VersionId::new).ok_or_else(|| StoreError::Invalid {
        what: "version",
        id: format!("{model}/{number}"),
        why: "version numbers end at 4294967295".to_owned(),
    })
}

pub(crate) fn id_of(model: &ModelName, version: VersionId) -> String {
    format!("{model}/{version}")
}

pub(crate) fn no_model(name: &ModelName) -> StoreError {
    StoreError::NotFound { what: "model", id: name.to_string() }
}

pub(crate) fn no_version(name: &ModelName, version: VersionId) -> StoreError {
    StoreError::NotFound { what: "version", id: id_of(name, version) }
}
