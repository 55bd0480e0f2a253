//! Who gets which version.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::{Client, Engine, Method, Setup, Topology, models, scenarios, shared};

scenarios!(
    a_unit_keeps_its_version,
    a_change_of_weights_moves_only_the_units_it_must,
    a_prediction_says_how_it_was_chosen,
    a_stale_generation_is_409,
    an_unknown_version_in_a_route_is_422,
);

/// A model with two versions.
pub(super) async fn two_versions(engine: &Engine, name: &str) -> Client {
    let client = engine.admin().await;
    client.create_model_with(name, &models::committed("iris-logreg").upload()).await;
    let second = client.upload_version(name, &models::committed("iris-rf100").upload()).await;
    assert_eq!(second.expect_status(201).json()["version"], "2");
    client
}

/// Which version answers each of some units.
pub(super) async fn versions(
    client: &Client,
    model: &str,
    units: usize,
) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for unit in 0..units {
        let unit = format!("user-{unit}");
        found.insert(unit.clone(), version(client, model, &unit).await);
    }
    found
}

async fn version(client: &Client, model: &str, unit: &str) -> String {
    let body = json!({"features": [5.1, 3.5, 1.4, 0.2], "unit": unit});
    let answer = client.predict(model, &body).await.expect_status(200).json();
    answer["model_version"].as_str().unwrap().to_owned()
}

fn share(found: &BTreeMap<String, String>, version: &str) -> usize {
    found.values().filter(|answered| *answered == version).count()
}

async fn a_unit_keeps_its_version(topology: Topology) {
    let mut engine = Engine::start(Setup::new(topology)).await;
    let client = two_versions(&engine, "iris").await;
    let route = client.put_route("iris", &[(1, 90.0), (2, 10.0)]).await.expect_status(200).json();
    assert_eq!(route["generation"], 2, "{route}");
    let before = versions(&client, "iris", 200).await;
    let second = share(&before, "2");
    assert!((5..=40).contains(&second), "about 20 of 200 get version 2, got {second}");
    for (unit, version) in before.iter().take(20) {
        let path = "/api/v1/models/iris/predict";
        let body = json!({"features": [6.0, 3.0, 4.8, 1.8]});
        let request = client.request(Method::POST, path).header("X-User-Id", unit).json(&body);
        let answer = client.send(request).await.expect_status(200).json();
        assert_eq!(answer["model_version"], version.as_str(), "{unit} by header");
    }
    let was = client.get("/api/v1/models/iris/route").await.json();
    engine.restart().await;
    let client = engine.admin().await;
    assert_eq!(client.get("/api/v1/models/iris/route").await.json(), was);
    assert_eq!(versions(&client, "iris", 200).await, before, "after a restart");
}

async fn a_change_of_weights_moves_only_the_units_it_must(topology: Topology) {
    let client = two_versions(shared(topology).await, "routing-weights").await;
    let put = async |first: f64, second: f64| {
        let route = client.put_route("routing-weights", &[(1, first), (2, second)]).await;
        route.expect_status(200).json()
    };
    let first = put(90.0, 10.0).await;
    let before = versions(&client, "routing-weights", 200).await;
    let second = put(80.0, 20.0).await;
    assert_eq!(second["generation"], first["generation"].as_u64().unwrap() + 1);
    assert_eq!(second["salt"], first["salt"]);
    let after = versions(&client, "routing-weights", 200).await;
    let back = before.iter().filter(|(unit, was)| *was == "2" && after[*unit] != "2").count();
    assert_eq!(back, 0, "nobody leaves an arm that grows");
    assert!(share(&after, "2") > share(&before, "2"));
    put(90.0, 10.0).await;
    let last = versions(&client, "routing-weights", 200).await;
    let new = last.iter().filter(|(unit, now)| *now == "2" && after[*unit] != "2").count();
    assert_eq!(new, 0, "nobody joins an arm that shrinks");
    assert!(share(&last, "2") < share(&after, "2"));
    put(0.0, 1.0).await;
    assert_eq!(share(&versions(&client, "routing-weights", 20).await, "2"), 20);
}

async fn a_prediction_says_how_it_was_chosen(topology: Topology) {
    let client = two_versions(shared(topology).await, "routing-record").await;
    let route = client.put_route("routing-record", &[(1, 3.0), (2, 1.0)]).await;
    let generation = route.expect_status(200).json()["generation"].clone();
    for unit in [Some("garden-7"), None] {
        let mut body = json!({"features": [5.1, 3.5, 1.4, 0.2]});
        if let Some(unit) = unit {
            body["unit"] = json!(unit);
        }
        let answer = client.predict("routing-record", &body).await.expect_status(200).json();
        let id = answer["prediction_id"].as_str().unwrap();
        let record = client.prediction(id).await.expect_status(200).json();
        assert_eq!(record["version"], answer["model_version"], "{record}");
        assert_eq!(record["input"]["json"], body, "{record}");
        assert_eq!(record["output"]["json"], answer, "{record}");
        let decision = &record["decision"];
        assert_eq!(decision["generation"], generation, "{record}");
        assert_eq!(decision["unit"], unit.map_or(Value::Null, |unit| json!(unit)), "{record}");
        let reason = if unit.is_some() { "unit" } else { "request" };
        assert_eq!(decision["reason"], reason, "{record}");
        let chance = if answer["model_version"] == "1" { 0.75 } else { 0.25 };
        assert_eq!(decision["propensity"], chance, "{record}");
    }
}

async fn a_stale_generation_is_409(topology: Topology) {
    let client = two_versions(shared(topology).await, "routing-stale").await;
    let path = "/api/v1/models/routing-stale/route";
    let change = |generation: u64| json!({"arms": [{"version": "2", "weight": 1}], "generation": generation});
    let now = client.get(path).await.json()["generation"].as_u64().unwrap();
    client.put(path, &change(now)).await.expect_status(200);
    let words = [&format!("generation {}", now + 1), "GET /api/v1/models"];
    client.put(path, &change(now)).await.expect_problem(409, "conflict", &[words[0], words[1]]);
    assert_eq!(client.get(path).await.json()["generation"], now + 1);
}

async fn an_unknown_version_in_a_route_is_422(topology: Topology) {
    let client = two_versions(shared(topology).await, "routing-unknown").await;
    let name = "routing-unknown";
    let put = async |arms: &[(u32, f64)], words: &[&str]| {
        client.put_route(name, arms).await.expect_problem(422, "unprocessable", words);
    };
    put(&[(1, 1.0), (7, 1.0)], &["#/arms/1/version", "`7`"]).await;
    put(&[(1, -1.0)], &["#/arms/0/weight", "-1"]).await;
    put(&[(1, 0.0)], &["#/arms", "zero"]).await;
    put(&[(1, 1.0), (1, 1.0)], &["#/arms/1/version", "twice"]).await;
    put(&[], &["#/arms"]).await;
    let route = client.get(&format!("/api/v1/models/{name}/route")).await.json();
    assert_eq!(route["generation"], 1, "a refused change changes nothing");
}
