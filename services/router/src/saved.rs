//! The last known configuration: models, versions and routes in a file, for a start while the store
//! is down.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use domain::{ModelName, ModelPolicy, Route, Version};
use serde::{Deserialize, Serialize};

use crate::service::KnownPast;

/// What the file holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// How the file is written; another number is not read.
    format: u32,
    pub(crate) models: Vec<ModelName>,
    /// Of those models that have one.
    #[serde(default)]
    pub(crate) policies: BTreeMap<ModelName, ModelPolicy>,
    pub(crate) versions: Vec<Version>,
    pub(crate) routes: Vec<Route>,
    /// What a rollback looks back on.
    #[serde(default)]
    pub(crate) pasts: BTreeMap<ModelName, KnownPast>,
}

/// The format written now.
const FORMAT: u32 = 1;

impl Saved {
    pub(crate) fn new(
        models: Vec<ModelName>,
        policies: BTreeMap<ModelName, ModelPolicy>,
        versions: Vec<Version>,
        routes: Vec<Route>,
    ) -> Self {
        Self { format: FORMAT, models, policies, versions, routes, pasts: BTreeMap::new() }
    }
}

/// Reads the file. `None` if there is none.
pub(crate) fn read(path: &Path) -> io::Result<Option<Saved>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let saved: Saved = serde_json::from_slice(&bytes)?;
    if saved.format == FORMAT {
        return Ok(Some(saved));
    }
    let text = format!("it has format {}, this release reads {FORMAT}", saved.format);
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
}

/// Writes the file so that it is whole at any time, also after a power cut: the old one or the new.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().map(Path::to_owned).unwrap_or_else(|| PathBuf::from("."));
    fs::create_dir_all(&folder)?;
    let draft = path.with_extension("new");
    let mut file = File::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_damaged_or_newer_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("router/table.json");
        assert!(read(&path).unwrap().is_none());
        let policies = [("iris".parse().unwrap(), ModelPolicy::default())].into();
        let models = vec!["iris".parse().unwrap()];
        let saved = Saved::new(models, policies, Vec::new(), Vec::new());
        write(&path, &serde_json::to_vec(&saved).unwrap()).unwrap();
        write(&path, &serde_json::to_vec(&saved).unwrap()).unwrap();
        let kept = read(&path).unwrap().unwrap();
        assert_eq!((&kept.models, &kept.policies), (&saved.models, &saved.policies));
        write(&path, &serde_json::to_vec(&Saved { format: 2, ..saved }).unwrap()).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("format 2"));
        write(&path, b"{\"format\":1,").unwrap();
        assert!(read(&path).is_err());
    }
}
