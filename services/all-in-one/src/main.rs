//! The command line of the engine.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use all_in_one::commands::{
    self, AuditCommand, ExperimentCommand, KeyCommand, Place, RollbackCommand, RolloutCommand,
    RouteCommand, Running, UserCommand,
};
use all_in_one::engine::{artifact_keys, greeting};
use all_in_one::settings::DEFAULTS;
use all_in_one::{Engine, Settings, demo};
use anyhow::Context;
use clap::{Parser, Subcommand};
use models::Package;
use runtime::http::Server;
use runtime::process::{Signals, exit_code};
use runtime::service::{Arguments, SettingsFile};
use runtime::telemetry;

/// Serves AI models and decides which version answers.
#[derive(Parser)]
#[command(name = "decision-engine", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the engine: all six services on one port.
    Serve {
        #[command(flatten)]
        arguments: Arguments,
        /// Also register the sample models, and print curl lines to try them.
        #[arg(long)]
        demo: bool,
    },
    /// Run the engine with the sample models: the same as `serve --demo`.
    Demo {
        #[command(flatten)]
        arguments: Arguments,
    },
    /// Bring the stores' tables and indexes up to date, and end. Every service does so at its start,
    /// too; any number may at once.
    Migrate {
        #[command(flatten)]
        file: SettingsFile,
    },
    /// Work on the files of models.
    #[command(subcommand)]
    Artifacts(ArtifactsCommand),
    /// Look at a model without an engine.
    #[command(subcommand)]
    Model(ModelCommand),
    /// Make and change users: of a running engine, or without `--url` in the stores of the settings.
    User {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Make, replace and revoke API keys: of a running engine, or without `--url` in the stores of
    /// the settings.
    Key {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Begin rollouts, follow them, and hold, promote or end them by hand.
    Rollout {
        #[command(flatten)]
        running: Running,
        #[command(subcommand)]
        command: RolloutCommand,
    },
    /// Read and verify the audit trail: of a running engine, or without `--url` in the stores of the
    /// settings.
    Audit {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Plan, run and read experiments of a running engine.
    Experiment {
        #[command(flatten)]
        running: Running,
        #[command(subcommand)]
        command: ExperimentCommand,
    },
    /// Look at which version answers, and change it, in a running engine.
    Route {
        #[command(flatten)]
        running: Running,
        #[command(subcommand)]
        command: RouteCommand,
    },
    /// Give all requests to the last stable version, or to another, in a running engine: at once.
    Rollback {
        #[command(flatten)]
        running: Running,
        #[command(flatten)]
        command: RollbackCommand,
    },
}

#[derive(Subcommand)]
enum ArtifactsCommand {
    /// Write every file anew that is not encrypted as the settings have it now: after a change of
    /// `storage.artifacts_encryption_key`. The engine may run meanwhile, if it knows both keys.
    Reencrypt {
        #[command(flatten)]
        file: SettingsFile,
    },
}

#[derive(Subcommand)]
enum ModelCommand {
    /// Print the manifest of a model file: what the graph says, and what had to be assumed.
    Inspect {
        /// `model.onnx` or `model.linfa.json`; files beside it are not looked at unless named too.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    exit_code(start().await.map_err(commands::in_full))
}

async fn start() -> anyhow::Result<()> {
    match CommandLine::parse().command {
        Command::Serve { arguments, demo } => serve(&arguments, demo).await,
        Command::Demo { arguments } => serve(&arguments, true).await,
        Command::Migrate { file } => migrate(&file).await,
        Command::Artifacts(ArtifactsCommand::Reencrypt { file }) => reencrypt(&file).await,
        Command::Model(ModelCommand::Inspect { files }) => inspect(&files),
        Command::User { place, command } => commands::user(&place, command).await,
        Command::Key { place, command } => commands::key(&place, command).await,
        Command::Rollout { running, command } => commands::rollout(&running, command).await,
        Command::Audit { place, command } => commands::audit(&place, command).await,
        Command::Experiment { running, command } => commands::experiment(&running, command).await,
        Command::Route { running, command } => commands::route(&running, command).await,
        Command::Rollback { running, command } => commands::rollback(&running, command).await,
    }
}

#[expect(clippy::print_stdout, reason = "meant for the person at the terminal")]
async fn serve(arguments: &Arguments, with_demo: bool) -> anyhow::Result<()> {
    let Some(settings) = arguments.read(&DEFAULTS, Settings::read)? else { return Ok(()) };
    let _telemetry = telemetry::init("decision-engine", &settings.telemetry)?;
    let signals = Signals::listen()?;
    let engine = Engine::start(&settings, clients::provider()).await?;
    let listen = &settings.gateway.listen;
    let server = Server::start(listen, "gateway.listen", &settings.http, engine.app)?;
    let url = server.url();
    println!("{}", greeting(&settings, &engine.first_start, &url));
    let hints = if with_demo {
        demo::register(&*engine.router, |step| println!("  {step}")).await?;
        demo::hints(&url, &settings, &engine.first_start)
    } else {
        demo::next_step(&url)
    };
    println!("{hints}");
    signals.wait().await;
    tracing::info!("stopping");
    server.stop().await;
    if !engine.process.stop(Duration::from_secs(settings.http.shutdown_timeout_s)).await {
        tracing::warn!("background work did not end in time");
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what the command line asked for")]
async fn migrate(file: &SettingsFile) -> anyhow::Result<()> {
    let settings = file.read(&DEFAULTS, Settings::read)?;
    let _telemetry = telemetry::init("decision-engine", &settings.telemetry)?;
    storage::relational(&settings.storage.relational).await?;
    storage::documents(&settings.storage.documents).await?;
    println!("the relational store and the prediction log are up to date");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what the command line asked for")]
async fn reencrypt(file: &SettingsFile) -> anyhow::Result<()> {
    let settings = file.read(&DEFAULTS, Settings::read)?;
    let storage = &settings.storage;
    let done = storage::reencrypt(&storage.artifacts, artifact_keys(storage)).await?;
    println!("{} files written anew, {} were as they should be", done.written, done.kept);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what the command line asked for")]
fn inspect(files: &[PathBuf]) -> anyhow::Result<()> {
    let mut named = std::collections::BTreeMap::new();
    for path in files {
        let name =
            path.file_name().and_then(|name| name.to_str()).context("a file needs a name")?;
        let bytes = std::fs::read(path).with_context(|| format!("`{}`", path.display()))?;
        // Alone, a graph may have any name.
        let name = if files.len() == 1 && name.ends_with(".onnx") { "model.onnx" } else { name };
        named.insert(name.to_owned(), bytes.into());
    }
    let first = files.first().and_then(|path| path.canonicalize().ok());
    let folder =
        first.as_ref().and_then(|path| path.parent()).and_then(|folder| folder.file_name());
    let name = folder.and_then(|name| name.to_str()).unwrap_or("model");
    let package = Package::assemble(name, None, named)?;
    println!("{}", serde_json::to_string_pretty(&package.manifest)?);
    Ok(())
}
