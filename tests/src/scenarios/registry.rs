//! Models, versions, aliases, cards; and files that were changed behind the engine's back.

use std::fs;
use std::time::Duration;

use serde_json::json;
use testkit::{Engine, Setup, Topology, models, scenarios, shared, until};

scenarios!(
    versions_are_counted_up,
    two_uploads_at_once_get_two_numbers,
    aliases_are_set_moved_and_removed,
    a_card_is_rendered,
    a_name_that_is_taken_is_409,
    a_tampered_file_is_not_served,
);

async fn versions_are_counted_up(topology: Topology) {
    let client = shared(topology).await.admin().await;
    let folder = models::committed("iris-logreg");
    client.create_model("registry-count").await.expect_status(201);
    for number in 1..=3 {
        let answer = client.upload_version("registry-count", &folder.upload()).await;
        let version = answer.expect_status(201).json();
        assert_eq!(version["version"], number.to_string(), "{version}");
        assert_eq!(version["manifest"]["version"], "1.0.0", "the author's own: {version}");
        assert_eq!(version["created_by"], "admin", "{version}");
        let mut files = version["files"].as_array().unwrap().iter();
        let file = files.find(|file| file["name"] == "model.onnx").unwrap();
        assert_eq!(file["sha256"], folder.card["file"]["sha256"], "{version}");
    }
    let detail = client.get("/api/v1/models/registry-count").await.expect_status(200).json();
    assert_eq!(detail["versions"].as_array().unwrap().len(), 3);
    assert_eq!(detail["route"]["arms"][0]["version"], "1", "the first one serves: {detail}");
    let list = client.get("/api/v1/models").await.expect_status(200).json();
    let found = list["models"].as_array().unwrap().iter();
    assert_eq!(found.filter(|model| model["name"] == "registry-count").count(), 1);
}

async fn two_uploads_at_once_get_two_numbers(topology: Topology) {
    let client = shared(topology).await.admin().await;
    client.create_model("registry-twice").await.expect_status(201);
    let upload = models::committed("iris-logreg").upload();
    let one = || client.upload_version("registry-twice", &upload);
    let answers = futures_util::future::join_all([one(), one(), one(), one()]).await;
    let mut numbers: Vec<String> = answers
        .iter()
        .map(|answer| answer.expect_status(201).json()["version"].as_str().unwrap().to_owned())
        .collect();
    numbers.sort();
    assert_eq!(numbers, ["1", "2", "3", "4"]);
    let body = json!({"features": [5.1, 3.5, 1.4, 0.2]});
    client.predict("registry-twice", &body).await.expect_status(200);
}

async fn aliases_are_set_moved_and_removed(topology: Topology) {
    let client = super::routing::two_versions(shared(topology).await, "registry-alias").await;
    let path = "/api/v1/models/registry-alias/aliases/champion";
    for version in ["1", "2"] {
        let model = client.put(path, &json!({"version": version})).await.expect_status(200).json();
        assert_eq!(model["aliases"]["champion"], version, "{model}");
    }
    let answer = client.put(path, &json!({"version": "9"})).await;
    assert!([404, 422].contains(&answer.status), "{}", answer.text());
    let removed = client.send(client.request(testkit::Method::DELETE, path)).await;
    assert_eq!(removed.expect_status(200).json()["aliases"], json!({}));
}

async fn a_card_is_rendered(topology: Topology) {
    let client = shared(topology).await.admin().await;
    client.create_model_with("registry-card", &models::committed("diabetes-gbr").upload()).await;
    let answer = client.get("/api/v1/models/registry-card/versions/1/card").await;
    assert!(answer.expect_status(200).header("content-type").starts_with("text/markdown"));
    let card = answer.text();
    for fact in ["scikit-learn 1.9.1", "GradientBoostingRegressor", "bmi", "r2", "model.onnx"] {
        assert!(card.contains(fact), "`{fact}` is not in the card:\n{card}");
    }
}

async fn a_name_that_is_taken_is_409(topology: Topology) {
    let client = shared(topology).await.admin().await;
    client.create_model("registry-taken").await.expect_status(201);
    let answer = client.create_model("registry-taken").await;
    answer.expect_problem(409, "conflict", &["registry-taken"]);
}

async fn a_tampered_file_is_not_served(topology: Topology) {
    let mut engine = Engine::start(Setup::new(topology)).await;
    let client = engine.admin().await;
    let (whole, changed) = (models::committed("iris-logreg"), models::committed("iris-rf100"));
    client.create_model_with("whole", &whole.upload()).await;
    client.create_model_with("changed", &changed.upload()).await;
    engine.stop().await;
    let digest = changed.card["file"]["sha256"].as_str().unwrap().to_owned();
    let (folder, file) = digest.split_at(2);
    let path = engine.artifacts().join(folder).join(file);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();

    engine.launch_not_ready().await;
    let client = engine.admin().await;
    let body = json!({"features": [5.1, 3.5, 1.4, 0.2]});
    let client = &client;
    let body = &body;
    let serves = || async { (client.predict("whole", body).await.status == 200).then_some(()) };
    until("the other model serves", Duration::from_secs(60), serves).await;
    let answer = client.predict("changed", body).await;
    assert!([422, 503].contains(&answer.status), "{}", answer.text());
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(&digest), "it names the file: {detail}");
    let ready = client.get("/readyz").await.expect_status(503).json();
    assert!(ready["checks"]["models"].as_str().unwrap().contains("changed 1"), "{ready}");
    let told = || async {
        let index = client.post("/v2/repository/index", &json!({})).await.expect_status(200).json();
        let entries = index.as_array().unwrap().clone();
        let entry = entries.into_iter().find(|entry| entry["name"] == "changed").unwrap();
        let reason = entry["reason"].as_str().unwrap().to_owned();
        (entry["state"] == "UNAVAILABLE" && reason.contains(&digest)).then_some(())
    };
    until("the index tells the state and why", Duration::from_secs(30), told).await;

    // The same upload mends it.
    client.upload_version("changed", &changed.upload()).await.expect_status(201);
    engine.until_ready().await;
    client.predict("changed", body).await.expect_status(200);
}
