//! Limits without the store that gateways share.

use std::time::Duration;

use domain::Role;
use serde_json::json;
use testkit::topology::Stores;
use testkit::{Client, Engine, PrivateServer, Setup, Topology, run, until};

use super::{POLICIES, ask, counted};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn without_redis_each_gateway_counts_for_itself_and_says_so() {
    run(Topology::Distributed, async {
        let mut redis = PrivateServer::redis().await;
        let mut setup = Setup::new(Topology::Distributed);
        (setup.gateways, setup.replicas, setup.routers) = (2, 1, 1);
        let stores = Stores::fresh().await;
        setup.stores = Some(Stores { cache: redis.url().to_owned(), ..stores });
        let policy = json!([{"name": "few", "per": ["client"], "quota": 3, "window_s": 3600,
            "routes": ["POST /api/v1/models/{model}/predict"]}]);
        setup.set(POLICIES, &policy.to_string());
        // A machine that is busy with other tests may take longer than the default.
        setup.set("ENGINE__GATEWAY__LIMITS__STORE_TIMEOUT_MS", "500");
        setup.set("ENGINE__GATEWAY__LIMITS__STORE_REST_MS", "300");
        let engine = Engine::start(setup).await;
        let doors: Vec<Client> = {
            let client = engine.sign_in_as(Role::Client).await;
            let gateways =
                engine.servers().iter().filter(|server| server.name.starts_with("gateway"));
            gateways.map(|gateway| client.at(&gateway.url)).collect()
        };
        assert_eq!(doors.len(), 2);
        for door in &doors {
            limits_are(door, "shared").await;
        }
        let allowed = async || {
            let mut allowed = Vec::new();
            for door in &doors {
                let mut count = 0;
                for _ in 0..5 {
                    match ask(door).await.status {
                        404 => count += 1,
                        status => assert_eq!(status, 429),
                    }
                }
                allowed.push(count);
            }
            allowed
        };
        assert_eq!(allowed().await, [3, 0], "they share one bucket");

        redis.stop().await;
        for door in &doors {
            limits_are(door, "local").await;
        }
        assert_eq!(allowed().await, [3, 3], "each has a bucket");
        for door in &doors {
            let label = ["policy=\"few\"", "backend=\"local\"", "decision=\"allowed\""];
            assert_eq!(counted(door, &label).await, 3.0);
            let ready = door.get("/readyz").await.expect_status(200).json();
            assert_eq!(ready["status"], "degraded", "{ready}");
            let said = ready["checks"]["limits"].as_str().unwrap();
            assert!(said.contains("counts for itself"), "{ready}");
        }

        redis.start_again().await;
        for door in &doors {
            limits_are(door, "shared").await;
        }
        // It was restarted empty.
        assert_eq!(allowed().await, [3, 0]);
    });
}

/// Waits until a gateway counts in the store, or for itself.
async fn limits_are(door: &Client, backend: &str) {
    let wanted = if backend == "local" { "engine_limits_local 1" } else { "engine_limits_local 0" };
    let is = || async {
        // A probe finds out, too.
        door.get("/readyz").await;
        let text = door.get("/metrics").await.text();
        text.lines().any(|line| line == wanted).then_some(())
    };
    until(&format!("limits are {backend}"), LIMIT, is).await;
}
