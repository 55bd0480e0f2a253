//! The last known configuration: models, versions and routes in a file, for a start while the store
//! is down.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use domain::{ModelName, Route, Version};
use serde::{Deserialize, Serialize};

/// What the file holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// How the file is written; another number is not read.
    format: u32,
    pub(crate) models: Vec<ModelName>,
    pub(crate) versions: Vec<Version>,
    pub(crate) routes: Vec<Route>,
}

/// The format written now.
const FORMAT: u32 = 1;

impl Saved {
    pub(crate) fn new(models: Vec<ModelName>, versions: Vec<Version>, routes: Vec<Route>) -> Self {
        Self { format: FORMAT, models, versions, routes }
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
        let saved = Saved::new(vec!["iris".parse().unwrap()], Vec::new(), Vec::new());
        write(&path, &serde_json::to_vec(&saved).unwrap()).unwrap();
        write(&path, &serde_json::to_vec(&saved).unwrap()).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().models, saved.models);
        write(&path, &serde_json::to_vec(&Saved { format: 2, ..saved }).unwrap()).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("format 2"));
        write(&path, b"{\"format\":1,").unwrap();
        assert!(read(&path).is_err());
    }
}
