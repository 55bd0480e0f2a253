//! One process or many, and which of them get which settings.

use std::future::Future;
use std::net::TcpListener;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::engine::{Engine, PASSWORD};
use crate::server::{Server, onnxruntime};
use crate::stores::{shared_mongo, shared_postgres, shared_redis};

/// The services that run apart, in the order they start: auth makes the secret that others show.
const SERVICES: [&str; 5] = ["auth", "inference", "feedback", "drift", "router"];

/// The default policy, for many more sign-ins.
const SIGN_IN: &str = r#"[{"name": "sign-in", "per": ["address"], "quota": 100000, "window_s": 60,
    "routes": ["POST /api/v1/auth/token"]}]"#;

/// How an engine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// All six services in one process.
    Embedded,
    /// Each service in a process of its own; they share PostgreSQL, MongoDB and Redis.
    Distributed,
}

/// Where the services of an engine keep their state, as URLs.
#[derive(Debug, Clone)]
pub struct Stores {
    /// PostgreSQL.
    pub relational: String,
    /// MongoDB.
    pub documents: String,
    /// Redis.
    pub cache: String,
}

impl Stores {
    /// Empty databases on the servers that this test binary shares.
    pub async fn fresh() -> Self {
        let (relational, documents) = (shared_postgres().await, shared_mongo().await);
        Self { relational, documents, cache: shared_redis().await }
    }
}

/// What an engine is started with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How it runs.
    pub topology: Topology,
    /// Inference processes, where these run apart.
    pub replicas: usize,
    /// Routers, where these run apart.
    pub routers: usize,
    /// Gateways, where these run apart. Several stand behind nginx.
    pub gateways: usize,
    /// Whether one gateway stands behind nginx, too.
    pub nginx: bool,
    /// Whether the sample models are registered (embedded only).
    pub demo: bool,
    /// Where state lives, for services that run apart. Made at the start where it is not given.
    pub stores: Option<Stores>,
    /// Settings as the environment has them, such as `ENGINE__HTTP__WORKERS`. Each goes to the
    /// processes that know its section.
    pub settings: Vec<(String, String)>,
}

impl Setup {
    /// An empty engine with the default settings, but for passwords that hash faster. Where services
    /// run apart, nginx stands before two gateways; two routers share three inference replicas.
    pub fn new(topology: Topology) -> Self {
        let settings = [
            ("ENGINE__AUTH__HASH_MEMORY_KIB", "256"),
            ("ENGINE__AUTH__HASH_PASSES", "1"),
            ("ENGINE__ROUTER__POLL_INTERVAL_S", "1"),
            // All tests come from one address.
            ("ENGINE__GATEWAY__LIMITS__POLICIES", SIGN_IN),
        ];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        Self {
            topology,
            replicas: 3,
            routers: 2,
            gateways: 2,
            nginx: false,
            demo: false,
            stores: None,
            settings,
        }
    }

    /// Sets one more.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    /// Starts the processes of an engine whose state is in `folder`.
    pub(crate) fn launch(&self, folder: &Path) -> Vec<Server> {
        match self.topology {
            Topology::Embedded => vec![self.embedded(folder, "engine")],
            Topology::Distributed => self.distributed(folder),
        }
    }

    /// Starts one of an engine's processes a second time, on the same folder.
    pub(crate) fn launch_second(&self, folder: &Path, service: &str, first: &[Server]) -> Server {
        if self.topology == Topology::Embedded {
            return self.embedded(folder, "second");
        }
        let place = |server: &Server| {
            let service = SERVICES.into_iter().find(|service| server.name.starts_with(service));
            let address = server.url.trim_start_matches("http://").to_owned();
            (server.name.clone(), service.unwrap_or("gateway"), address)
        };
        let places: Vec<_> = first.iter().map(place).collect();
        let address = free_address();
        let environment = self.environment(service, service, &address, &places, folder);
        Server::start("second", service, &[], &environment, folder, format!("http://{address}"))
    }

    fn embedded(&self, folder: &Path, name: &str) -> Server {
        let address = free_address();
        let mut environment = self.settings.clone();
        let mut set = |key: &str, value: &str| environment.push((key.to_owned(), value.to_owned()));
        set("ENGINE__DATA_DIR", &folder.join("data").display().to_string());
        set("ENGINE__GATEWAY__LISTEN", &address);
        set("ENGINE__AUTH__ADMIN_PASSWORD", PASSWORD);
        set("ENGINE__INFERENCE__ONNXRUNTIME", &onnxruntime().display().to_string());
        let arguments: &[&str] = if self.demo { &["demo"] } else { &["serve"] };
        let url = format!("http://{address}");
        Server::start(name, "decision-engine", arguments, &environment, folder, url)
    }

    fn distributed(&self, folder: &Path) -> Vec<Server> {
        assert!(!self.demo, "the sample models ship with all-in-one only");
        let mut names: Vec<(String, &str)> = Vec::new();
        for service in SERVICES.into_iter().chain(["gateway"]) {
            let copies = match service {
                "inference" => self.replicas,
                "router" => self.routers,
                "gateway" => self.gateways,
                _ => 1,
            };
            for copy in 1..=copies {
                let suffix = if copy == 1 { String::new() } else { format!("-{copy}") };
                names.push((format!("{service}{suffix}"), service));
            }
        }
        let places: Vec<(String, &str, String)> =
            names.into_iter().map(|(name, service)| (name, service, free_address())).collect();
        let secret = folder.join("auth/keys/service.secret");
        let mut servers = Vec::new();
        for (name, service, address) in &places {
            if *service != "auth" {
                wait_for_file(&secret);
            }
            let environment = self.environment(name, service, address, &places, folder);
            let url = format!("http://{address}");
            servers.push(Server::start(name, service, &[], &environment, folder, url));
        }
        if self.gateways > 1 || self.nginx {
            let gateways = places.iter().filter(|(_, service, _)| *service == "gateway");
            let gateways: Vec<&str> = gateways.map(|(_, _, address)| address.as_str()).collect();
            servers.push(crate::nginx::start(folder, &gateways));
        }
        servers
    }

    fn environment(
        &self,
        name: &str,
        service: &str,
        address: &str,
        places: &[(String, &str, String)],
        folder: &Path,
    ) -> Vec<(String, String)> {
        let knows = |key: &str| {
            let section = key.trim_start_matches("ENGINE__").split("__").next().unwrap_or_default();
            let section = section.to_lowercase();
            if section == "storage" {
                return service != "gateway";
            }
            section == service || !(SERVICES.contains(&section.as_str()) || section == "gateway")
        };
        let mut environment: Vec<(String, String)> =
            self.settings.iter().filter(|(key, _)| knows(key)).cloned().collect();
        let mut set = |key: &str, value: String| environment.push((key.to_owned(), value));
        set("ENGINE__DATA_DIR", folder.join(name).display().to_string());
        let listen = if service == "gateway" { "GATEWAY" } else { "SERVER" };
        set(&format!("ENGINE__{listen}__LISTEN"), address.to_owned());
        for peer in SERVICES {
            let urls = places.iter().filter(|(_, of, _)| *of == peer);
            let urls: Vec<_> = urls.map(|(_, _, address)| format!("http://{address}")).collect();
            set(&format!("ENGINE__SERVICES__{}", peer.to_uppercase()), urls.join(","));
        }
        match service {
            "auth" => set("ENGINE__AUTH__ADMIN_PASSWORD", PASSWORD.to_owned()),
            _ => {
                let secret = folder.join("auth/keys/service.secret");
                set("ENGINE__SERVICES__SECRET_FILE", secret.display().to_string());
            }
        }
        if let (Some(stores), true) = (&self.stores, service != "gateway") {
            let artifacts = folder.join("shared/artifacts");
            std::fs::create_dir_all(&artifacts).unwrap();
            set("ENGINE__STORAGE__RELATIONAL", stores.relational.clone());
            set("ENGINE__STORAGE__DOCUMENTS", stores.documents.clone());
            set("ENGINE__STORAGE__CACHE", stores.cache.clone());
            set("ENGINE__STORAGE__ARTIFACTS", format!("file://{}", artifacts.display()));
        }
        if service == "gateway" {
            if let Some(stores) = &self.stores {
                set("ENGINE__STORAGE__CACHE", stores.cache.clone());
            }
            set("ENGINE__GATEWAY__TRUSTED_PROXIES", "127.0.0.1".to_owned());
        }
        if service == "inference" {
            set("ENGINE__INFERENCE__ONNXRUNTIME", onnxruntime().display().to_string());
        }
        environment
    }
}

/// The auth service makes it right after its start; who comes too late is told when it is missed.
fn wait_for_file(path: &Path) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !path.exists() && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// An address that was free a moment ago. No two calls of a test run get the same, and none is one
/// that the system gives to connections of its own: those are above 32,767.
pub fn free_address() -> String {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Test runs at the same time begin at different places.
    let begin = std::process::id().wrapping_mul(61);
    loop {
        let port = 10_000 + begin.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % 5_000;
        let address = format!("127.0.0.1:{port}");
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static EMBEDDED: OnceCell<Engine> = OnceCell::const_new();
static DISTRIBUTED: OnceCell<Engine> = OnceCell::const_new();

/// An engine that scenarios share which change nothing but their own models.
pub async fn shared(topology: Topology) -> &'static Engine {
    cell(topology).get_or_init(|| Engine::start(Setup::new(topology))).await
}

fn cell(topology: Topology) -> &'static OnceCell<Engine> {
    match topology {
        Topology::Embedded => &EMBEDDED,
        Topology::Distributed => &DISTRIBUTED,
    }
}

/// Runs a scenario, and shows the logs of the shared engine if it fails.
pub fn run(topology: Topology, scenario: impl Future<Output = ()>) {
    let _logs = ShowIfFailed(topology);
    RUNTIME.block_on(scenario);
    // Engines that are shared never stop.
    crate::secrets::search_all();
}

struct ShowIfFailed(Topology);

impl Drop for ShowIfFailed {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(engine) = cell(self.0).get()
        {
            engine.show_logs();
        }
    }
}
