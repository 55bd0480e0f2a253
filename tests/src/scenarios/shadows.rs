//! Shadow versions: they are compared, and nobody who is answered notices.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::{
    Client, Engine, Method, Setup, Topology, at_length, models, scenarios, shared, until,
};

scenarios!(
    a_seeded_disagreement_is_found,
    a_shadow_delays_nobody,
    what_finds_no_room_is_dropped_and_counted,
    a_shadow_of_an_unknown_version_is_refused,
);

/// What the seeded input asks, beside what both versions agree on.
const AGREED: [f64; 4] = [5.1, 3.5, 1.4, 0.2];

async fn shadowed(client: &Client, model: &str, share: f64) -> Value {
    let route = json!({
        "arms": [{"version": "1", "weight": 1}],
        "shadows": [{"version": "2", "share": share}],
    });
    let path = format!("/api/v1/models/{model}/route");
    client.put(&path, &route).await.expect_status(200).json()
}

async fn report(client: &Client, model: &str) -> Value {
    let path = format!("/api/v1/models/{model}/shadows/2");
    client.get(&path).await.expect_status(200).json()
}

/// An input to which the two versions give different labels.
async fn disputed(client: &Client, model: &str) -> [f64; 4] {
    for step in 0..400 {
        let part = f64::from(step) / 400.0;
        let input = [5.6 + part, 2.5 + part / 2.0, 4.3 + part, 1.3 + part * 0.6];
        let mut labels = Vec::new();
        for version in ["1", "2"] {
            let path = format!("/api/v1/models/{model}/predict");
            let request = client.request(Method::POST, &path).header("X-Model-Version", version);
            let answer = client.send(request.json(&json!({"features": input}))).await;
            labels.push(answer.expect_status(200).json()["label"].clone());
        }
        if labels[0] != labels[1] {
            return input;
        }
    }
    panic!("the two versions agree everywhere");
}

async fn a_seeded_disagreement_is_found(topology: Topology) {
    let engine = shared(topology).await;
    let client = super::routing::two_versions(engine, "watched").await;
    let disputed = disputed(&client, "watched").await;
    shadowed(&client, "watched", 1.0).await;
    let mut disputed_ids = Vec::new();
    for number in 0..1000 {
        let seeded = number % 50 == 7;
        let features = if seeded { disputed } else { AGREED };
        let answer = client.predict("watched", &json!({"features": features})).await;
        let answer = answer.expect_status(200).json();
        assert_eq!(answer["model_version"], "1", "a shadow never answers");
        if seeded {
            disputed_ids.push(answer["prediction_id"].as_str().unwrap().to_owned());
        }
    }
    let compared = until("all comparisons to be kept", Duration::from_secs(20), || async {
        let report = report(&client, "watched").await;
        (report["compared"].as_u64() >= Some(1000)).then_some(report)
    })
    .await;
    assert_eq!(compared["agreed"], 980, "{compared}");
    let agreement = compared["agreement"].as_f64().unwrap();
    let lower = compared["agreement_lower"].as_f64().unwrap();
    let upper = compared["agreement_upper"].as_f64().unwrap();
    assert!((agreement - 0.98).abs() < 1e-9 && lower < 0.98 && upper < 1.0, "{compared}");
    let worst = compared["worst"].as_array().unwrap();
    assert_eq!(worst.len(), 20);
    for one in worst {
        let id = one["prediction_id"].as_str().unwrap();
        assert!(disputed_ids.iter().any(|known| known == id), "{one}");
        assert_eq!(one["input"]["features"], json!(disputed), "{one}");
        assert_ne!(one["live"], one["shadow"], "{one}");
    }
    assert!(worst.is_sorted_by(|a, b| a["distance"].as_f64() >= b["distance"].as_f64()));
    assert!(compared["compute_ms"]["mean"].is_number(), "{compared}");
    assert_eq!((&compared["failed"], &compared["dropped"]), (&json!(0), &json!(0)));
}

/// Rounds with and without a shadow take turns, so that what else the machine does falls on both.
async fn a_shadow_delays_nobody(topology: Topology) {
    let engine = Engine::start(Setup::new(topology)).await;
    let client = super::routing::two_versions(&engine, "iris").await;
    let rounds = if at_length() { 21 } else { 9 };
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for (share, times) in [(0.0, &mut without), (1.0, &mut with)] {
            shadowed(&client, "iris", share).await;
            times.push(latencies(&client).await);
        }
    }
    let quantile = |rounds: &[Vec<Duration>], percent: usize| {
        let of = |round: &Vec<Duration>| round[round.len() * percent / 100];
        let mut all: Vec<Duration> = rounds.iter().map(of).collect();
        all.sort_unstable();
        all
    };
    for percent in [50, 99] {
        let (without, with) = (quantile(&without, percent), quantile(&with, percent));
        let middle = rounds / 2;
        eprintln!(
            "{topology:?}: p{percent}, median (least to most) of {rounds} rounds: \
             without a shadow {:.2?} ({:.2?} to {:.2?}), with one {:.2?} ({:.2?} to {:.2?})",
            without[middle],
            without[0],
            without[rounds - 1],
            with[middle],
            with[0],
            with[rounds - 1],
        );
        assert!(with[middle] < without[rounds - 1].mul_f64(1.25), "p{percent}");
    }
    let report = report(&client, "iris").await;
    let seen = report["compared"].as_u64().unwrap() + report["dropped"].as_u64().unwrap();
    assert!(seen > 0 && report["failed"] == 0, "{report}");
}

/// Of 200 requests, 100 a second, in order of size. Each has its time to begin, whether or not those
/// before it are answered, and is measured from then.
async fn latencies(client: &Client) -> Vec<Duration> {
    let begin = Instant::now();
    let ask = |client: Client, at: Instant| async move {
        tokio::time::sleep_until(at.into()).await;
        let answer = client.predict("iris", &json!({"features": AGREED})).await;
        let latency = at.elapsed();
        answer.expect_status(200);
        latency
    };
    let callers: Vec<_> = (0..200)
        .map(|number| begin + Duration::from_millis(10) * number)
        .map(|at| tokio::spawn(ask(client.clone(), at)))
        .collect();
    let mut times = Vec::new();
    for caller in callers {
        times.push(caller.await.unwrap());
    }
    times.sort_unstable();
    times
}

async fn what_finds_no_room_is_dropped_and_counted(topology: Topology) {
    let mut setup = Setup::new(topology);
    setup.set("ENGINE__ROUTER__SHADOWS__MAX_WAITING", "1");
    setup.set("ENGINE__ROUTER__SHADOWS__MAX_CONCURRENT", "1");
    let engine = Engine::start(setup).await;
    let client = super::routing::two_versions(&engine, "iris").await;
    shadowed(&client, "iris", 1.0).await;
    let question = json!({"features": AGREED});
    for _ in 0..100 {
        let asked = (0..4).map(|_| client.predict("iris", &question));
        join_all(asked).await.into_iter().for_each(|answer| {
            answer.expect_status(200);
        });
    }
    let all_told = || async {
        let report = report(&client, "iris").await;
        let (compared, dropped) = (report["compared"].as_u64()?, report["dropped"].as_u64()?);
        (compared + dropped == 400 && report["failed"] == 0).then_some(dropped)
    };
    // Each of several routers counts what it dropped itself.
    if topology == Topology::Embedded {
        until("all 400 are compared or counted", Duration::from_secs(20), all_told).await;
    }
}

async fn a_shadow_of_an_unknown_version_is_refused(topology: Topology) {
    let engine = shared(topology).await;
    let client = engine.admin().await;
    client.create_model_with("lonely", &models::committed("iris-logreg").upload()).await;
    let route = json!({
        "arms": [{"version": "1", "weight": 1}],
        "shadows": [{"version": "9", "share": 2.0}],
    });
    let answer = client.put("/api/v1/models/lonely/route", &route).await;
    answer.expect_problem(422, "unprocessable", &["#/shadows/0/version", "#/shadows/0/share"]);
    client.get("/api/v1/models/unheard/shadows/1").await.expect_problem(
        404,
        "not_found",
        &["unheard"],
    );
}
