//! The gateway by itself.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use clients::{Drift, Feedback, Router, ServiceTokens, Transport};
use gateway::{DEFAULTS, Deps, app, background};
use runtime::process::exit_code;
use runtime::service::{Arguments, run};
use runtime::settings::{DISTRIBUTED, HTTP, Http, PROCESS, STORAGE, Services, Storage};
use runtime::telemetry::{self, Telemetry};
use runtime::{Authenticator, Process, Recorder, SystemClock};

#[tokio::main]
async fn main() -> ExitCode {
    exit_code(start().await)
}

async fn start() -> anyhow::Result<()> {
    let defaults = [PROCESS, HTTP, DISTRIBUTED, STORAGE, DEFAULTS];
    let sections = ["data_dir", "telemetry", "http", "server", "services", "storage", "gateway"];
    let read = Arguments::parse().read(&defaults, |layers| {
        layers.only(&sections)?;
        let telemetry: Telemetry = layers.section("telemetry")?;
        let http: Http = layers.section("http")?;
        let services: Services = layers.section("services")?;
        let storage: Storage = layers.section("storage")?;
        Ok((telemetry, http, services, storage, layers.section("gateway")?))
    })?;
    let Some((logs, limits, services, storage, own)) = read else { return Ok(()) };
    let own: gateway::Settings = own;
    let _telemetry = telemetry::init("gateway", &logs)?;
    let auth = clients::auth(&services.auth)?;
    let secret = services.secret.reveal();
    let tokens = Arc::new(ServiceTokens::new(Arc::clone(&auth), "gateway", secret));
    let clock = Arc::new(SystemClock);
    let authenticator = Authenticator::new(Arc::clone(&auth), clock.clone(), &limits);
    let recorder = clients::auth_as(&services.auth, Arc::clone(&tokens))?;
    let recorder = Arc::new(Recorder::new("gateway", recorder, clock));
    let deps = Deps {
        router: Arc::new(Router(Transport::new("router", &services.router, Some(tokens))?)),
        feedback: Arc::new(Feedback(Transport::new("feedback", &services.feedback, None)?)),
        drift: Arc::new(Drift(Transport::new("drift", &services.drift, None)?)),
        cache: storage::cache(&storage.cache).await?,
        authenticator: Arc::new(authenticator),
        recorder,
        auth,
    };
    let process = Process::default();
    background(&deps, &process);
    let app = app(&own, &limits, logs.access_log, deps);
    Ok(run("gateway", &own.listen, "gateway.listen", &limits, &process, app).await?)
}
