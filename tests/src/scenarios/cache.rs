//! Answers kept for who asks the same again.

use std::time::{Duration, Instant};

use domain::Role;
use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::topology::Stores;
use testkit::{Answer, Client, Engine, Method, PrivateServer, Setup, Topology, run, scenarios};

use super::policy::put;

scenarios!(
    the_same_again_is_a_kept_answer,
    a_rollback_leaves_no_kept_answer_behind,
    kept_answers_are_each_callers_own_unless_shared,
);

/// With time enough for a machine that does many things at once.
async fn engine(topology: Topology) -> Engine {
    let mut setup = Setup::new(topology);
    setup.set("ENGINE__ROUTER__CACHE__TIMEOUT_MS", "2000");
    Engine::start(setup).await
}

fn ask() -> Value {
    json!({"features": [5.1, 3.5, 1.4, 0.2]})
}

async fn predict(client: &Client, body: &Value, control: &str) -> Answer {
    let path = "/api/v1/models/iris/predict";
    let request = client.request(Method::POST, path).header("cache-control", control).json(body);
    client.send(request).await
}

/// What kept answers had to do with it, as the header has it.
fn used(answer: &Answer) -> String {
    answer.expect_status(200).header("cache-status").to_owned()
}

async fn the_same_again_is_a_kept_answer(topology: Topology) {
    let engine = engine(topology).await;
    let client = super::routing::two_versions(&engine, "iris").await;
    let plain = client.predict("iris", &ask()).await;
    assert_eq!((used(&plain), &plain.json()["cached"]), (String::new(), &json!(false)));
    put(&client, "iris", &json!({"cache": {"ttl_s": 600}})).await;

    let first = client.predict("iris", &ask()).await;
    assert_eq!(used(&first), "decision-engine; fwd=miss");
    let again = json!({"unit": "somebody", "features": [5.1, 3.50, 14e-1, 0.2]});
    let second = client.predict("iris", &again).await;
    assert_eq!(used(&second), "decision-engine; hit");
    let (first, second) = (first.json(), second.json());
    assert_eq!((&first["cached"], &second["cached"]), (&json!(false), &json!(true)));
    assert_ne!(first["prediction_id"], second["prediction_id"]);
    for same in ["model", "model_version", "label", "probabilities", "confidence"] {
        assert_eq!(first[same], second[same], "{same}");
    }
    let record = client.prediction(second["prediction_id"].as_str().unwrap()).await;
    let record = record.expect_status(200).json();
    assert_eq!((&record["cached"], &record["output"]["json"]), (&json!(true), &second));
    assert_eq!(record["input"]["json"], again);

    let fresh = predict(&client, &ask(), "no-cache").await;
    assert_eq!(used(&fresh), "decision-engine; fwd=request");
    assert_eq!(fresh.json()["cached"], false);
    let other = json!({"features": [5.1, 3.5, 1.4, 0.3]});
    assert_eq!(used(&predict(&client, &other, "no-store").await), "decision-engine; fwd=request");
    assert_eq!(used(&predict(&client, &other, "").await), "decision-engine; fwd=miss");

    // The V2 protocol: its `id` is each request's own.
    let meta = client.get("/v2/models/iris").await.json();
    let name = meta["inputs"][0]["name"].clone();
    let tensor =
        json!({"name": name, "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]});
    for (id, wanted) in [("a", "decision-engine; fwd=miss"), ("b", "decision-engine; hit")] {
        let answer = client.infer("iris", &json!({"id": id, "inputs": [tensor]})).await;
        assert_eq!((used(&answer).as_str(), &answer.json()["id"]), (wanted, &json!(id)));
    }
    let binary = json!({"inputs": [tensor], "parameters": {"binary_data_output": true}});
    for _ in 0..2 {
        let answer = client.infer("iris", &binary).await;
        assert_eq!(used(&answer), "decision-engine; fwd=miss", "bytes are not kept");
    }
    // A bad request finds no good one's answer.
    let twice = r#"{"features": [5.1, 3.5, 1.4, 0.2], "features": [5.1, 3.5, 1.4, 0.2]}"#;
    let path = "/api/v1/models/iris/predict";
    client.post_bytes(path, "application/json", twice).await.expect_status(422);
    if topology == Topology::Embedded {
        let metrics = client.get("/metrics").await.text();
        let line = "engine_response_cache_requests_total{model=\"iris\",outcome=\"hit\"} 2";
        assert!(metrics.contains(line), "{line} is missing");
    }
}

async fn a_rollback_leaves_no_kept_answer_behind(topology: Topology) {
    let engine = engine(topology).await;
    let client = super::routing::two_versions(&engine, "iris").await;
    put(&client, "iris", &json!({"cache": {"ttl_s": 3600, "shared": true}})).await;
    for turn in 0..6 {
        let version = 2 - turn % 2;
        client.put_route("iris", &[(version, 1.0)]).await.expect_status(200);
        for number in 0..6 {
            let answer = client.predict("iris", &ask()).await;
            let wanted = if number == 0 { "fwd=miss" } else { "hit" };
            assert_eq!(used(&answer), format!("decision-engine; {wanted}"), "{turn} {number}");
            assert_eq!(answer.json()["model_version"], version.to_string(), "{turn} {number}");
        }
    }
    // A policy, too: what was kept under the old one is never seen again.
    for revision in 2..5 {
        let policy = json!({"cache": {"ttl_s": 3600, "shared": true}});
        assert_eq!(put(&client, "iris", &policy).await["revision"], revision);
        assert_eq!(used(&client.predict("iris", &ask()).await), "decision-engine; fwd=miss");
        assert_eq!(used(&client.predict("iris", &ask()).await), "decision-engine; hit");
    }
    put(&client, "iris", &json!({})).await;
    assert_eq!(used(&client.predict("iris", &ask()).await), "");
}

async fn kept_answers_are_each_callers_own_unless_shared(topology: Topology) {
    let engine = engine(topology).await;
    let admin = super::routing::two_versions(&engine, "iris").await;
    let client = engine.sign_in_as(Role::Client).await;
    let hidden = ["admin", "engineer", "analyst"];
    for (shared, theirs) in [(false, "fwd=miss"), (true, "hit")] {
        let cache = json!({"ttl_s": 600, "shared": shared});
        put(&admin, "iris", &json!({"cache": cache})).await;
        assert_eq!(used(&admin.predict("iris", &ask()).await), "decision-engine; fwd=miss");
        let answer = client.predict("iris", &ask()).await;
        assert_eq!(used(&answer), format!("decision-engine; {theirs}"));
        // Who is not told of versions gets no answer that was made for who is.
        put(&admin, "iris", &json!({"cache": cache, "version_shown_to": hidden})).await;
        assert_eq!(used(&admin.predict("iris", &ask()).await), "decision-engine; fwd=miss");
        let answer = client.predict("iris", &ask()).await;
        assert_eq!(used(&answer), "decision-engine; fwd=miss");
        assert_eq!(answer.json().get("model_version"), None);
    }
    // Of many at once, one computes.
    let body = json!({"features": [6.0, 3.0, 4.8, 1.8]});
    let all = join_all((0..12).map(|_| client.predict("iris", &body))).await;
    let misses = all.iter().filter(|answer| used(answer).ends_with("miss")).count();
    // Each router computes by itself at most.
    assert!((1..=2).contains(&misses), "{misses}");
}

#[test]
fn answers_go_on_while_redis_is_down_or_hangs() {
    run(Topology::Distributed, async {
        let mut redis = PrivateServer::redis().await;
        let mut setup = Setup::new(Topology::Distributed);
        setup.set("ENGINE__ROUTER__CACHE__TIMEOUT_MS", "20");
        setup.stores = Some(Stores { cache: redis.url().to_owned(), ..Stores::fresh().await });
        let engine = Engine::start(setup).await;
        let client = super::routing::two_versions(&engine, "iris").await;
        put(&client, "iris", &json!({"cache": {"ttl_s": 600}})).await;
        redis.stop().await;
        let begun = Instant::now();
        for _ in 0..50 {
            let answer = client.predict("iris", &ask()).await;
            assert_eq!(used(&answer), "decision-engine; fwd=bypass");
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        redis.start_again().await;
        let hit = || async {
            let answer = client.predict("iris", &ask()).await;
            used(&answer).ends_with("hit").then_some(())
        };
        testkit::until("answers are kept again", Duration::from_secs(20), hit).await;
    });
}

#[test]
fn a_kept_answer_takes_less_time() {
    run(Topology::Distributed, async {
        for topology in [Topology::Embedded, Topology::Distributed] {
            let engine = engine(topology).await;
            let client = super::routing::two_versions(&engine, "iris").await;
            client.put_route("iris", &[(2, 1.0)]).await.expect_status(200);
            let median = async || {
                let mut times = Vec::new();
                for _ in 0..300 {
                    let begun = Instant::now();
                    client.predict("iris", &ask()).await.expect_status(200);
                    times.push(begun.elapsed());
                }
                times.sort_unstable();
                times[times.len() / 2]
            };
            let computed = median().await;
            put(&client, "iris", &json!({"cache": {"ttl_s": 600}})).await;
            let kept = median().await;
            eprintln!("{topology:?}: computed {computed:.0?}, kept {kept:.0?} (median of 300)");
        }
    });
}
