//! What really happened, and what live predictions look like.

mod many;

use domain::Role;
use serde_json::{Value, json};
use testkit::{Topology, models, scenarios, shared};

scenarios!(
    feedback_comes_back,
    feedback_without_an_outcome_is_422,
    a_summary_counts_by_version_and_label,
);

async fn feedback_comes_back(topology: Topology) {
    let engine = shared(topology).await;
    let admin = engine.admin().await;
    admin.create_model_with("feedback", &models::committed("iris-logreg").upload()).await;
    let client = engine.sign_in_as(Role::Client).await;
    let answer = client.predict("feedback", &json!({"features": [5.1, 3.5, 1.4, 0.2]})).await;
    let id = answer.expect_status(200).json()["prediction_id"].clone();
    client.prediction(id.as_str().unwrap()).await.expect_status(200);
    let truth = json!({"prediction_id": id, "label": "setosa"});
    let first = client.post("/api/v1/feedback", &truth).await.expect_status(202).json();
    assert_eq!(first, json!({"prediction_known": true, "new": true}));
    let again = client.post("/api/v1/feedback", &truth).await.expect_status(202).json();
    assert_eq!(again["new"], false, "the same again changes nothing");
    let analyst = engine.sign_in_as(Role::Analyst).await;
    let path = format!("/api/v1/predictions/{}/feedback", id.as_str().unwrap());
    let known = analyst.get(&path).await.expect_status(200).json();
    let list = known["feedback"].as_array().unwrap();
    assert_eq!(list.len(), 1, "{known}");
    assert_eq!(list[0]["outcome"], json!({"label": "setosa"}), "{known}");
    // Ground truth may come before the record.
    let early = "01990000-0000-7000-8000-0000000000ff";
    let truth = json!({"prediction_id": early, "value": 1.5});
    let answer = client.post("/api/v1/feedback", &truth).await.expect_status(202).json();
    assert_eq!(answer["prediction_known"], false, "{answer}");
}

async fn feedback_without_an_outcome_is_422(topology: Topology) {
    let client = shared(topology).await.sign_in_as(Role::Client).await;
    let id = "01990000-0000-7000-8000-0000000000fe";
    for body in [
        json!({"prediction_id": id}),
        json!({"prediction_id": id, "label": "a", "value": 1}),
        json!({"prediction_id": "abc", "label": "a"}),
        json!({"prediction_id": id, "lable": "a"}),
    ] {
        let answer = client.post("/api/v1/feedback", &body).await;
        answer.expect_problem(422, "unprocessable", &[]);
    }
}

async fn a_summary_counts_by_version_and_label(topology: Topology) {
    let client = super::routing::two_versions(shared(topology).await, "summary").await;
    for (version, count) in [(1, 3), (2, 2)] {
        client.put_route("summary", &[(version, 1.0)]).await.expect_status(200);
        for _ in 0..count {
            let body = json!({"features": [5.1, 3.5, 1.4, 0.2]});
            let answer = client.predict("summary", &body).await.expect_status(200).json();
            // Once the record can be read, the log has it.
            let id = answer["prediction_id"].as_str().unwrap();
            client.prediction(id).await.expect_status(200);
        }
    }
    let path = "/api/v1/models/summary/metrics-summary?window_s=600";
    let summary = client.get(path).await.expect_status(200).json();
    let versions = summary["versions"].as_array().unwrap();
    let of = |version: &str| -> &Value {
        versions.iter().find(|one| one["version"] == version).unwrap()
    };
    for (version, count) in [("1", 3), ("2", 2)] {
        let one = of(version);
        assert_eq!(one["predictions"], count, "{summary}");
        assert_eq!(one["labels"], json!({"setosa": count}), "{summary}");
        assert!(one["mean_confidence"].as_f64().unwrap() > 0.9, "{summary}");
        let latency = &one["latency_ms"];
        assert!(latency["p50"].as_f64().unwrap() > 0.0, "{summary}");
        assert!(latency["p50"].as_f64() <= latency["p99"].as_f64(), "{summary}");
    }
    let wrong = client.get("/api/v1/models/summary/metrics-summary?window_s=0").await;
    wrong.expect_problem(422, "unprocessable", &["window_s"]);
    let wrong = client.get("/api/v1/models/summary/metrics-summary?windw=5").await;
    assert_eq!(wrong.status, 400, "{}", wrong.text());
}
