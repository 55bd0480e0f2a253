//! What is done once, however often it is sent.

use domain::Role;
use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::topology::Stores;
use testkit::{
    Answer, Client, Engine, Method, PrivateServer, Setup, Topology, models, run, scenarios, shared,
};

scenarios!(
    a_repeat_gets_the_first_answer,
    another_request_under_the_same_key_is_422,
    a_key_is_its_clients_own,
    of_many_at_once_one_is_done,
    a_refusal_is_kept_and_a_malformed_request_is_not,
    an_upload_is_done_once,
    what_holds_a_secret_is_not_kept,
    a_key_that_is_none_is_400,
    a_large_answer_is_not_kept,
    it_is_known_after_a_restart_if_the_store_is_shared,
);

const MODELS: &str = "/api/v1/models";

fn is_replay(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == "true"
}

async fn models_named(client: &Client, start: &str) -> usize {
    let listed: Value = client.get(MODELS).await.expect_status(200).json();
    let names = listed["models"].as_array().unwrap().iter();
    names.filter(|model| model["name"].as_str().unwrap().starts_with(start)).count()
}

async fn a_repeat_gets_the_first_answer(topology: Topology) {
    let client = shared(topology).await.sign_in_as(Role::Engineer).await;
    let body = json!({"name": "once-repeat"});
    let first = client.post_once(MODELS, &body, "\"repeat-1\"").await;
    assert!(!is_replay(first.expect_status(201)));
    for key in ["\"repeat-1\"", "repeat-1"] {
        let again = client.post_once(MODELS, &body, key).await;
        assert!(is_replay(again.expect_status(201)), "{:?}", again.headers);
        assert_eq!(again.body, first.body);
        assert_eq!(again.header("content-type"), first.header("content-type"));
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    }
    client.post(MODELS, &body).await.expect_problem(409, "conflict", &[]);
    client.post_once(MODELS, &body, "repeat-2").await.expect_problem(409, "conflict", &[]);
    // A prediction is another one each time.
    let asked = json!({"features": [1]});
    for _ in 0..2 {
        let path = "/api/v1/models/once-repeat/predict";
        assert!(!is_replay(&client.post_once(path, &asked, "repeat-1").await));
    }
}

async fn another_request_under_the_same_key_is_422(topology: Topology) {
    let client = shared(topology).await.sign_in_as(Role::Engineer).await;
    let name = |name: &str| json!({"name": name});
    client.post_once(MODELS, &name("once-a"), "mismatch-1").await.expect_status(201);
    let other = client.post_once(MODELS, &name("once-b"), "mismatch-1").await;
    other.expect_problem(422, "unprocessable", &["`mismatch-1`", "another request"]);
    client.get("/api/v1/models/once-b").await.expect_status(404);
    // The same key at another route is another key.
    let feedback = json!({"prediction_id": "0199f3a4-0000-7000-8000-000000000000", "label": "a"});
    let elsewhere = client.post_once("/api/v1/feedback", &feedback, "mismatch-1").await;
    assert!(!is_replay(elsewhere.expect_status(202)));
}

async fn a_key_is_its_clients_own(topology: Topology) {
    let engine = shared(topology).await;
    let (ada, bob) = (engine.sign_in_as(Role::Engineer).await, engine.admin().await);
    ada.post_once(MODELS, &json!({"name": "once-ada"}), "own-1").await.expect_status(201);
    let other = bob.post_once(MODELS, &json!({"name": "once-bob"}), "own-1").await;
    assert!(!is_replay(other.expect_status(201)));
    // Whoever may not do it gets no answer of those who may.
    let client = engine.sign_in_as(Role::Client).await;
    client.post_once(MODELS, &json!({"name": "once-ada"}), "own-1").await.expect_status(403);
}

async fn of_many_at_once_one_is_done(topology: Topology) {
    let client = shared(topology).await.sign_in_as(Role::Engineer).await;
    for round in 0..5 {
        let (name, key) = (format!("once-many-{round}"), format!("many-{round}"));
        let body = json!({"name": name});
        let answers = join_all((0..12).map(|_| client.post_once(MODELS, &body, &key))).await;
        let done = answers.iter().filter(|answer| answer.status == 201 && !is_replay(answer));
        assert_eq!(done.count(), 1);
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            answer.expect_problem(409, "conflict", &["under way"]);
            assert_eq!(answer.header("retry-after"), "1");
        }
        let again = client.post_once(MODELS, &body, &key).await;
        assert!(is_replay(again.expect_status(201)));
        assert_eq!(models_named(&client, &name).await, 1);
    }
}

async fn a_refusal_is_kept_and_a_malformed_request_is_not(topology: Topology) {
    let client = shared(topology).await.sign_in_as(Role::Engineer).await;
    client.create_model("once-taken").await.expect_status(201);
    let body = json!({"name": "once-taken"});
    let first = client.post_once(MODELS, &body, "refusal-1").await;
    first.expect_problem(409, "conflict", &[]);
    let again = client.post_once(MODELS, &body, "refusal-1").await;
    again.expect_problem(409, "conflict", &[]);
    assert!(!is_replay(&first) && is_replay(&again));
    assert_eq!(first.json()["detail"], again.json()["detail"]);
    for _ in 0..2 {
        let request = client.request(Method::POST, MODELS).header("Idempotency-Key", "refusal-2");
        let request = request.header("content-type", "application/json").body("{no json");
        let answer = client.send(request).await;
        answer.expect_problem(400, "bad_request", &[]);
        assert!(!is_replay(&answer), "nothing was done");
    }
    let mended = client.post_once(MODELS, &json!({"name": "once-mended"}), "refusal-2").await;
    mended.expect_status(201);
}

async fn an_upload_is_done_once(topology: Topology) {
    let client = shared(topology).await.sign_in_as(Role::Engineer).await;
    client.create_model("once-upload").await.expect_status(201);
    let upload = models::committed("iris-logreg").upload();
    let first = client.upload_once("once-upload", &upload, "upload-1").await;
    let again = client.upload_once("once-upload", &upload, "upload-1").await;
    assert!(!is_replay(first.expect_status(201)) && is_replay(again.expect_status(201)));
    assert_eq!(first.json(), again.json());
    let listed = client.get("/api/v1/models/once-upload/versions").await.json();
    assert_eq!(listed["versions"].as_array().unwrap().len(), 1);
    client.upload_once("once-upload", &upload, "upload-2").await.expect_status(201);
}

async fn what_holds_a_secret_is_not_kept(topology: Topology) {
    let client = shared(topology).await.anonymous();
    let body = json!({"username": "admin", "password": testkit::PASSWORD});
    let answer = client.post_once("/api/v1/auth/token", &body, "secret-1").await;
    answer.expect_problem(400, "bad_request", &["Idempotency-Key", "secret"]);
}

async fn a_key_that_is_none_is_400(topology: Topology) {
    let client = shared(topology).await.sign_in_as(Role::Engineer).await;
    let long = "x".repeat(256);
    for key in ["", "\"\"", "two words", "\"open", &long] {
        let answer = client.post_once(MODELS, &json!({"name": "once-bad"}), key).await;
        answer.expect_problem(400, "bad_request", &["Idempotency-Key"]);
    }
    client.get("/api/v1/models/once-bad").await.expect_status(404);
}

async fn a_large_answer_is_not_kept(topology: Topology) {
    let mut setup = Setup::new(topology);
    setup.set("ENGINE__GATEWAY__IDEMPOTENCY__MAX_ANSWER_BYTES", "20");
    let engine = Engine::start(setup).await;
    let client = engine.admin().await;
    let body = json!({"name": "once-large"});
    client.post_once(MODELS, &body, "large-1").await.expect_status(201);
    let again = client.post_once(MODELS, &body, "large-1").await;
    again.expect_problem(409, "conflict", &["was done before and answered 201", "too large"]);
}

async fn it_is_known_after_a_restart_if_the_store_is_shared(topology: Topology) {
    let mut engine = Engine::start(Setup::new(topology)).await;
    let body = json!({"name": "once-restart"});
    let first = engine.admin().await.post_once(MODELS, &body, "restart-1").await;
    first.expect_status(201);
    engine.restart().await;
    let again = engine.admin().await.post_once(MODELS, &body, "restart-1").await;
    match topology {
        Topology::Distributed => {
            assert!(is_replay(again.expect_status(201)));
            assert_eq!(again.body, first.body);
        }
        // Memory forgets, but the model is there.
        Topology::Embedded => assert!(!is_replay(again.expect_status(409))),
    }
}

#[test]
fn without_the_store_nothing_is_done_twice_and_the_rest_goes_on() {
    run(Topology::Distributed, async {
        let mut redis = PrivateServer::redis().await;
        let mut setup = Setup::new(Topology::Distributed);
        (setup.gateways, setup.replicas, setup.routers) = (1, 1, 1);
        let stores = Stores::fresh().await;
        setup.stores = Some(Stores { cache: redis.url().to_owned(), ..stores });
        let engine = Engine::start(setup).await;
        let client = engine.admin().await;
        redis.stop().await;
        let body = json!({"name": "once-outage"});
        let refused = client.post_once(MODELS, &body, "outage-1").await;
        refused.expect_problem(503, "unavailable", &["the same `Idempotency-Key`"]);
        assert_eq!(refused.header("retry-after"), "1");
        client.get("/api/v1/models/once-outage").await.expect_status(404);
        client.create_model("once-without").await.expect_status(201);
        redis.start_again().await;
        let done = || async {
            let answer = client.post_once(MODELS, &body, "outage-1").await;
            (answer.status == 201).then_some(())
        };
        testkit::until("done", std::time::Duration::from_secs(20), done).await;
    });
}
