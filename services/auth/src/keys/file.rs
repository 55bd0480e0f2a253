//! Files that only we may read, made whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use crate::{AuthError, random};

/// The files of a folder with this extension, by name; none if there is no such folder.
pub(super) fn list(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, AuthError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(unusable(folder, cause)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|cause| unusable(folder, cause))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Reads a file that is not to be read by others.
pub(super) fn read(path: &Path) -> Result<String, AuthError> {
    check_mode(path)?;
    fs::read_to_string(path).map_err(|cause| unusable(path, cause))
}

/// Reads the file. If it is not there, makes it; of two that do so at once, both read the one file.
pub(super) fn read_or_make(
    path: &Path,
    content: impl FnOnce() -> Result<Vec<u8>, AuthError>,
) -> Result<String, AuthError> {
    if !path.exists() {
        make(path, &content()?)?;
    }
    read(path)
}

/// Removes a file; one that is gone already is no failure.
pub(super) fn remove(path: &Path) -> Result<(), AuthError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => Err(unusable(path, cause)),
        _ => Ok(()),
    }
}

/// The second since 1970 in which the file was last written; 0 if that is not known.
pub(super) fn second_of(path: &Path) -> i64 {
    let written = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let since = written.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or_default()
}

fn make(path: &Path, content: &[u8]) -> Result<(), AuthError> {
    let folder = path.parent().ok_or_else(|| unusable(path, ErrorKind::InvalidInput.into()))?;
    let half_done = folder.join(format!(".{}.tmp", random::token()?));
    let made = (|| {
        make_folder(folder)?;
        write_new(&half_done, content)?;
        // Unlike a renaming this fails if the name is taken, so the first one wins.
        match fs::hard_link(&half_done, path) {
            Err(cause) if cause.kind() != ErrorKind::AlreadyExists => return Err(cause),
            Ok(()) | Err(_) => {}
        }
        fs::remove_file(&half_done)?;
        File::open(folder)?.sync_all()
    })();
    if made.is_err() {
        // It is under a name that nobody reads; the first failure is the one to tell.
        fs::remove_file(&half_done).ok();
    }
    made.map_err(|cause| unusable(path, cause))
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Only the owner may read it; or a group, where root owns it, as with secrets that are mounted.
#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), AuthError> {
    use std::os::unix::fs::MetadataExt as _;

    let metadata = fs::metadata(path).map_err(|cause| unusable(path, cause))?;
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    let mode = metadata.mode() & 0o777;
    if mode & forbidden == 0 {
        return Ok(());
    }
    Err(AuthError::KeyFileOpen { path: path.to_owned(), mode })
}

#[cfg(not(unix))]
fn check_mode(_path: &Path) -> Result<(), AuthError> {
    Ok(())
}

fn unusable(path: &Path, source: io::Error) -> AuthError {
    AuthError::KeyFile { path: path.to_owned(), source }
}
