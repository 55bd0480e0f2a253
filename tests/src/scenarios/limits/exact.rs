//! How exact a limit is that many gateways share.
//!
//! Under a bare `cargo test` few clients try for a few seconds. `make limits` runs the whole of it: 8
//! gateways, 50 clients, 30 s.

use std::time::{Duration, Instant};

use domain::Role;
use futures_util::future::join_all;
use serde_json::json;
use testkit::{Client, Engine, Setup, Topology, at_length, run};

use super::{POLICIES, counted};

/// What each client may send, a second.
const RATE: f64 = 20.0;
/// What it may send at once: enough for a late request, and less than one in a hundred of 30 s.
const BURST: f64 = 5.0;

/// How much is tried.
struct Trial {
    gateways: usize,
    clients: usize,
    seconds: f64,
    /// The share by which a count may be off.
    tolerance: f64,
}

#[test]
fn a_limit_is_exact_across_gateways() {
    let trial = if at_length() {
        Trial { gateways: 8, clients: 50, seconds: 30.0, tolerance: 0.01 }
    } else {
        Trial { gateways: 3, clients: 8, seconds: 4.0, tolerance: 0.06 }
    };
    run(Topology::Distributed, tried(trial));
}

async fn tried(trial: Trial) {
    let mut setup = Setup::new(Topology::Distributed);
    (setup.gateways, setup.replicas, setup.routers) = (trial.gateways, 1, 1);
    let (quota, burst) = (20_u32, 5_u32);
    assert_eq!((f64::from(quota), f64::from(burst)), (RATE, BURST));
    let policy = json!([{"name": "exact", "per": ["client"], "quota": quota, "window_s": 1,
        "burst": burst, "routes": ["GET /api/v1/auth/me"]}]);
    setup.set(POLICIES, &policy.to_string());
    // This is about a store that answers; a busy machine may take longer than the default.
    setup.set("ENGINE__GATEWAY__LIMITS__STORE_TIMEOUT_MS", "5000");
    setup.set("ENGINE__TELEMETRY__LEVEL", "warn");
    setup.set("ENGINE__HTTP__WORKERS", "1");
    let engine = Engine::start(setup).await;
    let gateways = engine.servers().iter().filter(|server| server.name.starts_with("gateway"));
    let gateways: Vec<String> = gateways.map(|gateway| gateway.url.clone()).collect();
    assert_eq!(gateways.len(), trial.gateways);
    let mut clients = Vec::new();
    for number in 0..trial.clients {
        clients.push(engine.sign_in_as_new(&format!("client-{number}"), Role::Client).await);
    }
    // Each gateway has seen each token, and has a connection to Redis.
    for url in &gateways {
        clients[0].at(url).get("/readyz").await.expect_status(200);
        for client in &clients {
            client.at(url).get("/api/v1/models").await.expect_status(200);
        }
    }
    let began = Instant::now() + Duration::from_millis(200);
    let runs = clients.iter().enumerate().map(|(number, client)| {
        let doors: Vec<Client> = gateways.iter().map(|url| client.at(url)).collect();
        let offset = Duration::from_micros(731 * number as u64);
        tokio::spawn(send(doors, began + offset, trial.seconds))
    });
    let mut accepted = Vec::new();
    let mut late = Duration::ZERO;
    for outcome in join_all(runs).await {
        let (count, latest) = outcome.unwrap();
        accepted.push(count);
        late = late.max(latest);
    }
    let local = join_all(gateways.iter().map(async |url| {
        counted(&clients[0].at(url), &["policy=\"exact\"", "backend=\"local\""]).await
    }));
    assert!(local.await.into_iter().all(|count| count == 0.0), "Redis did not answer in time");

    let limit = RATE * trial.seconds;
    let due = limit + BURST;
    let total: f64 = accepted.iter().sum();
    let (least, most) = accepted
        .iter()
        .fold((f64::MAX, 0.0_f64), |(least, most), count| (least.min(*count), most.max(*count)));
    let part = |count: f64, of: f64| 100.0 * count / of;
    let of_all = trial.clients as f64;
    eprintln!(
        "{} gateways, {} clients at {}/s for {} s: accepted {total} in all, {:.2} % of {} (rate x \
         time) and {:.2} % of {} (with the burst); per client {least} to {most}, {:.2} % to {:.2} % \
         of {limit}; the latest request came {late:?} after its time",
        trial.gateways,
        trial.clients,
        2.0 * RATE,
        trial.seconds,
        part(total, limit * of_all),
        limit * of_all,
        part(total, due * of_all),
        due * of_all,
        part(least, limit),
        part(most, limit),
    );
    for count in accepted {
        let share = count / due;
        assert!((share - 1.0).abs() <= trial.tolerance, "{count} of {due}");
        // Never more than is due, but for what comes while the last are late.
        assert!(count <= due + 1.0 + late.as_secs_f64() * RATE, "{count} of {due}");
    }
}

/// Sends twice the limit, evenly and whatever becomes of it, to one gateway after the other. Tells
/// how many were accepted, and how late the latest was sent.
async fn send(doors: Vec<Client>, began: Instant, seconds: f64) -> (f64, Duration) {
    #[expect(clippy::cast_possible_truncation, reason = "some thousands")]
    let count = (2.0 * RATE * seconds) as u32;
    let step = Duration::from_secs_f64(0.5 / RATE);
    let mut sent = Vec::new();
    let mut late = Duration::ZERO;
    for number in 0..count {
        let due = began + step * number;
        tokio::time::sleep_until(due.into()).await;
        late = late.max(due.elapsed());
        let door = doors[number as usize % doors.len()].clone();
        sent.push(tokio::spawn(async move { door.get("/api/v1/auth/me").await.status }));
    }
    let mut accepted = 0.0;
    for answer in join_all(sent).await {
        match answer.unwrap() {
            200 => accepted += 1.0,
            status => assert_eq!(status, 429),
        }
    }
    (accepted, late)
}
