//! The router service by itself.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use router::{DEFAULTS, Deps, Settings, api, background, build, http};
use runtime::process::exit_code;
use runtime::service::{Arguments, run_service};
use runtime::{Authenticator, Process, SystemClock, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    exit_code(start().await)
}

async fn start() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let Some(mut settings) = arguments.service::<Settings>("router", DEFAULTS)? else {
        return Ok(());
    };
    let _telemetry = telemetry::init("router", &settings.telemetry)?;
    settings.own.resolve(&settings.data_dir);
    let auth = clients::auth(&settings.services.auth)?;
    let secret = settings.services.secret.reveal();
    let tokens = Arc::new(clients::ServiceTokens::new(Arc::clone(&auth), "router", secret));
    let deps = Deps {
        relational: storage::relational(&settings.storage.relational).await?,
        documents: storage::documents(&settings.storage.documents).await?,
        artifacts: storage::artifacts(&settings.storage.artifacts).await?,
        replicas: clients::inference(&settings.services.inference, &tokens)?,
        clock: Arc::new(SystemClock),
    };
    let service = build(settings.own.clone(), deps).await?;
    let process = Process::default();
    background(&service, &process);
    let api = api(&service);
    let authenticator = Authenticator::new(auth, Arc::new(SystemClock));
    Ok(run_service("router", &settings, &process, authenticator, api, http).await?)
}
