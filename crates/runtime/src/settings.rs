//! Settings: embedded commented defaults < a TOML file < `ENGINE__SECTION__KEY`.
//!
//! The default files are the reference: no second list exists. Unknown keys are errors. For every
//! key there is also `ENGINE__SECTION__KEY_FILE`, which names a file that holds the value.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use config::{Config, File, FileFormat, Map, Value, ValueKind};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::RuntimeError;

/// Defaults every process has: `data_dir` and `[telemetry]`.
pub const PROCESS: &str = include_str!("settings/process.default.toml");
/// Defaults of `[storage]`.
pub const STORAGE: &str = include_str!("settings/storage.default.toml");
/// Defaults of `[http]`.
pub const HTTP: &str = include_str!("settings/http.default.toml");
/// Defaults of `[server]` and `[services]`, for a service that runs by itself.
pub const DISTRIBUTED: &str = include_str!("settings/distributed.default.toml");

/// `[storage]`: where state lives, by URL. Empty means a place in the data folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file says it")]
pub struct Storage {
    pub relational: String,
    pub documents: String,
    pub artifacts: String,
    pub artifacts_access_key: Secret,
    pub artifacts_secret_key: Secret,
    pub artifacts_encryption_key: Secret,
    pub artifacts_old_encryption_keys: Secret,
    pub cache: String,
}

impl Storage {
    /// Fills in what is empty with places in the data folder.
    pub fn resolve(&mut self, data_dir: &Path) {
        let place =
            |scheme: &str, name: &str| format!("{scheme}://{}", data_dir.join(name).display());
        if self.relational.is_empty() {
            self.relational = place("sqlite", "relational.db");
        }
        if self.documents.is_empty() {
            self.documents = place("sqlite", "documents.db");
        }
        if self.artifacts.is_empty() {
            self.artifacts = place("file", "artifacts");
        }
    }
}

/// `[http]`: limits of a process's HTTP server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file says it")]
pub struct Http {
    pub workers: usize,
    pub max_body_bytes: usize,
    pub max_upload_bytes: usize,
    pub request_timeout_ms: u64,
    pub upload_timeout_ms: u64,
    pub header_timeout_ms: u64,
    pub keep_alive_s: u64,
    pub shutdown_timeout_s: u64,
    pub token_leeway_s: u32,
    pub token_cache: usize,
    pub revocation_poll_ms: u64,
    pub jwks_refresh_s: u64,
    pub tls_certificate: PathBuf,
    pub tls_key: PathBuf,
    pub tls_reload_s: u64,
}

/// Texts: a list in TOML, or separated by commas as the environment has them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "ListForm<T>", bound = "T: Deserialize<'de> + From<String>")]
pub struct List<T>(pub Vec<T>);

#[derive(Deserialize)]
#[serde(untagged)]
enum ListForm<T> {
    Commas(String),
    Items(Vec<T>),
}

impl<T: From<String>> From<ListForm<T>> for List<T> {
    fn from(form: ListForm<T>) -> Self {
        match form {
            ListForm::Items(items) => Self(items),
            ListForm::Commas(text) => {
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                Self(words.map(|word| T::from(word.to_owned())).collect())
            }
        }
    }
}

/// `[server]`: where a service that runs by itself listens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file says it")]
pub struct Server {
    pub listen: String,
}

/// `[services]`: where the other services are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file says it")]
pub struct Services {
    pub auth: String,
    pub router: String,
    pub inference: String,
    pub feedback: String,
    pub drift: String,
    pub secret: Secret,
}

/// A text that is never shown: not in logs, not in errors.
#[derive(Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Reads the settings of a process. `file` must exist; without one, `engine.toml` is read if it is
/// there. `environment` is what [`environment`] gives.
///
/// # Errors
/// [`RuntimeError::Settings`] naming the key that is unknown, missing or of the wrong kind.
pub fn load<T: DeserializeOwned>(
    defaults: &[&str],
    file: Option<&Path>,
    environment: BTreeMap<String, String>,
) -> Result<T, RuntimeError> {
    layers(defaults, file, environment)?.all()
}

/// The settings of a process, all layers in one.
#[derive(Debug)]
pub struct Layers(Config);

impl Layers {
    /// All sections.
    ///
    /// # Errors
    /// [`RuntimeError::Settings`] naming the key that is unknown, missing or of the wrong kind.
    pub fn all<T: DeserializeOwned>(&self) -> Result<T, RuntimeError> {
        self.0.clone().try_deserialize().map_err(explain)
    }

    /// One section.
    ///
    /// # Errors
    /// As [`Layers::all`].
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, RuntimeError> {
        self.0.get(name).map_err(explain)
    }

    /// Refuses sections other than these.
    ///
    /// # Errors
    /// [`RuntimeError::Settings`] naming the one that would do nothing.
    pub fn only(&self, known: &[&str]) -> Result<(), RuntimeError> {
        let sections = config::Source::collect(&self.0).map_err(explain)?;
        match sections.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(RuntimeError::Settings(format!(
                "`{name}` does nothing in this process: it knows `{}`",
                known.join("`, `")
            ))),
            None => Ok(()),
        }
    }
}

/// Puts the layers of settings together.
///
/// # Errors
/// [`RuntimeError::Settings`] if a layer cannot be read.
pub fn layers(
    defaults: &[&str],
    file: Option<&Path>,
    environment: BTreeMap<String, String>,
) -> Result<Layers, RuntimeError> {
    let mut builder = Config::builder();
    for text in defaults {
        builder = builder.add_source(File::from_str(text, FileFormat::Toml));
    }
    let known = builder.build_cloned().map_err(explain)?;
    builder = match file {
        Some(path) => builder.add_source(File::new(&path.display().to_string(), FileFormat::Toml)),
        None => builder.add_source(File::new("engine.toml", FileFormat::Toml).required(false)),
    };
    let environment = from_files(environment, &known)?;
    // No guessing of types: a password of digits stays as it was typed.
    let source = config::Environment::with_prefix("ENGINE")
        .prefix_separator("__")
        .separator("__")
        .source(Some(environment));
    builder.add_source(source).build().map(Layers).map_err(explain)
}

/// The environment of this process.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Where the ONNX Runtime library may be, in order: `ORT_DYLIB_PATH`, the data folder, and, in a
/// build tree, where `make onnxruntime` puts it.
pub fn onnxruntime(data_dir: &Path) -> Vec<PathBuf> {
    const NAME: &str = "libonnxruntime.so";
    let named = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    let program = std::env::current_exe().ok();
    let target = program.as_deref().and_then(Path::parent).and_then(Path::parent);
    let built = target.map(|target| target.join("onnxruntime").join(NAME));
    named.into_iter().chain([data_dir.join(NAME)]).chain(built).collect()
}

fn explain(error: config::ConfigError) -> RuntimeError {
    RuntimeError::Settings(format!(
        "{error}; see the commented defaults with `--print-defaults` (a section's key in the environment: `ENGINE__SECTION__KEY`)"
    ))
}

/// Replaces `X_FILE` by `X` with the file's content, where `X` is a known setting and `X_FILE` is
/// not one itself.
fn from_files(
    environment: BTreeMap<String, String>,
    known: &Config,
) -> Result<Map<String, String>, RuntimeError> {
    let is_known = |name: &str| {
        let key = name.strip_prefix("ENGINE__").unwrap_or_default();
        let key = key.to_lowercase().replace("__", ".");
        !key.is_empty()
            && known
                .get::<Value>(&key)
                .is_ok_and(|value| !matches!(value.kind, ValueKind::Table(_)))
    };
    let mut result = Map::new();
    for (name, value) in environment {
        let base = name.strip_suffix("_FILE").filter(|base| is_known(base) && !is_known(&name));
        let Some(base) = base else {
            result.insert(name, value);
            continue;
        };
        let text = fs::read_to_string(&value).map_err(|error| {
            RuntimeError::Settings(format!(
                "`{name}` names `{value}`, which cannot be read: {error}"
            ))
        })?;
        result.insert(base.to_owned(), text.trim_end_matches(['\r', '\n']).to_owned());
    }
    Ok(result)
}

#[cfg(test)]
mod tests;
