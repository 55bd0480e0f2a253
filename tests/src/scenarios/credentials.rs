//! Sessions and API keys through the door, what is on record of them, and the command line.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{
    Client, Engine, Method, PASSWORD, Setup, Topology, models, scenarios, shared, until,
};

scenarios!(
    a_session_is_refreshed_and_ended,
    a_key_predicts_until_it_is_revoked,
    what_was_done_and_refused_is_on_record,
    the_command_line_handles_a_running_engine,
);

async fn made_key(engine: &Engine, body: &Value) -> (String, Client) {
    let made = engine.admin().await.post("/api/v1/api-keys", body).await.expect_status(201).json();
    let key = engine.with_token(made["key"].as_str().unwrap());
    (made["api_key"]["id"].as_str().unwrap().to_owned(), key)
}

async fn a_session_is_refreshed_and_ended(topology: Topology) {
    let engine = shared(topology).await;
    engine.admin().await;
    let client = engine.anonymous();
    let body = json!({"username": "admin", "password": PASSWORD});
    let first = client.post("/api/v1/auth/token", &body).await.expect_status(200).json();
    let refresh = async |token: &Value| {
        client.post("/api/v1/auth/refresh", &json!({"refresh_token": token["refresh_token"]})).await
    };
    let second = refresh(&first).await.expect_status(200).json();
    let signed_in = engine.with_token(second["access_token"].as_str().unwrap());
    signed_in.get("/api/v1/auth/me").await.expect_status(200);
    refresh(&first).await.expect_problem(401, "unauthenticated", &["used before"]);
    let out = || async { (signed_in.get("/api/v1/auth/me").await.status == 401).then_some(()) };
    until("the session's tokens refused", Duration::from_secs(1), out).await;
    refresh(&second).await.expect_problem(401, "unauthenticated", &["session is over"]);
}

async fn a_key_predicts_until_it_is_revoked(topology: Topology) {
    let mut setup = Setup::new(topology);
    setup.gateways = 3;
    let engine = Engine::start(setup).await;
    let admin = engine.admin().await;
    admin.create_model_with("iris", &models::demo("iris").upload()).await;
    let scope = json!({"models": ["iris"], "routes": ["POST /api/v1/models/{model}/predict"]});
    let (id, key) =
        made_key(&engine, &json!({"name": "shop", "role": "client", "scope": scope})).await;
    let doors: Vec<Client> = engine
        .servers()
        .iter()
        .filter(|server| topology == Topology::Embedded || server.name.starts_with("gateway"))
        .map(|server| key.at(&server.url))
        .collect();
    assert_eq!(doors.len(), if topology == Topology::Embedded { 1 } else { 3 });
    let input = json!({"features": [5.1, 3.5, 1.4, 0.2]});
    for door in &doors {
        door.predict("iris", &input).await.expect_status(200);
        door.get("/api/v1/models").await.expect_problem(403, "forbidden", &["GET /api/v1/models"]);
    }
    // The other header for the same.
    let plain = engine.anonymous();
    let path = "/api/v1/models/iris/predict";
    let request = plain.request(Method::POST, path).header("x-api-key", key.token()).json(&input);
    plain.send(request).await.expect_status(200);

    let request = admin.request(Method::DELETE, &format!("/api/v1/api-keys/{id}"));
    admin.send(request).await.expect_status(200);
    let begun = Instant::now();
    for door in &doors {
        let out = || async { (door.predict("iris", &input).await.status == 401).then_some(()) };
        until("the key refused", Duration::from_secs(1), out).await;
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
}

async fn what_was_done_and_refused_is_on_record(topology: Topology) {
    let engine = Engine::start(Setup::new(topology)).await;
    let admin = engine.admin().await;
    let client = engine.sign_in_as(domain::Role::Client).await;
    admin.create_model_with("iris", &models::demo("iris").upload()).await;
    let route = json!({"arms": [{"version": "1", "weight": 1}]});
    let request = admin.request(Method::PUT, "/api/v1/models/iris/route").json(&route);
    let request = request.header("x-request-id", "my-route");
    admin.send(request).await.expect_status(200);
    for _ in 0..5 {
        client.get("/api/v1/users").await.expect_status(403);
    }
    let refused = || async {
        let page = admin.get("/api/v1/audit?action=request").await.expect_status(200).json();
        let entries = page["entries"].as_array().unwrap().clone();
        let of_client = |entry: &&Value| entry["target"] == "GET /api/v1/users";
        let counts =
            entries.iter().filter(of_client).map(|entry| entry["count"].as_u64().unwrap_or(1));
        (counts.sum::<u64>() == 5).then_some(entries)
    };
    let entries = until("five refusals on record", Duration::from_secs(5), refused).await;
    assert_eq!(entries[0]["actor"]["name"], "client");
    assert_eq!(entries[0]["outcome"], "refused");
    assert!(entries[0]["client"].is_string(), "{}", entries[0]);

    let page = admin.get("/api/v1/audit?target=model:iris&after=0").await.expect_status(200).json();
    let entries = page["entries"].as_array().unwrap();
    let actions: Vec<_> = entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["model.create", "version.create", "route.put"]);
    let put = &entries[2];
    assert_eq!(put["request_id"], "my-route");
    assert_eq!(put["before"]["generation"], 1);
    assert_eq!(put["after"]["generation"], 2);
    let verdict = admin.get("/api/v1/audit/verify").await.expect_status(200).json();
    assert_eq!(verdict["whole"], true, "{verdict}");
    let lines = admin.get("/api/v1/audit?after=0&format=ndjson").await.expect_status(200).text();
    for (place, line) in lines.lines().enumerate() {
        let entry: Value = serde_json::from_str(line).unwrap();
        assert_eq!(entry["seq"], place + 1);
    }
    assert!(!lines.contains(PASSWORD));
}

/// Runs the command line against an engine.
pub(super) fn run(engine: &Engine, token: &str, arguments: &[&str]) -> Output {
    let program = testkit::server::program("decision-engine");
    let mut command = Command::new(program);
    command.args(arguments).env("ENGINE_URL", &engine.base_url).env("ENGINE_TOKEN", token);
    command.current_dir(engine.folder()).output().unwrap()
}

async fn the_command_line_handles_a_running_engine(topology: Topology) {
    let engine = shared(topology).await;
    let admin = engine.admin().await;
    let name = format!("cli-{topology:?}").to_lowercase();
    let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let made = run(engine, admin.token(), &["user", "create", &name, "--role", "analyst"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let said = text(&made);
    let password = said.lines().next().unwrap().rsplit(' ').next().unwrap();
    let body = json!({"username": name, "password": password});
    engine.anonymous().post("/api/v1/auth/token", &body).await.expect_status(200);
    let made = run(engine, admin.token(), &["key", "create", &name, "--role", "client", "--json"]);
    let shown: Value = serde_json::from_str(&text(&made)).unwrap();
    let key = engine.with_token(shown["key"].as_str().unwrap());
    key.get("/api/v1/models").await.expect_status(200);
    let id = shown["api_key"]["id"].as_str().unwrap();
    assert!(run(engine, admin.token(), &["key", "revoke", id]).status.success());
    assert!(run(engine, admin.token(), &["user", "disable", &name]).status.success());
    let listed = text(&run(engine, admin.token(), &["user", "list"]));
    assert!(listed.lines().any(|line| line.contains(&name)), "{listed}");
    let verdict = run(engine, admin.token(), &["audit", "verify"]);
    assert!(verdict.status.success() && text(&verdict).contains("true"), "{}", text(&verdict));
    let refused = run(engine, "not-a-token", &["user", "list"]);
    assert!(!refused.status.success());
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains("bearer token refused"), "{error}");
}
