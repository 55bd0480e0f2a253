//! An inference replica by itself.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use contracts::InferenceApi;
use inference::{DEFAULTS, Deps, Settings, background, build, http};
use runtime::process::exit_code;
use runtime::service::{Arguments, run_service};
use runtime::{Authenticator, Process, SystemClock, settings, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    exit_code(start().await)
}

async fn start() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let Some(settings) = arguments.service::<Settings>("inference", DEFAULTS)? else {
        return Ok(());
    };
    let _telemetry = telemetry::init("inference", &settings.telemetry)?;
    let keys = storage::Keys {
        access: settings.storage.artifacts_access_key.reveal(),
        secret: settings.storage.artifacts_secret_key.reveal(),
        encryption: settings.storage.artifacts_encryption_key.reveal(),
        old_encryption: settings.storage.artifacts_old_encryption_keys.reveal(),
    };
    let deps = Deps {
        artifacts: storage::artifacts(&settings.storage.artifacts, keys).await?,
        onnxruntime: settings::onnxruntime(&settings.data_dir),
    };
    let process = Process::default();
    process.spawn(Arc::new(storage::Vitals::default().artifacts(&deps.artifacts)).watch());
    let service = build(settings.own.clone(), deps)?;
    background(&service, &process);
    let api: Arc<dyn InferenceApi> = service;
    let auth = clients::auth(&settings.services.auth)?;
    let authenticator = Authenticator::new(auth, Arc::new(SystemClock), &settings.http);
    Ok(run_service("inference", &settings, &process, authenticator, api, http).await?)
}
