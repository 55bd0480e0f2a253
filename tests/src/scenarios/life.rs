//! Start, stop, kill: what was answered is kept, what was asked is answered.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::server::Server;
use testkit::topology::Stores;
use testkit::{Client, Engine, Method, Setup, Topology, models, run, scenarios, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

scenarios!(
    killed_under_load_it_loses_no_answered_prediction,
    told_to_stop_it_ends_what_is_under_way,
    a_folder_in_use_is_refused,
);

/// Callers that ask at the same time.
const CALLERS: usize = 8;
/// Answers to wait for before the kill.
const ANSWERS: usize = 400;

async fn killed_under_load_it_loses_no_answered_prediction(topology: Topology) {
    let mut engine = Engine::start(Setup::new(topology)).await;
    let client = super::routing::two_versions(&engine, "iris").await;
    client.put_route("iris", &[(1, 50.0), (2, 50.0)]).await.expect_status(200);
    client.create_model_with("other", &models::committed("diabetes-gbr").upload()).await;
    let before = registry(&client).await;

    let answered: Arc<Mutex<Vec<String>>> = Arc::default();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| tokio::spawn(ask_until_it_is_gone(client.clone(), Arc::clone(&answered))))
        .collect();
    let enough = || async { (answered.lock().unwrap().len() >= ANSWERS).then_some(()) };
    until("enough answers", Duration::from_secs(60), enough).await;
    engine.kill9();
    for caller in callers {
        caller.await.unwrap();
    }

    engine.launch().await;
    let client = engine.admin().await;
    assert_eq!(registry(&client).await, before, "every model and route is back");
    let ids = answered.lock().unwrap().clone();
    for id in &ids {
        client.prediction(id).await.expect_status(200);
    }
    let path = "/api/v1/models/iris/metrics-summary";
    let summary = client.get(path).await.expect_status(200).json();
    let versions = summary["versions"].as_array().unwrap();
    let logged: u64 = versions.iter().map(|one| one["predictions"].as_u64().unwrap()).sum();
    // Of each caller, one answer may have been on its way: logged, and never received.
    let (least, most) = (ids.len() as u64, (ids.len() + CALLERS) as u64);
    assert!((least..=most).contains(&logged), "{logged} in the log, {least} answered");
    client.predict("iris", &json!({"features": [5.1, 3.5, 1.4, 0.2]})).await.expect_status(200);
}

#[test]
fn stores_are_brought_up_to_date_by_a_command_any_number_at_once() {
    run(Topology::Distributed, async {
        let stores = Stores::fresh().await;
        let folder = tempfile::tempdir().unwrap();
        let migrate = |name: &str, documents: &str| {
            let environment = [
                ("ENGINE__STORAGE__RELATIONAL", stores.relational.as_str()),
                ("ENGINE__STORAGE__DOCUMENTS", documents),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
            let arguments = ["migrate"];
            let program = "decision-engine";
            Server::start(name, program, &arguments, &environment, folder.path(), String::new())
        };
        let names = ["first", "second", "third"];
        let mut all = names.map(|name| migrate(name, &stores.documents));
        for one in &mut all {
            let status = one.wait(Duration::from_secs(60)).await;
            assert!(status.success() && one.log().contains("up to date"), "{}", one.log());
        }
        let mut nobody = migrate("nobody", "mongodb://127.0.0.1:9/engine");
        let status = nobody.wait(Duration::from_secs(60)).await;
        assert!(!status.success() && nobody.log().contains("127.0.0.1:9"), "{}", nobody.log());
        let mut setup = Setup::new(Topology::Distributed);
        (setup.gateways, setup.routers, setup.replicas) = (1, 1, 1);
        setup.stores = Some(stores.clone());
        Engine::start(setup).await;
    });
}

/// All models with their versions and routes.
async fn registry(client: &Client) -> Vec<Value> {
    let mut found = Vec::new();
    for name in ["iris", "other"] {
        found.push(client.get(&format!("/api/v1/models/{name}")).await.expect_status(200).json());
    }
    found
}

async fn ask_until_it_is_gone(client: Client, answered: Arc<Mutex<Vec<String>>>) {
    let body = json!({"features": [5.1, 3.5, 1.4, 0.2]});
    loop {
        let request = client.request(Method::POST, "/api/v1/models/iris/predict").json(&body);
        match client.try_send(request).await {
            Ok(answer) if answer.status == 200 => {
                let id = answer.json()["prediction_id"].as_str().unwrap().to_owned();
                answered.lock().unwrap().push(id);
            }
            // Services die one after the other; a gateway that still lives says so.
            Ok(answer) => assert!(answer.status >= 500, "{}", answer.text()),
            Err(_) => return,
        }
    }
}

async fn told_to_stop_it_ends_what_is_under_way(topology: Topology) {
    let mut engine = Engine::start(Setup::new(topology)).await;
    let client = engine.admin().await;
    client.create_model_with("iris", &models::committed("iris-logreg").upload()).await;
    let address = engine.base_url.trim_start_matches("http://").to_owned();
    let body = json!({"features": [5.1, 3.5, 1.4, 0.2]}).to_string();
    let mut connection = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /api/v1/models/iris/predict HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
        client.token(),
        body.len(),
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut said = vec![0; 25];
    connection.read_exact(&mut said).await.unwrap();
    assert_eq!(said, b"HTTP/1.1 100 Continue\r\n\r\n", "the request is under way");

    engine.server("gateway").signal("TERM");
    engine.server("gateway").wait_for_log("stopping", Duration::from_secs(30)).await;
    connection.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\"label\":\"setosa\""), "{answer}");
    let id = answer.split("\"prediction_id\":\"").nth(1).unwrap().split('"').next().unwrap();

    let status = engine.server_mut("gateway").wait(Duration::from_secs(60)).await;
    assert!(status.success(), "ended with {status}");
    if topology == Topology::Distributed {
        engine.stop_others("gateway").await;
    }
    engine.launch().await;
    engine.admin().await.prediction(id).await.expect_status(200);
}

async fn a_folder_in_use_is_refused(topology: Topology) {
    let engine = Engine::start(Setup::new(topology)).await;
    // The router holds state of its own: the spool.
    let mut second = engine.second("router");
    let status = second.wait(Duration::from_secs(60)).await;
    assert!(!status.success(), "two at once would mix their records");
    let log = second.log();
    assert!(log.contains("in use by another"), "{log}");
    engine.anonymous().get("/readyz").await.expect_status(200);
}
