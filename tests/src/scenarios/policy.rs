//! What is ruled for a model, and who is told of its versions.

use domain::Role;
use serde_json::{Value, json};
use testkit::{Client, Topology, scenarios, shared};

scenarios!(
    a_policy_is_read_changed_and_refused,
    a_hidden_version_shows_nowhere,
    what_was_answered_before_is_hidden_too,
);

pub(super) fn path(model: &str) -> String {
    format!("/api/v1/models/{model}/policy")
}

/// Puts a policy in force.
pub(super) async fn put(client: &Client, model: &str, policy: &Value) -> Value {
    client.put(&path(model), policy).await.expect_status(200).json()
}

fn hidden_from_clients() -> Value {
    json!({"version_shown_to": ["admin", "engineer", "analyst"]})
}

async fn a_policy_is_read_changed_and_refused(topology: Topology) {
    let engine = shared(topology).await;
    let client = super::routing::two_versions(engine, "policy-life").await;
    let before = client.get(&path("policy-life")).await.expect_status(200).json();
    assert_eq!(before["revision"], 0);
    let all = json!(["admin", "engineer", "analyst", "client"]);
    assert_eq!(before["version_shown_to"], all);

    let first = put(&client, "policy-life", &json!({"cache": {"ttl_s": 60}})).await;
    assert_eq!((&first["revision"], &first["cache"]["ttl_s"]), (&json!(1), &json!(60)));
    assert_eq!(first["cache"]["shared"], false);
    let detail = client.get("/api/v1/models/policy-life").await.json();
    assert_eq!(detail["policy"], first);
    assert_eq!(client.get(&path("policy-life")).await.json(), first);
    let second = put(&client, "policy-life", &json!({"revision": 1})).await;
    assert_eq!((&second["revision"], second.get("cache")), (&json!(2), None));

    let refused = async |policy: Value, status, code, words: &[&str]| {
        client.put(&path("policy-life"), &policy).await.expect_problem(status, code, words);
    };
    refused(json!({"revision": 1}), 409, "conflict", &["revision 2, not 1"]).await;
    let nothing = json!({"cache": {"ttl_s": 0}});
    refused(nothing, 422, "unprocessable", &["#/cache/ttl_s", "`0`", "max_ttl_s"]).await;
    let blind = json!({"version_shown_to": ["admin", "client"]});
    refused(blind, 422, "unprocessable", &["#/version_shown_to", "`engineer`"]).await;
    for misspelt in [json!({"cache": {"ttl": 1}}), json!({"version_shown_to": ["boss"]})] {
        let status = client.put(&path("policy-life"), &misspelt).await.status;
        assert!((400..=422).contains(&status), "{misspelt}: {status}");
    }
    assert_eq!(client.get(&path("policy-life")).await.json(), second, "nothing was changed");
    client.put(&path("absent"), &json!({})).await.expect_problem(404, "not_found", &["absent"]);

    let analyst = engine.sign_in_as(Role::Analyst).await;
    assert_eq!(analyst.get(&path("policy-life")).await.json(), second);
    analyst.put(&path("policy-life"), &json!({})).await.expect_status(403);
    let stranger = engine.sign_in_as(Role::Client).await;
    stranger.get(&path("policy-life")).await.expect_status(403);
    let detail = stranger.get("/api/v1/models/policy-life").await.expect_status(200).json();
    assert_eq!(detail.get("policy"), None, "a policy is no client's business");
}

async fn a_hidden_version_shows_nowhere(topology: Topology) {
    let name = "policy-hidden";
    let engine = shared(topology).await;
    let admin = super::routing::two_versions(engine, name).await;
    let alias = format!("/api/v1/models/{name}/aliases/champion");
    admin.put(&alias, &json!({"version": "2"})).await.expect_status(200);
    put(&admin, name, &hidden_from_clients()).await;
    let client = engine.sign_in_as(Role::Client).await;
    let ask = json!({"features": [5.1, 3.5, 1.4, 0.2]});

    let answer = client.predict(name, &ask).await;
    let natural = answer.expect_status(200).json();
    assert_eq!(natural.get("model_version"), None, "{natural}");
    let id = natural["prediction_id"].as_str().unwrap();
    let record = client.prediction(id).await.expect_status(200).json();
    assert_eq!((record.get("version"), record.get("decision")), (None, None), "{record}");
    let record = admin.prediction(id).await.expect_status(200).json();
    assert_eq!(record["version"], "1", "it is known all the same");

    let tensor =
        json!({"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]});
    let meta = client.get(&format!("/v2/models/{name}")).await.expect_status(200).json();
    assert_eq!(meta.get("versions"), None, "{meta}");
    let mut tensor = tensor;
    tensor["name"] = meta["inputs"][0]["name"].clone();
    let v2 = client.infer(name, &json!({"inputs": [tensor]})).await.expect_status(200).json();
    assert_eq!(v2.get("model_version"), None, "{v2}");
    assert!(v2["parameters"]["prediction_id"].is_string(), "{v2}");

    for path in [
        format!("/api/v1/models/{name}/versions"),
        format!("/api/v1/models/{name}/versions/1"),
        format!("/api/v1/models/{name}/versions/1/card"),
        format!("/api/v1/models/{name}/route"),
        format!("/v2/models/{name}/versions/1"),
        format!("/v2/models/{name}/versions/2/ready"),
        format!("/v2/models/{name}/versions/9/ready"),
    ] {
        client.get(&path).await.expect_status(403);
        admin.get(&path).await.expect_status(if path.contains("/9/") { 404 } else { 200 });
    }
    let pinned = format!("/v2/models/{name}/versions/2/infer");
    client.post(&pinned, &json!({"inputs": []})).await.expect_status(403);
    engine.anonymous().get(&format!("/v2/models/{name}/versions/2/ready")).await.expect_status(403);
    client.get(&format!("/v2/models/{name}/ready")).await.expect_status(200);

    let detail = client.get(&format!("/api/v1/models/{name}")).await.expect_status(200).json();
    assert_eq!((&detail["versions"], &detail["aliases"]), (&json!([]), &json!({})), "{detail}");
    assert!(detail["route"].is_null(), "{detail}");
    assert_eq!(detail["interface"]["features"].as_array().map(Vec::len), Some(4), "{detail}");
    let listed = client.get("/api/v1/models").await.expect_status(200).json();
    let listed = listed["models"].as_array().unwrap().iter().find(|one| one["name"] == name);
    assert_eq!(listed.unwrap()["aliases"], json!({}));
    let index = client.post("/v2/repository/index", &json!({})).await.expect_status(200).json();
    let entries = index.as_array().unwrap().iter().filter(|one| one["name"] == name);
    let entries: Vec<_> = entries.collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!((entries[0].get("version"), &entries[0]["state"]), (None, &json!("READY")));

    // What cannot answer does not tell which version it is, either.
    admin
        .post(&format!("/v2/repository/models/{name}/unload"), &json!({}))
        .await
        .expect_status(200);
    let gone = client.predict(name, &ask).await;
    gone.expect_problem(503, "unavailable", &[name]);
    assert!(!gone.text().contains("version"), "{}", gone.text());
    assert!(admin.predict(name, &ask).await.text().contains("version 1"));
}

async fn what_was_answered_before_is_hidden_too(topology: Topology) {
    let name = "policy-later";
    let engine = shared(topology).await;
    let admin = super::routing::two_versions(engine, name).await;
    let client = engine.sign_in_as(Role::Client).await;
    let ask = json!({"features": [5.1, 3.5, 1.4, 0.2]});
    let answer = client.predict(name, &ask).await.expect_status(200).json();
    assert_eq!(answer["model_version"], "1");
    let id = answer["prediction_id"].as_str().unwrap();
    client.prediction(id).await.expect_status(200);

    put(&admin, name, &hidden_from_clients()).await;
    for _ in 0..4 {
        let record = client.prediction(id).await.expect_status(200).json();
        assert!(!record.to_string().contains("version"), "{record}");
        assert_eq!(record["output"]["json"]["label"], "setosa", "{record}");
        let answer = client.predict(name, &ask).await.expect_status(200).json();
        assert_eq!(answer.get("model_version"), None, "in force in every router: {answer}");
    }
    put(&admin, name, &json!({})).await;
    let record = client.prediction(id).await.expect_status(200).json();
    assert_eq!((&record["version"], &record["output"]["json"]), (&json!("1"), &answer));
}
