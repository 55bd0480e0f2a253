//! All settings of the engine: one section per service, and those every process has.

use std::path::PathBuf;

use runtime::RuntimeError;
use runtime::settings::{HTTP, Http, Layers, PROCESS, STORAGE, Storage};
use runtime::telemetry::Telemetry;
use serde::Deserialize;

/// The commented defaults of all sections: the reference for settings.
pub const DEFAULTS: [&str; 9] = [
    PROCESS,
    HTTP,
    STORAGE,
    gateway::DEFAULTS,
    auth::DEFAULTS,
    router::DEFAULTS,
    inference::DEFAULTS,
    feedback::DEFAULTS,
    drift::DEFAULTS,
];

/// All settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default files say it")]
pub struct Settings {
    pub data_dir: PathBuf,
    pub telemetry: Telemetry,
    pub http: Http,
    pub storage: Storage,
    pub gateway: gateway::Settings,
    pub auth: auth::Settings,
    pub router: router::Settings,
    pub inference: inference::Settings,
    pub feedback: feedback::Settings,
    pub drift: drift::Settings,
}

impl Settings {
    /// Reads the settings from all layers, and fills in places in the data folder.
    ///
    /// # Errors
    /// If a key is unknown, missing or of the wrong kind.
    pub fn read(layers: &Layers) -> Result<Self, RuntimeError> {
        let mut settings: Self = layers.all()?;
        let data_dir = settings.data_dir.clone();
        settings.storage.resolve(&data_dir);
        settings.auth.resolve(&data_dir);
        settings.router.resolve(&data_dir);
        Ok(settings)
    }
}
