//! Artefacts in a local folder: a file per digest, `ab/cdef...`, never changed once it is there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use crate::StoreError;
use crate::artifacts::Objects;
use crate::digest;

/// A folder of artefacts.
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        let folder = Self { root: path.to_owned() };
        tokio::fs::create_dir_all(path)
            .await
            .map_err(|cause| StoreError::Open { store: folder.url(), source: cause.into() })?;
        Ok(folder)
    }

    fn unavailable(&self, action: &'static str, cause: io::Error) -> StoreError {
        StoreError::Unavailable { store: self.url(), action, source: cause.into() }
    }

    /// Runs what reads, writes or hashes whole files off the asynchronous threads.
    async fn blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done.map_err(|cause| self.unavailable(action, cause)),
            Err(cause) => Err(self.unavailable(action, io::Error::other(cause))),
        }
    }
}

#[async_trait]
impl Objects for Folder {
    async fn read(&self, sha256: &str) -> Result<Option<Bytes>, StoreError> {
        let Some(file) = place(&self.root, sha256) else { return Ok(None) };
        let read = self.blocking("read an artefact", move || read_if_there(&file)).await?;
        Ok(read.map(Bytes::from))
    }

    async fn write(&self, sha256: &str, bytes: Bytes) -> Result<(), StoreError> {
        let file = place(&self.root, sha256);
        self.blocking("keep an artefact", move || {
            write(&file.ok_or(ErrorKind::InvalidInput)?, &bytes)
        })
        .await
    }

    async fn list(&self) -> Result<Vec<String>, StoreError> {
        let root = self.root.clone();
        self.blocking("list the artefacts", move || list(&root)).await
    }

    fn url(&self) -> String {
        format!("file://{}", self.root.display())
    }
}

/// The digests whose files lie there, in order; what else lies there is nobody's business.
fn list(root: &Path) -> io::Result<Vec<String>> {
    let mut digests = Vec::new();
    for folder in fs::read_dir(root)? {
        let folder = folder?;
        if !folder.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(folder.path())? {
            let (begin, end) = (folder.file_name(), file?.file_name());
            let name = format!("{}{}", begin.to_string_lossy(), end.to_string_lossy());
            if begin.len() == 2 && digest::place(&name).is_some() {
                digests.push(name);
            }
        }
    }
    digests.sort();
    Ok(digests)
}

/// Where the bytes with this digest lie; `None` if it is no digest in lower-case hex.
fn place(root: &Path, sha256: &str) -> Option<PathBuf> {
    let (folder, file) = digest::place(sha256)?;
    Some(root.join(folder).join(file))
}

fn read_if_there(file: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// Writes the whole file or none of it, durably. Of two at once, the last one stays: both wrote
/// the same.
fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = file.parent().ok_or(ErrorKind::NotFound)?;
    fs::create_dir_all(folder)?;
    let half_done = folder.join(format!(".{}.tmp", Uuid::now_v7()));
    let written = (|| {
        let mut out = OpenOptions::new().write(true).create_new(true).open(&half_done)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&half_done, file)?;
        // The name is durable only once its folder is.
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        // What remains is under a name that nobody reads; the first failure is the one to tell.
        fs::remove_file(&half_done).ok();
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifacts::Shelf;
    use crate::digest::digest;
    use crate::ports::Artifacts as _;
    use crate::sealing::Sealing;

    async fn shelf(root: &Path) -> Shelf<Folder> {
        Shelf::new(Folder::open(root).await.unwrap(), Sealing::default())
    }

    #[test]
    fn a_digest_has_one_place_and_a_path_has_none() {
        let sha256 = digest(b"abc");
        assert_eq!(sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let expected = "/r/ba/7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(place(Path::new("/r"), &sha256), Some(PathBuf::from(expected)));
        for bad in ["", "ab", "../../etc/passwd", &sha256.to_uppercase(), &"é".repeat(32)] {
            assert_eq!(place(Path::new("/r"), bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn changed_bytes_are_tampered_and_the_same_upload_mends_them() {
        let root = tempfile::tempdir().unwrap();
        let folder = shelf(root.path()).await;
        let sha256 = folder.put(Bytes::from_static(b"model")).await.unwrap();
        let file = place(root.path(), &sha256).unwrap();

        for changed in [&b"other"[..], b"", b"model and more"] {
            fs::write(&file, changed).unwrap();
            let error = folder.get(&sha256).await.unwrap_err();
            assert!(
                matches!(&error, StoreError::Tampered { sha256: asked, .. } if *asked == sha256),
                "{error}"
            );
        }
        folder.put(Bytes::from_static(b"model")).await.unwrap();
        assert_eq!(folder.get(&sha256).await.unwrap(), "model");
    }

    #[tokio::test]
    async fn nothing_half_done_is_left_behind() {
        let root = tempfile::tempdir().unwrap();
        let folder = shelf(root.path()).await;
        let sha256 = folder.put(Bytes::from_static(b"model")).await.unwrap();
        let file = place(root.path(), &sha256).unwrap();
        // A folder in the file's place lets the last step fail.
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        let error = folder.put(Bytes::from_static(b"model")).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }
}
