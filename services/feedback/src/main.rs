//! The feedback service by itself.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use contracts::FeedbackApi;
use feedback::{DEFAULTS, Deps, Settings, build, http};
use runtime::process::exit_code;
use runtime::service::{Arguments, run_service};
use runtime::{Authenticator, Process, SystemClock, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    exit_code(start().await)
}

async fn start() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let Some(settings) = arguments.service::<Settings>("feedback", DEFAULTS)? else {
        return Ok(());
    };
    let _telemetry = telemetry::init("feedback", &settings.telemetry)?;
    let documents = storage::documents(&settings.storage.documents).await?;
    let process = Process::default();
    process.spawn(Arc::new(storage::Vitals::default().documents(&documents)).watch());
    let deps = Deps {
        feedback: documents.feedback,
        predictions: documents.predictions,
        clock: Arc::new(SystemClock),
    };
    let api: Arc<dyn FeedbackApi> = build(settings.own.clone(), deps);
    let auth = clients::auth(&settings.services.auth)?;
    let authenticator = Authenticator::new(auth, Arc::new(SystemClock), &settings.http);
    Ok(run_service("feedback", &settings, &process, authenticator, api, http).await?)
}
