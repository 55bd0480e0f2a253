//! The auth service by itself.

use std::process::ExitCode;
use std::sync::Arc;

use auth::{DEFAULTS, Deps, Settings, background, build, http};
use clap::Parser;
use contracts::AuthApi;
use runtime::process::exit_code;
use runtime::service::{Arguments, run_service};
use runtime::{Authenticator, Process, SystemClock, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    exit_code(start().await)
}

async fn start() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let Some(mut settings) = arguments.service::<Settings>("auth", DEFAULTS)? else {
        return Ok(());
    };
    let _telemetry = telemetry::init("auth", &settings.telemetry)?;
    settings.own.resolve(&settings.data_dir);
    let relational = storage::relational(&settings.storage.relational).await?;
    let process = Process::default();
    process.spawn(Arc::new(storage::Vitals::default().relational(&relational)).watch());
    let deps = Deps {
        accounts: relational.accounts,
        credentials: relational.credentials,
        audit: relational.audit,
        provider: clients::provider(),
        clock: Arc::new(SystemClock),
    };
    let service = build(settings.own.clone(), deps).await?;
    service.first_start().await?.announce();
    background(&service, &process);
    let api: Arc<dyn AuthApi> = service;
    let authenticator = Authenticator::new(Arc::clone(&api), Arc::new(SystemClock), &settings.http);
    Ok(run_service("auth", &settings, &process, authenticator, api, http).await?)
}
