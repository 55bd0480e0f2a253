//! The router service by itself.

use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use clap::Parser;
use router::{DEFAULTS, Deps, OUTBOUND, Replica, Replicas, Settings, api, background, build, http};
use runtime::process::exit_code;
use runtime::service::{Arguments, run_service};
use runtime::{Authenticator, Process, Recorder, SystemClock, telemetry};

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
    let recorder = clients::auth_as(&settings.services.auth, Arc::clone(&tokens))?;
    let keys = storage::Keys {
        access: settings.storage.artifacts_access_key.reveal(),
        secret: settings.storage.artifacts_secret_key.reveal(),
        encryption: settings.storage.artifacts_encryption_key.reveal(),
        old_encryption: settings.storage.artifacts_old_encryption_keys.reveal(),
    };
    let (relational, opening_relational) =
        storage::deferred::relational(&settings.storage.relational).await?;
    let (documents, opening_documents) =
        storage::deferred::documents(&settings.storage.documents).await?;
    let replicas = clients::inference(&settings.services.inference, &tokens)?;
    let routers = clients::routers(&settings.services.router, &tokens)?;
    let deps = Deps {
        relational,
        documents,
        cache: storage::cache(&settings.storage.cache).await?,
        artifacts: storage::artifacts(&settings.storage.artifacts, keys).await?,
        replicas: Arc::new(Found(replicas)),
        routers: Arc::new(Found(routers)),
        clock: Arc::new(SystemClock),
        recorder: Arc::new(Recorder::new("router", recorder, Arc::new(SystemClock))),
        outbound: Arc::new(clients::Outbound::new(OUTBOUND, &settings.own.outbound.allow.0)?),
    };
    let service = build(settings.own.clone(), deps).await?;
    let process = Process::default();
    process.spawn(opening_relational);
    process.spawn(opening_documents);
    background(&service, &process);
    let api = api(&service);
    let authenticator = Authenticator::new(auth, Arc::new(SystemClock), &settings.http);
    Ok(run_service("router", &settings, &process, authenticator, api, http).await?)
}

/// The replicas that a setting of `[services]` stands for.
struct Found<A: ?Sized>(clients::Replicas<A>);

#[async_trait]
impl<A: ?Sized + Send + Sync> Replicas<A> for Found<A> {
    async fn current(&self) -> Vec<Replica<A>> {
        let found = self.0.current().await.into_iter();
        found.map(|(address, api)| Replica { address, api }).collect()
    }
}
