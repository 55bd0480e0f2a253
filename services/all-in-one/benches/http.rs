//! What the engine costs over HTTP: one tabular prediction through `decision-engine` (sign-in, route,
//! prediction log, metrics and access log on) beside a bare actix handler that runs the same model.
//!
//! Both run as processes of their own on this machine, are asked the same over 8 kept connections by
//! the same closed loop, in turns, so that what else the machine does hits both. `make bench` prints
//! the table; only the ratios mean something elsewhere.

#![allow(
    clippy::allow_attributes,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark fails by panicking and prints its table"
)]

#[path = "http/bare.rs"]
mod bare;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

const CONNECTIONS: usize = 8;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);
const BODY: &str = r#"{"features":[5.1,3.5,1.4,0.2]}"#;
const LIBRARY: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/onnxruntime/libonnxruntime.so");
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/iris");

fn main() -> Result<()> {
    // The bare server is this program, started again.
    if let Some(address) = std::env::var_os("BARE_SERVER") {
        return bare::serve(&address.to_string_lossy(), Path::new(MODEL), Path::new(LIBRARY));
    }
    let folder = tempfile::tempdir()?;
    let bare = Server::bare()?;
    let engine = Server::engine(folder.path())?;
    let token = engine.sign_in()?;
    let targets = [
        ("bare actix handler", bare.request("/predict", None)),
        ("decision-engine", engine.request("/api/v1/models/iris/predict", Some(&token))),
    ];
    let mut results = [Vec::new(), Vec::new()];
    let mut latencies = [Vec::new(), Vec::new()];
    let addresses = [bare.address.clone(), engine.address.clone()];
    for round in 0..=ROUNDS {
        for (index, (_, request)) in targets.iter().enumerate() {
            let (rate, mut times) = load(&addresses[index], request)?;
            // The first round warms both up.
            if round > 0 {
                results[index].push(rate);
                latencies[index].append(&mut times);
            }
        }
    }
    println!("| server | requests/s (median of {ROUNDS}) | min | max | p50 us | p99 us |");
    println!("|---|---|---|---|---|---|");
    for (index, (name, _)) in targets.iter().enumerate() {
        results[index].sort_by(f64::total_cmp);
        latencies[index].sort_unstable();
        let at = |share: usize| latencies[index][latencies[index].len() * share / 100].as_micros();
        let rates = &results[index];
        println!(
            "| {name} | {:.0} | {:.0} | {:.0} | {} | {} |",
            rates[ROUNDS / 2],
            rates[0],
            rates[ROUNDS - 1],
            at(50),
            at(99)
        );
    }
    println!("\nratio of throughput: {:.2}", results[1][ROUNDS / 2] / results[0][ROUNDS / 2]);
    Ok(())
}

/// Closed loop: each connection asks again as soon as it is answered.
fn load(address: &str, request: &[u8]) -> Result<(f64, Vec<Duration>)> {
    let start = Instant::now();
    let end = start + ROUND;
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (address, request) = (address.to_owned(), request.to_vec());
            std::thread::spawn(move || -> Result<Vec<Duration>> {
                let mut connection = Connection::open(&address)?;
                let mut times = Vec::new();
                while Instant::now() < end {
                    let sent = Instant::now();
                    let (status, _) = connection.ask(&request)?;
                    ensure!(status == 200, "status {status}");
                    times.push(sent.elapsed());
                }
                Ok(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for worker in workers {
        times.append(&mut worker.join().expect("a worker panicked")?);
    }
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    Ok((rate, times))
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    fn ask(&mut self, request: &[u8]) -> Result<(u16, Vec<u8>)> {
        self.0.get_mut().write_all(request)?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let status = line.split(' ').nth(1).context("no status")?.parse()?;
        let mut length = 0;
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok((status, body))
    }
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn bare() -> Result<Self> {
        let address = free_address()?;
        let program = std::env::current_exe()?;
        let child = Command::new(program).env("BARE_SERVER", &address).spawn()?;
        Self { child, address }.once_it_answers()
    }

    fn engine(folder: &Path) -> Result<Self> {
        let address = free_address()?;
        let child = Command::new(env!("CARGO_BIN_EXE_decision-engine"))
            .arg("demo")
            .current_dir(folder)
            .env("ENGINE__GATEWAY__LISTEN", &address)
            .env("ENGINE__AUTH__ADMIN_PASSWORD", "benchmark-only")
            .env("ENGINE__INFERENCE__ONNXRUNTIME", LIBRARY)
            .stdout(Stdio::null())
            .stderr(File::create(folder.join("log"))?)
            .spawn()?;
        Self { child, address }.once_it_answers()
    }

    fn once_it_answers(self) -> Result<Self> {
        let end = Instant::now() + Duration::from_secs(60);
        let probe = self.request_with("GET", "/health", None, "");
        while Instant::now() < end {
            let answer = Connection::open(&self.address).and_then(|mut open| open.ask(&probe));
            if matches!(answer, Ok((200, _))) {
                return Ok(self);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        anyhow::bail!("no answer from {}", self.address)
    }

    fn sign_in(&self) -> Result<String> {
        let body = json!({"username": "admin", "password": "benchmark-only"}).to_string();
        let request = self.request_with("POST", "/api/v1/auth/token", None, &body);
        let (_, answer) = Connection::open(&self.address)?.ask(&request)?;
        let answer: serde_json::Value = serde_json::from_slice(&answer)?;
        Ok(answer["access_token"].as_str().context("no token")?.to_owned())
    }

    fn request(&self, path: &str, token: Option<&str>) -> Vec<u8> {
        self.request_with("POST", path, token, BODY)
    }

    fn request_with(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> Vec<u8> {
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            token.unwrap_or_default(),
            body.len()
        )
        .into_bytes()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
