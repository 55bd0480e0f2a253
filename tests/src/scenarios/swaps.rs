//! Swaps of a version under constant load: no request fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{Client, Engine, Setup, Topology, models, run};

/// As many as keep a test run short. `SWAPS=1000` asks for more.
const SWAPS: u32 = 100;
/// Callers that ask all the time.
const CALLERS: usize = 4;
/// Every so many swaps, a new version is uploaded and swapped in.
const UPLOAD_EVERY: u32 = 10;

#[test]
fn swaps_under_load_fail_no_request() {
    run(Topology::Embedded, swap());
}

async fn swap() {
    let swaps = std::env::var_os("SWAPS").map_or(SWAPS, |count| {
        count.to_str().and_then(|count| count.parse().ok()).expect("`SWAPS` is a number")
    });
    let mut setup = Setup::new(Topology::Embedded);
    // What no route names is freed, and loaded anew when a swap brings it back.
    setup.set("ENGINE__INFERENCE__IDLE_UNLOAD_S", "1");
    setup.set("ENGINE__TELEMETRY__ACCESS_LOG", "false");
    let engine = Engine::start(setup).await;
    let client = super::routing::two_versions(&engine, "iris").await;
    client.create_model_with("other", &models::committed("iris-logreg").upload()).await;
    let memory_before = engine.server("engine").memory();

    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> =
        (0..CALLERS).map(|_| tokio::spawn(ask_until(client.clone(), Arc::clone(&stop)))).collect();
    let mut newest = 2;
    let start = Instant::now();
    for swap in 1..=swaps {
        if swap % UPLOAD_EVERY == 0 {
            let folder = if newest % 2 == 0 { "iris-logreg" } else { "iris-rf100" };
            let upload = models::committed(folder).upload();
            client.upload_version("iris", &upload).await.expect_status(201);
            newest += 1;
            for verb in ["unload", "load"] {
                let path = format!("/v2/repository/models/other/{verb}");
                client.post(&path, &json!({})).await.expect_status(200);
            }
        }
        let version = newest - swap % 2;
        client.put_route("iris", &[(version, 1.0)]).await.expect_status(200);
    }
    let took = start.elapsed();
    stop.store(true, Ordering::Relaxed);
    let (mut times, mut failures) = (Vec::new(), Vec::new());
    for caller in callers {
        let (its_times, its_failures) = caller.await.unwrap();
        times.extend(its_times);
        failures.extend(its_failures);
    }
    times.sort_unstable();
    let quantile = |share: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let index = (share * times.len() as f64) as usize;
        times.get(index).or(times.last()).copied().unwrap_or_default()
    };
    eprintln!(
        "{swaps} swaps in {took:.1?} under {} requests: {} failed; latency p50 {:.2?}, p95 {:.2?}, p99 {:.2?}, max {:.2?}; memory {} MiB before, {} MiB after",
        times.len(),
        failures.len(),
        quantile(0.5),
        quantile(0.95),
        quantile(0.99),
        quantile(1.0),
        memory_before >> 20,
        engine.server("engine").memory() >> 20,
    );
    assert!(failures.is_empty(), "{} failed, first: {}", failures.len(), failures[0]);
    assert!(times.len() > swaps as usize, "there was load");
}

async fn ask_until(client: Client, stop: Arc<AtomicBool>) -> (Vec<Duration>, Vec<String>) {
    let body = json!({"features": [5.1, 3.5, 1.4, 0.2]});
    let (mut times, mut failures) = (Vec::new(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        let answer = client.predict("iris", &body).await;
        times.push(start.elapsed());
        if answer.status != 200 {
            failures.push(answer.text());
        }
    }
    (times, failures)
}
