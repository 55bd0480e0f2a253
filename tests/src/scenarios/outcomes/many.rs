//! Outcomes by the thousand, of units, with names; early, late, repeated and out of order.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use domain::Role;
use serde_json::{Value, json};
use testkit::topology::Stores;
use testkit::{
    Client, Engine, PrivateServer, Setup, Topology, models, run, scenarios, shared, until,
};

scenarios!(
    of_many_with_a_bad_one_the_others_are_kept,
    a_unit_has_outcomes_of_its_own,
    what_comes_late_and_out_of_order_is_kept_beside_what_it_corrects,
    what_comes_before_the_record_waits_for_it,
    files_of_lines_and_tables_are_taken,
    a_key_speaks_of_its_models_only,
);

const FEEDBACK: &str = "/api/v1/feedback";

/// A prediction of a new model that is in the log.
async fn predicted(engine: &Engine, model: &str) -> (Client, Value) {
    let admin = engine.admin().await;
    admin.create_model_with(model, &models::committed("iris-logreg").upload()).await;
    let client = engine.sign_in_as(Role::Client).await;
    let body = json!({"features": [5.1, 3.5, 1.4, 0.2], "unit": "u-1"});
    let answer = client.predict(model, &body).await.expect_status(200).json();
    let id = answer["prediction_id"].clone();
    client.prediction(id.as_str().unwrap()).await.expect_status(200);
    (client, id)
}

/// An id that nothing was predicted under.
fn unheard_of() -> String {
    domain::PredictionId::new().to_string()
}

async fn of_many_with_a_bad_one_the_others_are_kept(topology: Topology) {
    let engine = shared(topology).await;
    let (client, id) = predicted(engine, "outcomes-many").await;
    let items = json!([
        {"prediction_id": id, "label": "setosa"},
        {"prediction_id": id, "label": ""},
        {"prediction_id": unheard_of(), "value": 1.5},
    ]);
    for (body, new, pointer) in
        [(items.clone(), true, "#/1/label"), (json!({"items": items}), false, "#/items/1/label")]
    {
        let answer = client.post(FEEDBACK, &body).await.expect_status(202).json();
        assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(2), &json!(1)), "{answer}");
        assert_eq!(answer["items"][0], json!({"prediction_known": true, "new": new}));
        assert_eq!(answer["items"][1]["error"]["errors"][0]["pointer"], pointer, "{answer}");
        assert_eq!(answer["items"][2], json!({"prediction_known": false, "new": new}));
    }
    let bad = client.post(FEEDBACK, &json!([{"label": "a"}, 7])).await;
    bad.expect_problem(422, "unprocessable", &["#/0"]);
    for body in [json!([]), json!({"items": 7}), json!({"items": [], "label": "a"})] {
        client.post(FEEDBACK, &body).await.expect_problem(422, "unprocessable", &[]);
    }
    let png = client.post_bytes(FEEDBACK, "image/png", "x").await;
    png.expect_problem(400, "bad_request", &["image/png"]);
}

async fn a_unit_has_outcomes_of_its_own(topology: Topology) {
    let engine = shared(topology).await;
    let (client, id) = predicted(engine, "outcomes-units").await;
    let analyst = engine.sign_in_as(Role::Analyst).await;
    let revenue = |value: f64| json!({"model": "outcomes-units", "unit": "u-1", "metric": "revenue", "value": value});
    for (body, new) in [(revenue(12.5), true), (revenue(12.5), false), (revenue(14.0), true)] {
        let answer = client.post(FEEDBACK, &body).await.expect_status(202).json();
        assert_eq!(answer, json!({"new": new}));
    }
    let visits = json!({"prediction_id": id, "metric": "visits", "value": 3});
    client.post(FEEDBACK, &visits).await.expect_status(202);
    let path = format!("/api/v1/predictions/{}/feedback", id.as_str().unwrap());
    let known = analyst.get(&path).await.expect_status(200).json();
    let expected = json!({"metric": {"name": "visits", "value": 3.0}});
    assert_eq!(known["feedback"][0]["outcome"], expected, "{known}");
    let path = "/api/v1/feedback/summary?model=outcomes-units";
    let summary = analyst.get(path).await.expect_status(200).json();
    let kinds = json!([
        {"kind": "revenue", "matched": 0, "pending": 0, "of_units": 2},
        {"kind": "visits", "matched": 1, "pending": 0, "of_units": 0},
    ]);
    let expected =
        json!({"received": 3, "matched": 1, "pending": 0, "of_units": 2, "kinds": kinds});
    assert_eq!(summary, expected);
    let bad = client.post(FEEDBACK, &json!({"model": "outcomes-units", "value": 1})).await;
    bad.expect_problem(422, "unprocessable", &["`unit`"]);
}

async fn what_comes_late_and_out_of_order_is_kept_beside_what_it_corrects(topology: Topology) {
    let engine = shared(topology).await;
    let (client, id) = predicted(engine, "outcomes-late").await;
    for (label, at, new) in [
        ("corrected", "2026-02-02T00:00:00Z", true),
        ("first", "2026-02-01T00:00:00Z", true),
        ("corrected", "2026-02-02T01:00:00+01:00", false),
    ] {
        let body = json!({"prediction_id": id, "label": label, "at": at});
        let answer = client.post(FEEDBACK, &body).await.expect_status(202).json();
        assert_eq!(answer["new"], new, "{label}");
    }
    let analyst = engine.sign_in_as(Role::Analyst).await;
    let path = format!("/api/v1/predictions/{}/feedback", id.as_str().unwrap());
    let known = analyst.get(&path).await.expect_status(200).json();
    let feedback: Vec<domain::Feedback> =
        serde_json::from_value(known["feedback"].clone()).unwrap();
    assert_eq!(feedback.len(), 2);
    let latest = domain::feedback::latest(&feedback);
    assert_eq!(latest.len(), 1);
    assert_eq!(latest[0].outcome.label(), Some("corrected"));
    let ahead = json!({"prediction_id": id, "label": "a", "at": "2999-01-01T00:00:00Z"});
    client.post(FEEDBACK, &ahead).await.expect_problem(422, "unprocessable", &["#/at"]);
}

async fn what_comes_before_the_record_waits_for_it(topology: Topology) {
    let mut setup = Setup::new(topology);
    (setup.gateways, setup.routers, setup.replicas) = (1, 1, 1);
    setup.set("ENGINE__ROUTER__SPOOL__INTERVAL_MS", "5000");
    let engine = Engine::start(setup).await;
    let admin = engine.admin().await;
    admin.create_model_with("iris", &models::committed("iris-logreg").upload()).await;
    let client = engine.sign_in_as(Role::Client).await;
    let mut early = Vec::new();
    for _ in 0..10 {
        let body = json!({"features": [5.1, 3.5, 1.4, 0.2]});
        let answer = client.predict("iris", &body).await.expect_status(200).json();
        let truth = json!({"prediction_id": answer["prediction_id"], "label": "setosa"});
        let told = client.post(FEEDBACK, &truth).await.expect_status(202).json();
        early.push(told["prediction_known"] == false);
    }
    assert!(early.contains(&true), "the log was always first");
    let never = unheard_of();
    client
        .post(FEEDBACK, &json!({"prediction_id": never, "label": "setosa"}))
        .await
        .expect_status(202);
    let analyst = engine.sign_in_as(Role::Analyst).await;
    let all_but_one = || async {
        let summary = analyst.get("/api/v1/feedback/summary").await.expect_status(200).json();
        assert_eq!(summary["received"], 11, "{summary}");
        (summary["matched"] == 10).then_some(summary)
    };
    let summary = until("the records have come", Duration::from_secs(30), all_but_one).await;
    assert_eq!(summary["pending"], 1, "{summary}");
    let pending = analyst.get("/api/v1/feedback/pending").await.expect_status(200).json();
    assert_eq!(pending["pending"][0]["prediction_id"], never.as_str(), "{pending}");
    assert_eq!(pending["pending"][0]["since"], summary["oldest_pending"], "{pending}");
    let of_model = analyst.get("/api/v1/feedback/summary?model=iris").await.json();
    assert_eq!(of_model["matched"], 10, "{of_model}");
    for wrong in ["pending?limit=0", "pending?after=x", "summary?window_s=0", "summary?model=a%20b"]
    {
        let status = analyst.get(&format!("{FEEDBACK}/{wrong}")).await.status;
        assert!(status == 400 || status == 422, "{wrong}: {status}");
    }
    let feedback = if topology == Topology::Embedded { "decision-engine" } else { "feedback" };
    let server = engine.servers().iter().find(|one| one.name.starts_with(feedback));
    let metrics =
        admin.at(&server.unwrap_or(&engine.servers()[0]).url).get("/metrics").await.text();
    assert!(metrics.contains("engine_feedback_total{outcome=\"pending\"} "), "{metrics}");
}

async fn files_of_lines_and_tables_are_taken(topology: Topology) {
    const ROWS: u64 = 20_000;
    let engine = shared(topology).await;
    let (client, id) = predicted(engine, "outcomes-files").await;
    let mut table = "prediction_id,model,unit,label,value,metric,at\n".to_owned();
    for n in 0..ROWS {
        match n % 2 {
            0 => writeln!(table, "{},,,setosa,,,", unheard_of()),
            _ => writeln!(table, ",outcomes-files,u-{n},,{n}.5,revenue,2026-02-01T00:00:00Z"),
        }
        .unwrap();
    }
    writeln!(table, "{},,,\"set,osa\",,,", id.as_str().unwrap()).unwrap();
    writeln!(table, "{},,,,much,,", id.as_str().unwrap()).unwrap();
    for (round, new) in [("new", true), ("known", false)] {
        let began = Instant::now();
        let answer = client.post_bytes(FEEDBACK, "text/csv", table.clone()).await;
        let took = began.elapsed();
        let rate = (ROWS + 1) as f64 / took.as_secs_f64();
        eprintln!("{topology:?}: {} {round} outcomes in {took:.2?}: {rate:.0} a second", ROWS + 1);
        let answer = answer.expect_status(202).json();
        assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(ROWS + 1), &json!(1)));
        let items = answer["items"].as_array().unwrap();
        assert!(items[..items.len() - 1].iter().all(|item| item["new"] == new));
        let rows = usize::try_from(ROWS).unwrap();
        assert_eq!(items[rows], json!({"prediction_known": true, "new": new}));
        let pointer = &items[rows + 1]["error"]["errors"][0]["pointer"];
        assert_eq!(pointer, &format!("#/{}/value", ROWS + 1));
    }
    let truth = |label: &str| json!({"prediction_id": id, "label": label}).to_string();
    let lines = format!("{}\n{{\n{}\n", truth("set,osa"), truth("setosa"));
    let answer = client.post_bytes(FEEDBACK, "application/x-ndjson", lines).await;
    let answer = answer.expect_status(202).json();
    assert_eq!(answer["items"][0]["new"], false, "{answer}");
    assert!(answer["items"][1]["error"].is_object(), "{answer}");
    assert_eq!(answer["items"][2]["new"], true, "{answer}");
    let header = client.post_bytes(FEEDBACK, "text/csv", "id,label\n1,a\n").await;
    header.expect_problem(422, "unprocessable", &["#/header/id"]);
    let many = format!("label\n{}", "a\n".repeat(50_001));
    let many = client.post_bytes(FEEDBACK, "text/csv", many).await;
    many.expect_problem(413, "too_large", &["50001", "`feedback.max_items`"]);
}

async fn a_key_speaks_of_its_models_only(topology: Topology) {
    let engine = shared(topology).await;
    let (_, id) = predicted(engine, "outcomes-scope").await;
    let body = json!({"name": "outcomes", "role": "client", "scope": {"models": ["another"]}});
    let made = engine.admin().await.post("/api/v1/api-keys", &body).await.expect_status(201).json();
    let stranger = engine.with_token(made["key"].as_str().unwrap());
    let of_prediction = json!({"prediction_id": id, "label": "setosa"});
    let of_unit = json!({"model": "outcomes-scope", "unit": "u-1", "label": "setosa"});
    let of_another = json!({"model": "another", "unit": "u-1", "label": "setosa"});
    for body in [&of_prediction, &of_unit, &json!([of_prediction, of_unit])] {
        let answer = stranger.post(FEEDBACK, body).await;
        answer.expect_problem(403, "forbidden", &["outcomes-scope"]);
    }
    let all = json!([of_prediction, of_unit, of_another]);
    let answer = stranger.post(FEEDBACK, &all).await.expect_status(202).json();
    assert_eq!(answer["items"][0]["error"]["code"], "forbidden", "{answer}");
    assert_eq!(answer["items"][1]["error"]["code"], "forbidden", "{answer}");
    assert_eq!(answer["items"][2], json!({"new": true}));
}

#[test]
fn with_its_store_down_nothing_is_lost_that_the_client_sends_again() {
    run(Topology::Distributed, async {
        let mut mongo = PrivateServer::mongo().await;
        let mut setup = Setup::new(Topology::Distributed);
        (setup.gateways, setup.routers, setup.replicas) = (1, 1, 1);
        setup.stores = Some(Stores { documents: mongo.url().to_owned(), ..Stores::fresh().await });
        let engine = Engine::start(setup).await;
        let (client, id) = predicted(&engine, "iris").await;
        let items = json!([
            {"prediction_id": id, "label": "setosa"},
            {"model": "iris", "unit": "u-1", "metric": "revenue", "value": 1},
        ]);
        client.post(FEEDBACK, &items[0]).await.expect_status(202);
        mongo.stop().await;
        for body in [&items, &items[0]] {
            let answer = client.post(FEEDBACK, body).await;
            answer.expect_problem(503, "unavailable", &["try again"]);
            assert!(!answer.header("retry-after").is_empty());
        }
        mongo.start_again().await;
        let taken = || async {
            let answer = client.post(FEEDBACK, &items).await;
            (answer.status == 202).then(|| answer.json())
        };
        let answer = until("it is taken", Duration::from_secs(30), taken).await;
        assert_eq!(answer["items"][0], json!({"prediction_known": true, "new": false}));
        assert_eq!(answer["items"][1], json!({"new": true}));
    });
}
