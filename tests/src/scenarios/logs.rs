//! What logs hold, and what they never hold.

use domain::Role;
use serde_json::json;
use testkit::{PASSWORD, Topology, models, scenarios, shared};

scenarios!(logs_name_the_request_and_hold_no_secret);

async fn logs_name_the_request_and_hold_no_secret(topology: Topology) {
    let engine = shared(topology).await;
    let admin = engine.admin().await;
    admin.create_model_with("logs", &models::committed("iris-logreg").upload()).await;
    let client = engine.sign_in_as(Role::Client).await;
    let path = "/api/v1/models/logs/predict";
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for body in
        [json!({"features": [5.1234567, 3.5, 1.4, 0.2]}), json!({"features": ["5.7654321"]})]
    {
        let request = client
            .request(testkit::Method::POST, path)
            .header("x-request-id", "logs-scenario-1")
            .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
            .json(&body);
        let answer = client.send(request).await;
        assert_eq!(answer.header("x-request-id"), "logs-scenario-1");
    }
    let wrong = json!({"username": "admin", "password": "wrong-guess-1234"});
    engine.anonymous().post("/api/v1/auth/token", &wrong).await.expect_status(401);
    engine.with_token("not-a-token-5678").get("/api/v1/models").await.expect_status(401);
    let gateway = engine.server("gateway");
    let limit = std::time::Duration::from_secs(30);
    gateway.wait_for_log("logs-scenario-1", limit).await;
    gateway.wait_for_log(trace, limit).await;
    let logs = engine.logs();
    for secret in [
        PASSWORD,
        admin.token(),
        client.token(),
        "5.1234567",
        "5.7654321",
        "wrong-guess-1234",
        "not-a-token-5678",
    ] {
        assert!(!logs.contains(secret), "`{secret}` is in the logs");
    }
}
