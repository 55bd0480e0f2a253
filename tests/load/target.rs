//! What is measured, and how it is started.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use testkit::server::{Server, target};
use testkit::topology::free_address;
use testkit::{Engine, PrivateServer, Setup, Topology, models, until};

const FASTAPI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/load/fastapi");
const SHARES: [(u32, f64); 2] = [(1, 90.0), (2, 10.0)];

/// One of the servers that are compared.
pub(crate) enum Target {
    Bare,
    FastApi { name: &'static str, remembers_tokens: bool },
    Engine { name: &'static str, setup: Box<Setup> },
}

/// A started one, which is killed when dropped.
pub(crate) struct Running {
    pub(crate) url: String,
    pub(crate) token: Option<String>,
    engine: Option<Engine>,
    server: Option<Server>,
    _stores: Vec<PrivateServer>,
    _folder: Option<TempDir>,
}

impl Target {
    pub(crate) fn all() -> Vec<Self> {
        let apart = |name, gateways, routers, replicas| {
            let mut setup = Box::new(Setup::new(Topology::Distributed));
            (setup.gateways, setup.routers, setup.replicas) = (gateways, routers, replicas);
            setup.nginx = true;
            // As it comes; tests poll more often.
            setup.set("ENGINE__ROUTER__POLL_INTERVAL_S", "5");
            Self::Engine { name, setup }
        };
        vec![
            Self::Bare,
            Self::FastApi { name: crate::YARDSTICK, remembers_tokens: false },
            Self::FastApi { name: "the same, remembers tokens", remembers_tokens: true },
            apart("nginx, 1 gateway, 1 router, 1 inference", 1, 1, 1),
            apart("nginx, 2 gateways, 2 routers, 3 inference", 2, 2, 3),
            Self::Engine { name: "all in one", setup: Box::new(Setup::new(Topology::Embedded)) },
        ]
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Bare => "bare actix handler",
            Self::FastApi { name, .. } | Self::Engine { name, .. } => name,
        }
    }

    /// Starts it and waits until it answers.
    pub(crate) async fn start(&self) -> Running {
        match self {
            Self::Bare => bare().await,
            Self::FastApi { remembers_tokens, .. } => fastapi(*remembers_tokens).await,
            Self::Engine { setup, .. } => engine((**setup).clone()).await,
        }
    }
}

impl Running {
    /// Ends it in good order.
    pub(crate) async fn stop(mut self) {
        if let Some(engine) = &mut self.engine {
            engine.stop().await;
        }
        if let Some(server) = &mut self.server {
            server.signal("TERM");
            server.wait(Duration::from_secs(60)).await;
        }
    }
}

async fn bare() -> Running {
    let folder = folder();
    let address = free_address();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("BARE_SERVER", &address);
    let url = format!("http://{address}");
    let server = Server::spawn("bare", command, "KILL", folder.path(), url);
    started(server, None, Vec::new(), folder).await
}

async fn fastapi(remembers_tokens: bool) -> Running {
    let folder = folder();
    let python = target("venv-load/bin/python");
    let key = folder.path().join("public.pem");
    let token = sign_in(&python, &key);
    let (mongo, redis) = tokio::join!(PrivateServer::mongo(), PrivateServer::redis());
    let address = free_address();
    let (host, port) = address.rsplit_once(':').unwrap();
    let cores = std::thread::available_parallelism().unwrap();
    let mut command = Command::new(&python);
    command.args(["-m", "uvicorn", "service:app", "--app-dir", FASTAPI, "--no-access-log"]);
    command.args(["--loop", "uvloop", "--http", "httptools", "--log-level", "warning"]);
    command.args(["--workers", &cores.to_string(), "--host", host, "--port", port]);
    command.env("PUBLIC_KEY", &key).env("MONGO", mongo.url()).env("REDIS", redis.url());
    command.env("REMEMBER_TOKENS", if remembers_tokens { "yes" } else { "" });
    command.env("OMP_NUM_THREADS", "1").env("PYTHONDONTWRITEBYTECODE", "1");
    let url = format!("http://{address}");
    let server = Server::spawn("fastapi", command, "TERM", folder.path(), url);
    started(server, Some(token), vec![mongo, redis], folder).await
}

fn sign_in(python: &Path, key: &PathBuf) -> String {
    let output = Command::new(python).arg(format!("{FASTAPI}/sign_in.py")).arg(key).output();
    let output = output.expect("`make target/venv-load/ready` installs the packages");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn started(
    server: Server,
    token: Option<String>,
    stores: Vec<PrivateServer>,
    folder: TempDir,
) -> Running {
    let health = format!("{}/health", server.url);
    let answers = || async {
        let answer = reqwest::get(&health).await;
        answer.is_ok_and(|answer| answer.status().is_success()).then_some(())
    };
    until(&health, Duration::from_secs(60), answers).await;
    let url = format!("{}/predict", server.url);
    let folder = Some(folder);
    Running { url, token, engine: None, server: Some(server), _stores: stores, _folder: folder }
}

/// With sign-in, roles, a route with two versions, the log, metrics and access log, as it comes.
async fn engine(setup: Setup) -> Running {
    let engine = Engine::start(setup).await;
    let client = engine.admin().await;
    let model = models::committed("iris-logreg").upload();
    client.create_model_with("iris", &model).await;
    client.upload_version("iris", &model).await.expect_status(201);
    client.put_route("iris", &SHARES).await.expect_status(200);
    let body = serde_json::json!({"features": [5.1, 3.5, 1.4, 0.2]});
    let everywhere = || async {
        for _ in 0..20 {
            let answer = client.predict("iris", &body).await;
            if answer.status != 200 {
                return None;
            }
        }
        Some(())
    };
    until("every router knows the model", Duration::from_secs(30), everywhere).await;
    let url = format!("{}/api/v1/models/iris/predict", engine.base_url);
    let token = Some(client.token().to_owned());
    Running { url, token, engine: Some(engine), server: None, _stores: Vec::new(), _folder: None }
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("engine-load-").tempdir().unwrap()
}
