//! A running engine: its processes, its users, its life.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use domain::Role;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::client::Client;
use crate::secrets;
use crate::server::Server;
use crate::topology::{Setup, Stores, Topology};
use crate::wait::until;

/// The password of every user, the admin's too.
pub const PASSWORD: &str = "correct-horse-battery-staple";

/// Generous: the machine may be busy with other things.
const START_LIMIT: Duration = Duration::from_secs(120);

/// An engine. Its processes are killed and its files removed when it is dropped.
#[derive(Debug)]
pub struct Engine {
    /// The public API.
    pub base_url: String,
    /// What it was started with.
    pub setup: Setup,
    // Before the folder, so that nothing writes to what is being removed.
    servers: Vec<Server>,
    folder: TempDir,
    http: reqwest::Client,
    tokens: Mutex<HashMap<Role, String>>,
}

impl Engine {
    /// Starts one and waits until it is ready.
    pub async fn start(mut setup: Setup) -> Self {
        if setup.topology == Topology::Distributed && setup.stores.is_none() {
            setup.stores = Some(Stores::fresh().await);
        }
        let folder = tempfile::Builder::new().prefix("engine-e2e-").tempdir().unwrap();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        let mut engine = Self {
            base_url: String::new(),
            setup,
            servers: Vec::new(),
            folder,
            http,
            tokens: Mutex::default(),
        };
        secrets::remember(PASSWORD);
        engine.launch().await;
        let service_secret = engine.folder().join("auth/keys/service.secret");
        secrets::remember(&std::fs::read_to_string(service_secret).unwrap_or_default());
        engine
    }

    /// Starts its processes on new ports, and waits until they are ready.
    pub async fn launch(&mut self) {
        self.launch_not_ready().await;
        self.until_ready().await;
    }

    /// Starts its processes on new ports, and waits until they answer at all: an engine whose model
    /// files are damaged lives, but is not ready.
    pub async fn launch_not_ready(&mut self) {
        // Another process may take a port between looking for it and listening on it.
        for _ in 0..3 {
            self.servers.clear();
            self.servers = self.setup.launch(self.folder.path());
            self.base_url = self.servers.last().unwrap().url.clone();
            if self.all_live().await {
                return;
            }
        }
        panic!("the engine found no free port three times");
    }

    /// Whether all processes came up; false if a port was taken.
    async fn all_live(&mut self) -> bool {
        for server in &mut self.servers {
            let url = format!("{}/livez", server.url);
            let deadline = Instant::now() + START_LIMIT;
            loop {
                if let Some(status) = server.ended() {
                    if server.log().contains("ddress already in use") {
                        return false;
                    }
                    panic!("`{}` ended at its start with {status}", server.name);
                }
                let asked = self.http.get(&url).timeout(Duration::from_secs(5)).send().await;
                if asked.is_ok_and(|answer| answer.status().is_success()) {
                    break;
                }
                assert!(Instant::now() < deadline, "`{url}` is not up within {START_LIMIT:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        true
    }

    /// Kills every process at once, as `kill -9` does.
    pub fn kill9(&mut self) {
        for server in &mut self.servers {
            server.signal_all("KILL");
        }
        for server in &mut self.servers {
            server.kill();
        }
    }

    /// Asks every process to stop (SIGTERM), the door first, and checks that each ended well.
    pub async fn stop(&mut self) {
        for server in self.servers.iter_mut().rev() {
            server.signal("TERM");
            let status = server.wait(Duration::from_secs(60)).await;
            assert!(status.success(), "`{}` ended with {status}", server.name);
        }
    }

    /// Asks every process but this one, which ended already, to stop.
    pub async fn stop_others(&mut self, ended: &str) {
        self.servers.retain(|server| server.name != ended);
        self.stop().await;
    }

    /// One of its processes a second time, on the same folder and another port.
    pub fn second(&self, name: &str) -> Server {
        self.setup.launch_second(self.folder.path(), name, &self.servers)
    }

    /// Stops and starts again, on the same state.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.launch().await;
    }

    /// A caller who has not signed in.
    pub fn anonymous(&self) -> Client {
        Client::new(self.http.clone(), self.base_url.clone(), None)
    }

    /// A caller with this token.
    pub fn with_token(&self, token: &str) -> Client {
        Client::new(self.http.clone(), self.base_url.clone(), Some(token.to_owned()))
    }

    /// A caller who signed in as a user of this role. The user is made when first asked for.
    pub async fn sign_in_as(&self, role: Role) -> Client {
        let mut tokens = self.tokens.lock().await;
        for wanted in [Role::Admin, role] {
            if tokens.contains_key(&wanted) {
                continue;
            }
            let name = wanted.as_str();
            if let Some(token) = tokens.get(&Role::Admin) {
                let user = json!({"username": name, "password": PASSWORD, "role": name});
                let made = self.with_token(token).post("/api/v1/users", &user).await;
                made.expect_status(201);
            }
            let token = self.token(name).await;
            tokens.insert(wanted, token);
        }
        self.with_token(&tokens[&role])
    }

    /// A caller of this role in a session of its own, which a test may end.
    pub async fn sign_in_again(&self, role: Role) -> Client {
        self.sign_in_as(role).await;
        self.with_token(&self.token(role.as_str()).await)
    }

    /// A caller who signed in as a user that is made now.
    pub async fn sign_in_as_new(&self, username: &str, role: Role) -> Client {
        let user = json!({"username": username, "password": PASSWORD, "role": role.as_str()});
        self.admin().await.post("/api/v1/users", &user).await.expect_status(201);
        self.with_token(&self.token(username).await)
    }

    async fn token(&self, username: &str) -> String {
        let body = json!({"username": username, "password": PASSWORD});
        let answer = self.anonymous().post("/api/v1/auth/token", &body).await;
        answer.expect_status(200).json()["access_token"].as_str().unwrap().to_owned()
    }

    /// An admin.
    pub async fn admin(&self) -> Client {
        self.sign_in_as(Role::Admin).await
    }

    /// Waits until the engine says that it is ready.
    pub async fn until_ready(&self) {
        let client = self.anonymous();
        let ready = || async { (client.get("/readyz").await.status == 200).then_some(()) };
        until("ready", START_LIMIT, ready).await;
    }

    /// Its folder, which holds all state and logs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where model files are kept.
    pub fn artifacts(&self) -> PathBuf {
        match self.setup.topology {
            crate::Topology::Embedded => self.folder().join("data/artifacts"),
            crate::Topology::Distributed => self.folder().join("shared/artifacts"),
        }
    }

    /// One of its processes. In one process, that one whatever the name.
    pub fn server(&self, name: &str) -> &Server {
        let named = self.servers.iter().find(|server| server.name == name);
        named.unwrap_or_else(|| self.servers.first().unwrap())
    }

    /// The same, to wait for its end.
    pub fn server_mut(&mut self, name: &str) -> &mut Server {
        let index = self.servers.iter().position(|server| server.name == name).unwrap_or(0);
        &mut self.servers[index]
    }

    /// All its processes.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// All that all of its processes said.
    pub fn logs(&self) -> String {
        self.servers.iter().map(Server::log).collect()
    }

    /// Shows the ends of all logs.
    pub fn show_logs(&self) {
        self.servers.iter().for_each(Server::show);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
    }
}
