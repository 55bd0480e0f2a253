//! What logs hold, and what they never hold.

use std::time::Duration;

use domain::Role;
use serde_json::json;
use testkit::{Client, Engine, Method, PASSWORD, Topology, models, scenarios, shared, until};

scenarios!(
    logs_name_the_request_and_hold_no_secret,
    a_client_does_not_choose_the_address_that_is_logged,
);

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
            .request(Method::POST, path)
            .header("x-request-id", "logs-scenario-1")
            .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
            .json(&body);
        let answer = client.send(request).await;
        assert_eq!(answer.header("x-request-id"), "logs-scenario-1");
    }
    let wrong = json!({"username": "admin", "password": "wrong-guess-1234"});
    engine.anonymous().post("/api/v1/auth/token", &wrong).await.expect_status(401);
    engine.with_token("not-a-token-5678").get("/api/v1/models").await.expect_status(401);
    let named = || async {
        let logs = engine.logs();
        ["logs-scenario-1", trace].iter().all(|word| logs.contains(word)).then_some(())
    };
    until("the logs name request and trace", Duration::from_secs(30), named).await;
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

async fn a_client_does_not_choose_the_address_that_is_logged(topology: Topology) {
    let engine = shared(topology).await;
    let forged = "203.0.113.9";
    let line = logged_address(engine, &engine.anonymous(), forged, "forged-1").await;
    assert!(line.contains("127.0.0.1") && !line.contains(forged), "{line}");
    if topology == Topology::Distributed {
        // A gateway believes nginx, and that is at the same address as these tests.
        let gateway = engine.anonymous().at(&engine.server("gateway").url);
        let line = logged_address(engine, &gateway, forged, "passed-on-1").await;
        assert!(line.contains(forged), "{line}");
    }
}

/// The line of the log that names the address of a client who says that it is at another one.
async fn logged_address(engine: &Engine, client: &Client, forged: &str, id: &str) -> String {
    let request = client.request(Method::GET, "/v2").header("x-forwarded-for", forged);
    client.send(request.header("x-request-id", id)).await.expect_status(200);
    let line = || async {
        let logs = engine.logs();
        let mut lines = logs.lines();
        lines.find(|line| line.contains(id) && line.contains("client.address")).map(str::to_owned)
    };
    until("the request is logged", Duration::from_secs(30), line).await
}
