//! A service that runs by itself: its command line, its settings, its life from listening to the
//! last answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser};
use serde::de::DeserializeOwned;

use crate::http::{App, InternalRoutes, Server};
use crate::process::Signals;
use crate::settings::{self, DISTRIBUTED, HTTP, Http, Layers, PROCESS, STORAGE, Services, Storage};
use crate::telemetry::Telemetry;
use crate::{Authenticator, Process, RuntimeError};

/// The command line of a service.
#[derive(Debug, Parser)]
#[command(version, about = "A service of the AI Decision Engine.")]
pub struct Arguments {
    #[command(flatten)]
    file: SettingsFile,
    /// Check the settings and exit.
    #[arg(long)]
    check: bool,
    /// Print the commented defaults and exit.
    #[arg(long)]
    print_defaults: bool,
}

/// Where the settings are, for a command that serves nothing.
#[derive(Debug, Args)]
pub struct SettingsFile {
    /// The TOML file with settings; without it, `engine.toml` is read if it is there.
    #[arg(long)]
    config: Option<PathBuf>,
}

/// The settings of a service that runs by itself; `own` is its own section.
#[derive(Debug)]
#[expect(missing_docs, reason = "the default files say it")]
pub struct Settings<T> {
    pub data_dir: PathBuf,
    pub telemetry: Telemetry,
    pub http: Http,
    pub server: settings::Server,
    pub services: Services,
    pub storage: Storage,
    pub own: T,
}

impl Arguments {
    /// The settings of the service with this section, or `None` where there is no more to do.
    ///
    /// # Errors
    /// If they are not right.
    pub fn service<T: DeserializeOwned>(
        &self,
        section: &str,
        defaults: &str,
    ) -> Result<Option<Settings<T>>, RuntimeError> {
        let defaults = [PROCESS, HTTP, DISTRIBUTED, STORAGE, defaults];
        self.read(&defaults, |layers| {
            let known = ["data_dir", "telemetry", "http", "server", "services", "storage", section];
            layers.only(&known)?;
            let data_dir: PathBuf = layers.section("data_dir")?;
            let mut storage: Storage = layers.section("storage")?;
            storage.resolve(&data_dir);
            Ok(Settings {
                data_dir,
                telemetry: layers.section("telemetry")?,
                http: layers.section("http")?,
                server: layers.section("server")?,
                services: layers.section("services")?,
                storage,
                own: layers.section(section)?,
            })
        })
    }

    /// What `build` makes of the settings, or `None` where there is no more to do.
    ///
    /// # Errors
    /// If they are not right.
    #[expect(clippy::print_stdout, reason = "what the command line asked for")]
    pub fn read<T>(
        &self,
        defaults: &[&str],
        build: impl FnOnce(&Layers) -> Result<T, RuntimeError>,
    ) -> Result<Option<T>, RuntimeError> {
        if self.print_defaults {
            println!("{}", defaults.join("\n"));
            return Ok(None);
        }
        let settings = self.file.read(defaults, build)?;
        if self.check {
            println!("settings are right");
            return Ok(None);
        }
        Ok(Some(settings))
    }
}

impl SettingsFile {
    /// What `build` makes of the settings.
    ///
    /// # Errors
    /// If they are not right.
    pub fn read<T>(
        &self,
        defaults: &[&str],
        build: impl FnOnce(&Layers) -> Result<T, RuntimeError>,
    ) -> Result<T, RuntimeError> {
        build(&settings::layers(defaults, self.config.as_deref(), settings::environment())?)
    }
}

/// Serves a service's endpoints, bound by its `http`, until a signal comes.
///
/// # Errors
/// If the address cannot be listened on.
pub async fn run_service<T, A: Send + Sync + 'static>(
    name: &'static str,
    settings: &Settings<T>,
    process: &Process,
    authenticator: Authenticator,
    api: A,
    http: fn(&mut InternalRoutes<'_>, &A),
) -> Result<(), RuntimeError> {
    if !settings.http.tls_certificate.as_os_str().is_empty() {
        return Err(RuntimeError::Settings(
            "`http.tls_certificate` is for the gateway: services speak plain HTTP to each other"
                .to_owned(),
        ));
    }
    let authenticator = Arc::new(authenticator);
    process.spawn(Arc::clone(&authenticator).watch());
    let timeout = Duration::from_millis(settings.http.request_timeout_ms);
    // Model files pass between services in one body.
    let mut limits = settings.http.clone();
    limits.max_body_bytes = limits.max_body_bytes.max(limits.max_upload_bytes) + FRAME_BYTES;
    let app = App::internal(settings.telemetry.access_log, move |config| {
        http(&mut InternalRoutes::new(config, &authenticator, timeout), &api);
    });
    run(name, &settings.server.listen, "server.listen", &limits, process, app).await
}

/// What the JSON before a payload may take.
const FRAME_BYTES: usize = 1 << 20;

/// Serves until a signal comes, then lets requests and background tasks end.
///
/// # Errors
/// If the address cannot be listened on.
pub async fn run(
    name: &'static str,
    listen: &str,
    setting: &'static str,
    limits: &Http,
    process: &Process,
    app: App,
) -> Result<(), RuntimeError> {
    let signals = Signals::listen()?;
    let server = Server::start(listen, setting, limits, app)?;
    tracing::info!(
        service = name,
        version = env!("CARGO_PKG_VERSION"),
        address = %server.address,
        "listening"
    );
    signals.wait().await;
    tracing::info!(service = name, "stopping");
    server.stop().await;
    if !process.stop(Duration::from_secs(limits.shutdown_timeout_s)).await {
        tracing::warn!(service = name, "background work did not end in time");
    }
    Ok(())
}
