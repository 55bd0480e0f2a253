//! Several of each service behind nginx: processes and stores come and go, answers go on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::topology::Stores;
use testkit::{Client, Engine, Method, PrivateServer, Setup, Topology, models, run, until};
use tokio::task::JoinHandle;

/// Callers that ask at the same time.
const CALLERS: usize = 6;

fn quiet() -> Setup {
    let mut setup = Setup::new(Topology::Distributed);
    setup.set("ENGINE__TELEMETRY__ACCESS_LOG", "false");
    setup
}

#[test]
fn a_change_is_in_force_everywhere_when_it_returns() {
    run(Topology::Distributed, async {
        let mut redis = PrivateServer::redis().await;
        let mut setup = quiet();
        // So that it is neither the safety net nor an announcement that does it.
        setup.set("ENGINE__ROUTER__POLL_INTERVAL_S", "600");
        let stores = Stores::fresh().await;
        setup.stores = Some(Stores { cache: redis.url().to_owned(), ..stores });
        let engine = Engine::start(setup).await;
        redis.stop().await;
        let client = super::routing::two_versions(&engine, "iris").await;
        for turn in 0..20 {
            let version = 2 - turn % 2;
            client.put_route("iris", &[(version, 1.0)]).await.expect_status(200);
            let answers = super::routing::versions(&client, "iris", 10).await;
            let wanted = version.to_string();
            assert!(answers.values().all(|answered| *answered == wanted), "{turn}: {answers:?}");
        }
        client.put_route("iris", &[(1, 50.0), (2, 50.0)]).await.expect_status(200);
        let first = super::routing::versions(&client, "iris", 40).await;
        let second = super::routing::versions(&client, "iris", 40).await;
        assert_eq!(first, second, "a unit gets one version from all routers");
        assert!(["1", "2"].iter().all(|version| first.values().any(|one| one == version)));
    });
}

#[test]
fn a_router_that_hangs_holds_up_a_change_for_a_while_and_then_follows() {
    run(Topology::Distributed, async {
        let mut setup = quiet();
        setup.set("ENGINE__ROUTER__PUSH_TIMEOUT_MS", "500");
        setup.set("ENGINE__ROUTER__POLL_INTERVAL_S", "600");
        let engine = Engine::start(setup).await;
        let client = super::routing::two_versions(&engine, "iris").await;
        engine.server("router-2").signal("STOP");
        let began = Instant::now();
        client.put_route("iris", &[(2, 1.0)]).await.expect_status(200);
        eprintln!("with a router paused, the change took {:.1?}", began.elapsed());
        engine.server("router-2").signal("CONT");
        let everywhere = || async {
            let answers = super::routing::versions(&client, "iris", 20).await;
            answers.values().all(|answered| answered == "2").then_some(())
        };
        until("it hears of it", Duration::from_secs(10), everywhere).await;
        assert!(engine.logs().contains("did not confirm a change"), "it is said");
    });
}

#[test]
fn a_replica_that_dies_or_hangs_costs_no_request() {
    run(Topology::Distributed, async {
        let mut engine = Engine::start(quiet()).await;
        let client = super::routing::two_versions(&engine, "iris").await;
        client.put_route("iris", &[(1, 50.0), (2, 50.0)]).await.expect_status(200);
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
        let mut setup = quiet();
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
        let answered = answered as u64;
        eprintln!("stores stopped under load: {answered} answered, slowest {slowest:.1?}");
        logged(&client, answered).await;
    });
}

#[test]
fn when_the_spool_is_full_predictions_go_on_and_lost_records_are_counted() {
    run(Topology::Distributed, async {
        let mut mongo = PrivateServer::mongo().await;
        let mut setup = quiet();
        (setup.gateways, setup.routers, setup.replicas) = (1, 1, 1);
        setup.set("ENGINE__ROUTER__SPOOL__MAX_BYTES", "20000");
        setup.stores = Some(Stores { documents: mongo.url().to_owned(), ..Stores::fresh().await });
        let engine = Engine::start(setup).await;
        let client = engine.admin().await;
        client.create_model_with("iris", &models::committed("iris-logreg").upload()).await;
        mongo.stop().await;
        for _ in 0..100 {
            client
                .predict("iris", &json!({"features": [5.1, 3.5, 1.4, 0.2]}))
                .await
                .expect_status(200);
        }
        let router = client.at(&engine.server("router").url);
        let metric = async |name: &str| {
            let metrics = router.get("/metrics").await.expect_status(200).text();
            let line = metrics.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
            line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
        };
        let dropped = metric("engine_spool_dropped_records_total").await;
        assert!((1..100).contains(&dropped), "{dropped} of 100 were dropped");
        let said = engine.logs().matches("predictions are not logged from here on").count();
        assert_eq!(said, 1, "once, not for each");
        assert!(engine.logs().contains("router.spool.max_bytes"), "with the setting's name");
        mongo.start_again().await;
        logged(&client, 100 - dropped).await;
        let free = || async { (metric("engine_spool_pending_records").await == 0).then_some(()) };
        until("the spool is free again", Duration::from_secs(30), free).await;
        client.predict("iris", &json!({"features": [5.1, 3.5, 1.4, 0.2]})).await.expect_status(200);
        logged(&client, 101 - dropped).await;
    });
}

/// Waits until so many predictions are in the log.
async fn logged(client: &Client, wanted: u64) {
    let all = || async {
        let summary = client.get("/api/v1/models/iris/metrics-summary").await;
        let summary = summary.expect_status(200).json();
        let versions = summary["versions"].as_array().unwrap().clone();
        let count: u64 = versions.iter().map(|one| one["predictions"].as_u64().unwrap()).sum();
        assert!(count <= wanted, "{count} in the log, {wanted} answered");
        (count == wanted).then_some(())
    };
    until("each answer is in the log once", Duration::from_secs(60), all).await;
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
