//! How a process lives: settings, telemetry, the HTTP kit, authentication, signals, drain.
//!
//! Reading order: [`settings`] (defaults, file, environment), [`process`] (start, background tasks,
//! stop), [`service`] (a service that runs by itself), [`http`] (the server, internal endpoints, public routes), [`authenticator`] (a credential
//! becomes a principal), [`audit`] (what a service tells the audit trail), [`telemetry`] (logs, metrics and traces).
//!
//! Invariant: only this crate reads the environment and sets up logging.

pub mod audit;
pub mod authenticator;
pub mod clock;
pub mod http;
pub mod process;
pub mod service;
pub mod settings;
pub mod telemetry;

pub use audit::Recorder;
pub use authenticator::{Authenticator, Proof};
pub use clock::SystemClock;
pub use process::Process;
pub use settings::Secret;

/// Why a process cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A setting is unknown, missing or of the wrong kind.
    #[error("settings: {0}")]
    Settings(String),
    /// A file or folder cannot be used.
    #[error("failed to use `{path}`")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process works in the same data folder.
    #[error(
        "data folder `{0}` is in use by another engine: stop that one, or give this one its own with `ENGINE__DATA_DIR`"
    )]
    InUse(String),
    /// The address cannot be listened on.
    #[error("failed to listen on `{address}`: choose a free address in the setting `{setting}`")]
    Listen {
        /// Which.
        address: String,
        /// The setting that names it.
        setting: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The certificate of the server cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
    /// Telemetry cannot be set up.
    #[error("failed to set up telemetry: {0}")]
    Telemetry(String),
}
