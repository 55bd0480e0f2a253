//! Several of each service behind nginx: processes and stores come and go, answers go on.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::topology::Stores;
use testkit::{Client, Engine, Method, PrivateServer, Setup, Topology, models, run, until};
use tokio::task::JoinHandle;

/// Callers that ask at the same time.
const CALLERS: usize = 6;

fn several() -> Setup {
    let mut setup = Setup::new(Topology::Distributed);
    (setup.gateways, setup.routers, setup.replicas) = (2, 2, 3);
    setup.set("ENGINE__TELEMETRY__ACCESS_LOG", "false");
    setup
}

#[test]
fn a_change_of_a_route_reaches_every_router() {
    run(Topology::Distributed, async {
        let mut setup = several();
        // So that it is the announcement that does it, not the safety net.
        setup.set("ENGINE__ROUTER__POLL_INTERVAL_S", "600");
        let engine = Engine::start(setup).await;
        let client = super::routing::two_versions(&engine, "iris").await;
        for version in [2, 1, 2] {
            client.put_route("iris", &[(version, 1.0)]).await.expect_status(200);
            let began = Instant::now();
            let everywhere = || async {
                let answers = super::routing::versions(&client, "iris", 20).await;
                let wanted = version.to_string();
                answers.values().all(|answered| *answered == wanted).then_some(())
            };
            until("all routers follow", Duration::from_secs(5), everywhere).await;
            eprintln!("all routers followed within {:.1?}", began.elapsed());
        }
        client.put_route("iris", &[(1, 50.0), (2, 50.0)]).await.expect_status(200);
        let agree = || async {
            let first = super::routing::versions(&client, "iris", 40).await;
            let second = super::routing::versions(&client, "iris", 40).await;
            let both = first.values().any(|version| version == "1")
                && first.values().any(|version| version == "2");
            (first == second && both).then_some(())
        };
        until("a unit gets one version from all routers", Duration::from_secs(5), agree).await;
    });
}

#[test]
fn a_replica_that_dies_or_hangs_costs_no_request() {
    run(Topology::Distributed, async {
        let mut engine = Engine::start(several()).await;
        let client = super::routing::two_versions(&engine, "iris").await;
        client.put_route("iris", &[(1, 50.0), (2, 50.0)]).await.expect_status(200);
        known_everywhere(&client).await;
        let load = Load::start(&client);
        load.until_more(300).await;
        engine.server_mut("inference-2").kill();
        load.until_more(300).await;
        let killed = load.failures();
        engine.server("inference-3").signal("STOP");
        load.until_more(300).await;
        engine.server("inference-3").signal("CONT");
        load.until_more(300).await;
        let (answered, slowest) = load.end().await;
        eprintln!(
            "a killed and a paused replica under load: {answered} answered, slowest {slowest:.1?}"
        );
        assert_eq!(killed, Vec::<String>::new(), "after the kill");
    });
}

#[test]
fn predictions_go_on_without_stores_and_are_logged_afterwards() {
    run(Topology::Distributed, async {
        let (mut postgres, mut mongo, mut redis) =
            tokio::join!(PrivateServer::postgres(), PrivateServer::mongo(), PrivateServer::redis());
        let mut setup = several();
        // The summary that counts the log reads no more than this.
        setup.set("ENGINE__DRIFT__MAX_RECORDS", "1000000");
        setup.stores = Some(Stores {
            relational: postgres.url().to_owned(),
            documents: mongo.url().to_owned(),
            cache: redis.url().to_owned(),
        });
        let engine = Engine::start(setup).await;
        let client = engine.admin().await;
        client.create_model_with("iris", &models::committed("iris-logreg").upload()).await;
        let before = known_everywhere(&client).await;
        let load = Load::start(&client);
        load.until_more(100).await;
        for store in [&mut postgres, &mut mongo, &mut redis] {
            store.stop().await;
            degraded(&client, true).await;
            load.until_more(200).await;
            store.start_again().await;
            degraded(&client, false).await;
            load.until_more(50).await;
        }
        for store in [&mut postgres, &mut mongo, &mut redis] {
            store.stop().await;
        }
        degraded(&client, true).await;
        load.until_more(300).await;
        for store in [&mut postgres, &mut mongo, &mut redis] {
            store.start_again().await;
        }
        degraded(&client, false).await;
        load.until_more(50).await;
        let (answered, slowest) = load.end().await;
        let answered = (before + answered) as u64;
        eprintln!("stores stopped under load: {answered} answered, slowest {slowest:.1?}");
        let logged = || async {
            let summary = client.get("/api/v1/models/iris/metrics-summary").await;
            let summary = summary.expect_status(200).json();
            let versions = summary["versions"].as_array().unwrap().clone();
            let count: u64 = versions.iter().map(|one| one["predictions"].as_u64().unwrap()).sum();
            assert!(count <= answered, "{count} in the log, {answered} answered");
            (count == answered).then_some(())
        };
        until("each answer is in the log once", Duration::from_secs(60), logged).await;
    });
}

/// A router that did not make the change follows a moment later.
///
/// Returns how many predictions were answered on the way.
async fn known_everywhere(client: &Client) -> usize {
    let body = json!({"features": [5.1, 3.5, 1.4, 0.2]});
    let answered = Cell::new(0);
    let known = || async {
        for _ in 0..20 {
            if client.predict("iris", &body).await.status != 200 {
                return None;
            }
            answered.set(answered.get() + 1);
        }
        Some(())
    };
    until("all routers know the model", Duration::from_secs(10), known).await;
    answered.get()
}

async fn degraded(client: &Client, wanted: bool) {
    let said = || async {
        let answer = client.get("/readyz").await.expect_status(200).json();
        (answer["status"] == if wanted { "degraded" } else { "ready" }).then_some(())
    };
    until(&format!("`degraded` is {wanted}"), Duration::from_secs(30), said).await;
}

/// Callers that ask all the time; a failure is kept.
struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    callers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    answered: usize,
    slowest: Duration,
    failures: Vec<String>,
}

impl Load {
    fn start(client: &Client) -> Self {
        let (stop, seen) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Seen>>::default());
        let callers = (0..CALLERS)
            .map(|caller| {
                let (client, stop, seen) = (client.clone(), Arc::clone(&stop), Arc::clone(&seen));
                tokio::spawn(ask(client, caller, stop, seen))
            })
            .collect();
        Self { stop, seen, callers }
    }

    async fn until_more(&self, answers: usize) {
        let wanted = self.seen.lock().unwrap().answered + answers;
        let enough = || async { (self.seen.lock().unwrap().answered >= wanted).then_some(()) };
        until("more answers", Duration::from_secs(60), enough).await;
    }

    fn failures(&self) -> Vec<String> {
        self.seen.lock().unwrap().failures.clone()
    }

    /// Stops, and returns how many were answered and how long the slowest took. None may have
    /// failed.
    async fn end(self) -> (usize, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.unwrap();
        }
        let seen = self.seen.lock().unwrap();
        assert_eq!(seen.failures, Vec::<String>::new(), "of {} requests", seen.answered);
        (seen.answered, seen.slowest)
    }
}

async fn ask(client: Client, caller: usize, stop: Arc<AtomicBool>, seen: Arc<Mutex<Seen>>) {
    let body = json!({"features": [5.1, 3.5, 1.4, 0.2], "unit": format!("caller-{caller}")});
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let request = client.request(Method::POST, "/api/v1/models/iris/predict").json(&body);
        let failure = match client.try_send(request).await {
            Ok(answer) if answer.status == 200 => None,
            Ok(answer) => Some(format!("{} {}", answer.status, answer.text())),
            Err(error) => Some(error.to_string()),
        };
        let mut seen = seen.lock().unwrap();
        seen.slowest = seen.slowest.max(began.elapsed());
        match failure {
            None => seen.answered += 1,
            Some(failure) => seen.failures.push(failure),
        }
    }
}
