//! `proto-free-contracts/examples`: each request there gets the answer beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use testkit::{Engine, Method, Setup, Topology, compare, models, scenarios};

scenarios!(the_examples_are_true);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    about: String,
    request: Request,
    answer: Answer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    status: u16,
    content_type: String,
    body: Value,
}

async fn the_examples_are_true(topology: Topology) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto-free-contracts/examples");
    let mut files: Vec<_> =
        fs::read_dir(Path::new(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    assert!(files.len() >= 10, "the folder holds examples");
    let engine = Engine::start(Setup::new(topology)).await;
    let client = super::routing::two_versions(&engine, "iris").await;
    client.create_model_with("house", &models::committed("diabetes-gbr").upload()).await;
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy();
        let text = fs::read_to_string(&file).unwrap();
        let example: Example =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!example.about.is_empty(), "{name} says what it shows");
        let method = Method::from_bytes(example.request.method.as_bytes()).unwrap();
        let mut request = client.request(method, &example.request.path);
        for (header, value) in &example.request.headers {
            request = request.header(header, value);
        }
        if let Some(body) = &example.request.body {
            request = request.json(body);
        }
        let answer = client.send(request).await;
        assert_eq!(answer.status, example.answer.status, "{name}: {}", answer.text());
        assert_eq!(answer.header("content-type"), example.answer.content_type, "{name}");
        if let Err(place) = compare(&example.answer.body, &answer.json()) {
            panic!("{name} differs at {place}\nanswered: {}", answer.text());
        }
    }
}
