//! Finds `libonnxruntime.so` and starts it, once per process.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;

use crate::ModelError;

/// The version of ONNX Runtime that everything here was tested with.
pub const VERSION: &str = "1.31.1";
/// The library's file name.
pub const FILE_NAME: &str = "libonnxruntime.so";

static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
/// Held while the library is being started, so that two callers do not both try.
static STARTING: Mutex<()> = Mutex::new(());

/// Starts ONNX Runtime unless it runs already. Looks at `explicit` if it is given and nowhere else;
/// otherwise at each of `candidates`, beside the executable, and where the system keeps libraries.
/// Returns the path that was used, the first time.
///
/// # Errors
/// [`ModelError::Library`], which names the command that mends it. May be tried again.
pub fn start(
    explicit: Option<&Path>,
    candidates: &[PathBuf],
) -> Result<Option<PathBuf>, ModelError> {
    if ENVIRONMENT.get().is_some() {
        return Ok(None);
    }
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if ENVIRONMENT.get().is_some() {
        return Ok(None);
    }
    let path = find(explicit, candidates)?;
    let environment = ort::init_from(&path)
        .map_err(|error| ModelError::Library { reason: error.to_string() })?
        .with_name("decision-engine")
        .with_telemetry(false)
        .build()
        .map_err(|error| ModelError::Library {
            reason: format!("`{}` does not start: {error}", path.display()),
        })?;
    // Its warnings (unused initialisers, odd shapes) go to stderr unasked; errors come back anyway.
    environment.set_log_level(ort::logging::LogLevel::Fatal);
    ENVIRONMENT.get_or_init(|| environment);
    Ok(Some(path))
}

/// The running library.
///
/// # Errors
/// [`ModelError::Library`] if [`start`] has not succeeded.
pub(crate) fn environment() -> Result<&'static Environment, ModelError> {
    ENVIRONMENT
        .get()
        .ok_or_else(|| ModelError::Library { reason: "ONNX Runtime was not started".to_owned() })
}

fn find(explicit: Option<&Path>, candidates: &[PathBuf]) -> Result<PathBuf, ModelError> {
    if let Some(path) = explicit {
        return if path.is_file() {
            Ok(path.to_owned())
        } else {
            Err(ModelError::Library { reason: format!("`{}` is not a file", path.display()) })
        };
    }
    let beside = std::env::current_exe().ok().map(|program| program.with_file_name(FILE_NAME));
    if let Some(path) = candidates.iter().chain(&beside).find(|path| path.is_file()) {
        return Ok(path.clone());
    }
    // The system's loader searches for a bare name itself.
    Ok(PathBuf::from(FILE_NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_explicit_path_names_the_command_that_mends_it() {
        let error = find(Some(Path::new("/nowhere/libonnxruntime.so")), &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "ONNX models cannot run: `/nowhere/libonnxruntime.so` is not a file; run `make \
             onnxruntime` in the repository, or set `inference.onnxruntime` to the path of \
             libonnxruntime.so 1.31.1"
        );
    }

    #[test]
    fn the_first_candidate_that_exists_is_used() {
        let here = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        let found = find(None, &[PathBuf::from("/nowhere"), here.clone()]).unwrap();
        assert_eq!(found, here);
    }
}
