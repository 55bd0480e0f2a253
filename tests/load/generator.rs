//! The load generator, `oha`, and what it saw.

use std::process::Command;

use serde_json::Value;

use crate::target::Running;

const BODY: &str = r#"{"features":[5.1,3.5,1.4,0.2]}"#;

/// How a target is loaded.
pub(crate) struct Load {
    pub(crate) connections: u64,
    pub(crate) seconds: u64,
    /// Of the open loop, requests/s.
    pub(crate) rate: u64,
}

/// What the generator saw. Times in milliseconds.
pub(crate) struct Seen {
    pub(crate) rate: f64,
    pub(crate) answered: u64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    /// Answers that were not 200 and requests that had none.
    failed: Vec<String>,
}

impl Load {
    /// Each connection asks again as soon as it is answered.
    pub(crate) fn closed(&self, running: &Running, seconds: u64) -> Seen {
        self.run(running, seconds, &[])
    }

    /// Requests are due at a constant rate, and waited for from when they were due.
    pub(crate) fn open(&self, running: &Running) -> Seen {
        let rate = self.rate.to_string();
        self.run(running, self.seconds, &["-q", &rate, "--latency-correction"])
    }

    fn run(&self, running: &Running, seconds: u64, more: &[&str]) -> Seen {
        let mut command = Command::new(testkit::server::target("tools/bin/oha"));
        command.args(["--no-tui", "--output-format", "json", "-w", "-m", "POST", "-d", BODY]);
        command.args(["-T", "application/json", "-t", "30s"]);
        command.args(["-z", &format!("{seconds}s"), "-c", &self.connections.to_string()]);
        if let Some(token) = &running.token {
            command.args(["-H", &format!("Authorization: Bearer {token}")]);
        }
        let output = command.args(more).arg(&running.url).output();
        let output = output.expect("`make target/tools/bin/oha` installs the load generator");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Seen::read(&serde_json::from_slice(&output.stdout).unwrap())
    }
}

impl Seen {
    fn read(report: &Value) -> Self {
        let at = |name: &str| report["latencyPercentiles"][name].as_f64().unwrap_or(f64::NAN) * 1e3;
        let mut failed = Vec::new();
        let mut answered = 0;
        for (status, count) in report["statusCodeDistribution"].as_object().unwrap() {
            answered += count.as_u64().unwrap();
            if status != "200" {
                failed.push(format!("{count} answers with {status}"));
            }
        }
        for (error, count) in report["errorDistribution"].as_object().unwrap() {
            failed.push(format!("{count} times: {error}"));
        }
        let rate = answered as f64 / report["summary"]["total"].as_f64().unwrap();
        Self { rate, answered, p50: at("p50"), p99: at("p99"), p999: at("p99.9"), failed }
    }

    pub(crate) fn expect_all_answered(&self) {
        assert!(self.failed.is_empty() && self.answered > 0, "{:?}", self.failed);
    }
}
