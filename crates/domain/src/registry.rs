//! Models, their immutable versions and the files these are made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{Manifest, ModelName, ModelPolicy, VersionId};

/// A model: a name under which versions are registered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Model {
    /// Unique name.
    pub name: ModelName,
    /// What it is for, in a sentence.
    pub description: String,
    /// Alias to version: `champion`, `challenger`, or any other name.
    pub aliases: BTreeMap<String, VersionId>,
    /// What was ruled for it; absent if nothing was, and for who may not read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<ModelPolicy>,
    /// Who registered it (user name).
    pub created_by: String,
    /// When it was registered.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// One version of a model. Immutable but for `enabled`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// The model it belongs to.
    pub model: ModelName,
    /// The number the registry counted up.
    pub version: VersionId,
    /// What the author, or the graph, says of it.
    pub manifest: Manifest,
    /// The package's files.
    pub files: Vec<FileRef>,
    /// Whether replicas may serve it. An engineer switches it off with an unload, on with a load.
    pub enabled: bool,
    /// Who registered it (user name).
    pub created_by: String,
    /// When it was registered.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// A file of a version, found in the artefact store by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileRef {
    /// Its name in the package, such as `model.onnx`.
    pub name: String,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
    /// Its size in bytes.
    pub bytes: u64,
}
