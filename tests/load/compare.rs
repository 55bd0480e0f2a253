//! The engine beside what one would write without it, under the same load on the same machine:
//! a bare actix handler, a FastAPI service with the same duties, the six services apart, all in one.
//!
//! Each is started alone, loaded, and stopped, in turns, `ROUNDS` times. `make load-compare` prints
//! the tables of docs/load.md; only ratios mean something elsewhere. `ONLY` names the targets to run.

#![allow(
    clippy::allow_attributes,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark fails by panicking and prints its tables"
)]

#[path = "../../services/all-in-one/benches/http/bare.rs"]
mod bare;
mod cpu;
mod generator;
mod target;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use cpu::Cpu;
use generator::{Load, Seen};
use target::Target;

/// How the FastAPI service is called in the tables: what ratios are to.
const YARDSTICK: &str = "FastAPI + scikit-learn";

/// What one target showed in one round.
struct Round {
    closed: Seen,
    open: Seen,
    /// Microseconds of CPU time for one request of the closed loop, by program, until all records
    /// were in the log.
    cpu: BTreeMap<String, f64>,
    /// How long the log took for what was left when the load ended.
    drained_s: f64,
}

fn main() {
    if let Some(address) = std::env::var_os("BARE_SERVER") {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/iris-logreg");
        let library = testkit::server::onnxruntime();
        return bare::serve(&address.to_string_lossy(), &model, &library).unwrap();
    }
    let rounds = number("ROUNDS", 3);
    let load = Load {
        connections: number("CONNECTIONS", 16),
        seconds: number("SECONDS", 8),
        rate: number("RATE", 200),
    };
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut results: BTreeMap<usize, Vec<Round>> = BTreeMap::new();
    testkit::run(testkit::Topology::Distributed, async {
        for round in 1..=rounds {
            for (index, target) in Target::all().into_iter().enumerate() {
                if target.name().contains(&only) {
                    let seen = measure(&target, &load).await;
                    let (name, rate) = (target.name(), seen.closed.rate);
                    eprintln!("round {round}: {name}: {rate:.0}/s, p99 {:.2} ms", seen.closed.p99);
                    results.entry(index).or_default().push(seen);
                }
            }
        }
    });
    let results = results.into_iter().map(|(index, rounds)| (Target::all()[index].name(), rounds));
    let results: Vec<(&str, Vec<Round>)> = results.collect();
    show_speed(&results, &load);
    show_cpu(&results);
}

async fn measure(target: &Target, load: &Load) -> Round {
    let running = target.start().await;
    load.closed(&running, 3).expect_all_answered();
    quiet();
    let (before, begun) = (Cpu::now(), Instant::now());
    let closed = load.closed(&running, load.seconds);
    closed.expect_all_answered();
    let loaded = begun.elapsed();
    quiet();
    let drained_s = (begun.elapsed() - loaded).as_secs_f64();
    let cpu = Cpu::now().since(&before, closed.answered);
    let open = load.open(&running);
    open.expect_all_answered();
    running.stop().await;
    Round { closed, open, cpu, drained_s }
}

/// Waits until nothing that was started here works: all records are where they belong.
fn quiet() {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let before = Cpu::now();
        std::thread::sleep(Duration::from_millis(500));
        if Cpu::now().seconds() - before.seconds() < 0.05 {
            return;
        }
        assert!(Instant::now() < deadline, "something still works after two minutes");
    }
}

fn show_speed(results: &[(&str, Vec<Round>)], load: &Load) {
    let Load { connections, seconds, rate } = load;
    println!(
        "closed: {connections} connections, {seconds} s; open: {rate} requests/s, {seconds} s"
    );
    println!("median of the rounds (least to most of the rate); milliseconds\n");
    println!(
        "| server | requests/s | x FastAPI | p50 | p99 | p99.9 | p99 / FastAPI's | log done after, s | open p50 | open p99 | open p99.9 | open p99 / FastAPI's |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let yardstick = results.iter().find(|(name, _)| *name == YARDSTICK);
    let ratio = |value: f64, of: fn(&Round) -> f64| {
        yardstick.map_or(f64::NAN, |(_, rounds)| value / median(rounds, of))
    };
    for (name, rounds) in results {
        let mut rates: Vec<f64> = rounds.iter().map(|round| round.closed.rate).collect();
        rates.sort_by(f64::total_cmp);
        let rate = median(rounds, |round| round.closed.rate);
        let p99 = median(rounds, |round| round.closed.p99);
        let open_p99 = median(rounds, |round| round.open.p99);
        println!(
            "| {name} | {rate:.0} ({:.0} to {:.0}) | {:.1} | {:.2} | {p99:.2} | {:.2} | {:.2} | {:.1} | {:.2} | {open_p99:.2} | {:.2} | {:.2} |",
            rates[0],
            rates[rates.len() - 1],
            ratio(rate, |round| round.closed.rate),
            median(rounds, |round| round.closed.p50),
            median(rounds, |round| round.closed.p999),
            ratio(p99, |round| round.closed.p99),
            median(rounds, |round| round.drained_s),
            median(rounds, |round| round.open.p50),
            median(rounds, |round| round.open.p999),
            ratio(open_p99, |round| round.open.p99),
        );
    }
}

fn show_cpu(results: &[(&str, Vec<Round>)]) {
    println!("\n| server | CPU for one request, microseconds, by program |\n|---|---|");
    for (name, rounds) in results {
        let mut shares: Vec<(f64, &String)> = Vec::new();
        for program in rounds[0].cpu.keys() {
            shares.push((
                median(rounds, |round| round.cpu.get(program).copied().unwrap_or(0.0)),
                program,
            ));
        }
        shares.sort_by(|one, other| other.0.total_cmp(&one.0));
        let servers = shares.iter().filter(|(_, program)| *program != cpu::CLIENT);
        let total: f64 = servers.map(|(share, _)| share).sum();
        let shares = shares.iter().filter(|(share, _)| *share >= 0.5);
        let shares: Vec<String> =
            shares.map(|(share, program)| format!("{program} {share:.0}")).collect();
        println!("| {name} | {total:.0} (without the client): {} |", shares.join(", "));
    }
}

fn median(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn number(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok().filter(|text| !text.is_empty());
    given.map_or(otherwise, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number"))
    })
}
