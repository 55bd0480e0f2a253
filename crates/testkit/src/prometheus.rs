//! A Prometheus that watches an engine, with the rules that ship with the project.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engine::Engine;
use crate::server::Server;
use crate::topology::free_address;
use crate::wait::until;

/// The rules that ship with the project.
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../monitoring/prometheus/rules");
/// Generous: the machine may be busy with other things.
const LIMIT: Duration = Duration::from_secs(60);

/// A running Prometheus. It and its data are gone when dropped, or with the test run.
#[derive(Debug)]
pub struct Prometheus {
    server: Server,
    http: reqwest::Client,
    // Last, so that nothing writes to what is being removed.
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one that asks every process of the engine once a second. Targets have the labels that
    /// the shipped configuration gives them.
    pub async fn watching(engine: &Engine) -> Self {
        let folder = tempfile::Builder::new().prefix("engine-prometheus-").tempdir().unwrap();
        let services = engine.servers().iter().filter(|server| server.name != "nginx");
        let targets: Vec<Value> = services
            .map(|server| {
                let address = server.url.trim_start_matches("http://");
                let service = server.name.trim_end_matches(|sign: char| sign.is_ascii_digit());
                let service = service.trim_end_matches('-');
                json!({"targets": [address], "labels": {"service": service}})
            })
            .collect();
        // YAML has JSON in it.
        let configuration = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [format!("{RULES}/*.rules.yml")],
            "scrape_configs": [{"job_name": "engine", "static_configs": targets}],
        });
        fs::write(folder.path().join("prometheus.yml"), configuration.to_string()).unwrap();
        let address = free_address();
        let mut command = Command::new("prometheus");
        command.arg(format!("--web.listen-address={address}"));
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
        let url = format!("http://{address}");
        let server = Server::spawn("prometheus", command, "KILL", folder.path(), url);
        let prometheus = Self { server, http: reqwest::Client::new(), _folder: folder };
        let ready = format!("{}/-/ready", prometheus.server.url);
        let is_ready = || async {
            let answer = prometheus.http.get(&ready).send().await.ok()?;
            answer.status().is_success().then_some(())
        };
        until("Prometheus is ready", LIMIT, is_ready).await;
        prometheus
    }

    /// The values that a query gives now.
    ///
    /// # Errors
    /// What Prometheus says is wrong with the query.
    pub async fn query(&self, query: &str) -> Result<Vec<f64>, String> {
        let answer = self.ask("query", &[("query", query)]).await;
        if answer["status"] != "success" {
            return Err(answer["error"].to_string());
        }
        let samples = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let value = |sample: &Value| sample["value"][1].as_str()?.parse().ok();
        Ok(samples.iter().filter_map(value).collect())
    }

    /// The rules it has loaded, as its API has them.
    pub async fn rules(&self) -> Vec<Value> {
        let answer = self.ask("rules", &[]).await;
        let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
        groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap()).collect()
    }

    async fn ask(&self, what: &str, parameters: &[(&str, &str)]) -> Value {
        let url = format!("{}/api/v1/{what}", self.server.url);
        let pairs: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", percent_encoded(value)))
            .collect();
        let asked = self.http.get(format!("{url}?{}", pairs.join("&"))).send().await;
        asked.unwrap().json().await.unwrap()
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
