//! What answers when a version fails.

use serde_json::{Value, json};
use testkit::client::Upload;
use testkit::{Client, Engine, Topology, models, scenarios, shared};

scenarios!(
    something_else_answers_for_a_version_that_fails,
    failures_are_on_record_and_count_for_nothing_else,
);

const GOOD: [f64; 4] = [5.1, 3.5, 1.4, 0.2];
/// More than the brittle model bears.
const TOO_MUCH: [f64; 4] = [500.0, 3.5, 1.4, 0.2];

/// A model whose first two versions are brittle, and whose third is not.
async fn brittle(engine: &Engine, name: &str) -> Client {
    let client = engine.admin().await;
    let sound = models::committed("iris-logreg").upload();
    let file = ("model.onnx".to_owned(), models::bytes("iris-brittle/model.onnx"));
    let upload = Upload { manifest: sound.manifest.clone(), files: vec![file] };
    client.create_model_with(name, &upload).await;
    client.upload_version(name, &upload).await.expect_status(201);
    client.upload_version(name, &sound).await.expect_status(201);
    client
}

async fn something_else_answers_for_a_version_that_fails(topology: Topology) {
    let name = "fallback-chain";
    let client = brittle(shared(topology).await, name).await;
    let put = async |fallback: Value| {
        let route = json!({"arms": [{"version": "1", "weight": 1}], "fallback": fallback});
        client.put(&format!("/api/v1/models/{name}/route"), &route).await.expect_status(200);
    };
    let ask = async |features: &[f64]| {
        let answer = client.predict(name, &json!({"features": features, "unit": "anna"})).await;
        let answer = answer.expect_status(200).json();
        let record = client.prediction(answer["prediction_id"].as_str().unwrap()).await;
        (answer, record.expect_status(200).json())
    };
    put(json!({"versions": ["2", "3"], "last_good": true, "default": "unknown"})).await;
    let (good, record) = ask(&GOOD).await;
    assert_eq!((&good["model_version"], &good["degraded"]), (&json!("1"), &json!(false)));
    assert!(record.get("degraded").is_none(), "{record}");

    let (answer, record) = ask(&TOO_MUCH).await;
    assert_eq!((&answer["model_version"], &answer["degraded"]), (&json!("3"), &json!(true)));
    assert_eq!(record["degraded"], json!({"by": "version", "error": "internal"}));
    assert_eq!((&record["version"], &record["decision"]["chosen"]), (&json!("3"), &json!("1")));

    put(json!({"versions": ["2"], "last_good": true, "default": "unknown"})).await;
    let (answer, record) = ask(&TOO_MUCH).await;
    assert_eq!((&answer["prediction"], &answer["degraded"]), (&json!("unknown"), &json!(true)));
    assert!(answer.get("model_version").is_none(), "{answer}");
    assert_eq!(record["degraded"]["by"], "default");
    assert_eq!(record["output"]["json"], answer);

    // What the client did wrong stays the client's to mend.
    let odd = client.predict(name, &json!({"features": ["x", 3.5, 1.4, 0.2]})).await;
    odd.expect_problem(422, "unprocessable", &["#/features/0"]);
    if topology == Topology::Embedded {
        let metrics = client.get("/metrics").await.text();
        for by in ["version", "default"] {
            let line = format!("engine_degraded_answers_total{{by=\"{by}\",model=\"{name}\"}} 1");
            assert!(metrics.contains(&line), "{line} is missing");
        }
    }
}

async fn failures_are_on_record_and_count_for_nothing_else(topology: Topology) {
    let name = "fallback-none";
    let client = brittle(shared(topology).await, name).await;
    let failed = client.predict(name, &json!({"features": TOO_MUCH})).await;
    failed.expect_problem(500, "internal", &[]);
    client.predict(name, &json!({"features": GOOD})).await.expect_status(200);
    let summary = async || {
        let path = format!("/api/v1/models/{name}/metrics-summary");
        let summary = client.get(&path).await.expect_status(200).json();
        (summary["versions"] != json!([])).then_some(summary)
    };
    let limit = std::time::Duration::from_secs(20);
    let summary = testkit::until("the log has it", limit, summary).await;
    assert_eq!(summary["versions"][0]["predictions"], 1, "{summary}");
}
