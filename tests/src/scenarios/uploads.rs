//! A broken file never becomes a version.

use bytes::Bytes;
use serde_json::{Value, json};
use testkit::{Answer, Client, Topology, Upload, models, scenarios, shared};

scenarios!(
    a_truncated_graph_is_422,
    a_graph_with_flipped_bits_is_never_a_failure_of_ours,
    what_runs_code_when_loaded_is_422_with_the_recipe,
    an_unknown_operator_is_422_and_named,
    a_wrong_manifest_is_422_with_its_place,
    an_upload_without_files_is_422,
);

fn upload(name: &str, bytes: impl Into<Bytes>) -> Upload {
    Upload { manifest: None, files: vec![(name.to_owned(), bytes.into())] }
}

async fn model(topology: Topology, name: &str) -> Client {
    let client = shared(topology).await.admin().await;
    client.create_model(name).await.expect_status(201);
    client
}

async fn versions(client: &Client, model: &str) -> Vec<Value> {
    let path = format!("/api/v1/models/{model}/versions");
    let body = client.get(&path).await.expect_status(200).json();
    body["versions"].as_array().unwrap().clone()
}

/// Nothing was registered, and a good file still is.
async fn serves_on(client: &Client, model: &str) {
    assert!(versions(client, model).await.is_empty(), "nothing became a version");
    let good = models::committed("iris-logreg").upload();
    let version = client.upload_version(model, &good).await.expect_status(201).json();
    assert_eq!(version["version"], "1");
    let answer = client.predict(model, &json!({"features": [5.1, 3.5, 1.4, 0.2]})).await;
    answer.expect_status(200);
}

fn refused(answer: &Answer, words: &[&str]) {
    answer.expect_problem(422, "unprocessable", words);
}

async fn a_truncated_graph_is_422(topology: Topology) {
    let client = model(topology, "truncated").await;
    let graph = models::committed("iris-rf100").file("model.onnx");
    for length in [0, 1, 100, graph.len() / 2, graph.len() - 1] {
        let truncated = upload("model.onnx", graph.slice(..length));
        let answer = client.upload_version("truncated", &truncated);
        refused(&answer.await, &["model.onnx"]);
    }
    serves_on(&client, "truncated").await;
}

async fn a_graph_with_flipped_bits_is_never_a_failure_of_ours(topology: Topology) {
    let client = model(topology, "flipped").await;
    let graph = models::committed("iris-logreg").file("model.onnx");
    let mut refusals = 0;
    for step in 0..24 {
        let mut flipped = graph.to_vec();
        flipped[step * graph.len() / 24] ^= 0x80;
        let answer = client.upload_version("flipped", &upload("model.onnx", flipped)).await;
        // A flipped bit of a weight or a name leaves a graph that loads: another model.
        match answer.status {
            201 => {}
            _ => {
                refused(&answer, &[]);
                refusals += 1;
            }
        }
    }
    assert!(refusals > 0, "a flip in the frame of the file is noticed");
    let answer = client.predict("bare-after-flip", &json!({})).await;
    answer.expect_problem(404, "not_found", &[]);
}

async fn what_runs_code_when_loaded_is_422_with_the_recipe(topology: Topology) {
    let client = model(topology, "pickle").await;
    let pickle = b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00cos\nsystem\n";
    let recipe = "docs/bring-your-model.md";
    for (name, bytes) in [
        ("model.pkl", &pickle[..]),
        ("model.joblib", &pickle[..]),
        ("model.h5", b"\x89HDF\r\n\x1a\n"),
        ("model.pt", b"PK\x03\x04"),
        // The name says one thing, the bytes another.
        ("model.onnx", &pickle[..]),
    ] {
        let pickled = upload(name, Bytes::copy_from_slice(bytes));
        let answer = client.upload_version("pickle", &pickled);
        refused(&answer.await, &[name, recipe]);
    }
    serves_on(&client, "pickle").await;
}

async fn an_unknown_operator_is_422_and_named(topology: Topology) {
    let client = model(topology, "operator").await;
    let mut graph = models::committed("iris-logreg").file("model.onnx").to_vec();
    let known = b"LinearClassifier";
    let mut places = 0;
    for place in 0..graph.len() - known.len() {
        if graph[place..].starts_with(known) {
            graph[place..place + known.len()].copy_from_slice(b"LinearClassifieX");
            places += 1;
        }
    }
    assert!(places > 0);
    let answer = client.upload_version("operator", &upload("model.onnx", graph)).await;
    refused(&answer, &["LinearClassifieX", "operator"]);
    serves_on(&client, "operator").await;
}

async fn a_wrong_manifest_is_422_with_its_place(topology: Topology) {
    let client = model(topology, "manifest").await;
    let files = models::committed("iris-logreg").bare().files;
    let cases: Vec<(Value, &[&str])> = vec![
        (json!({"nmae": "iris"}), &["nmae"]),
        (json!({"version": "one"}), &["`version`", "\"one\""]),
        (json!({"features": [{"name": "a"}]}), &["features", "4"]),
        (json!({"labels": ["a", "b"]}), &["labels", "3"]),
        (json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]}), &["inputs"]),
        (json!([1]), &["object"]),
    ];
    for (manifest, words) in cases {
        let upload = Upload { manifest: Some(manifest), files: files.clone() };
        refused(&client.upload_version("manifest", &upload).await, words);
    }
    serves_on(&client, "manifest").await;
}

async fn an_upload_without_files_is_422(topology: Topology) {
    let client = model(topology, "empty").await;
    refused(&client.upload_version("empty", &Upload::default()).await, &["model.onnx"]);
    let answer = client.upload_version("empty", &upload("../model.onnx", "x")).await;
    refused(&answer, &["model.onnx"]);
    let answer = client.upload_version("no-such-model", &upload("model.onnx", "x")).await;
    answer.expect_problem(404, "not_found", &["no-such-model"]);
    serves_on(&client, "empty").await;
}
