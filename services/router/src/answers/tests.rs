//! Kept answers against a real store, and one that fails or hangs.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use contracts::ErrorCode;
use contracts::inference::{PredictTask, Protocol, Target};
use domain::policy::CachePolicy;
use domain::{ModelPolicy, PredictionId, Principal, Role, Version};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::*;
use crate::table::InForce;

const SETTINGS: CacheSettings =
    CacheSettings { timeout_ms: 50, rest_ms: 300, max_input_bytes: 1000, max_answer_bytes: 300 };

async fn answers() -> Answers {
    Answers::new(storage::cache("memory://").await.unwrap().responses, SETTINGS)
}

fn version(number: u32) -> Arc<Version> {
    let version = json!({"model": "m", "version": number.to_string(), "files": [], "enabled": true,
        "created_by": "x", "created_at": "2026-01-01T00:00:00Z", "manifest": {"name": "m",
        "task": "regression", "modality": "tabular", "format": "onnx", "inputs": [],
        "outputs": []}});
    Arc::new(serde_json::from_value(version).unwrap())
}

fn ruled(revision: u64, shared: bool) -> Arc<InForce> {
    let cache = Some(CachePolicy { ttl_s: 60, shared });
    let policy = ModelPolicy { revision, cache, ..ModelPolicy::default() };
    Arc::new(InForce { policy, rules: None })
}

fn asked(body: &str) -> Asked {
    let task = PredictTask {
        target: Target { model: "m".parse().unwrap(), version: "1".parse().unwrap() },
        prediction_id: PredictionId::new(),
        protocol: Protocol::Natural,
        content_type: "application/json".to_owned(),
        show_version: true,
        degraded: false,
        rules: None,
        background: false,
    };
    Asked {
        caller: Principal::user("eve", "eve", Role::Client),
        version: version(1),
        policy: ruled(1, false),
        generation: 1,
        task,
        body: Bytes::from(body.to_owned()),
    }
}

fn wanted(asked: Asked, wish: CacheWish) -> Wanted {
    let deadline = Deadline::after(Duration::from_secs(5));
    Wanted { keyed: Keyed::of(asked), ttl: Duration::from_secs(60), wish, deadline }
}

fn answer(id: PredictionId, body: Value) -> Framed<Answered> {
    let mut body = body;
    body["prediction_id"] = json!(id);
    let meta = Answered {
        content_type: "application/json".to_owned(),
        header_length: None,
        rows: 1,
        label: None,
        confidence: None,
        value: Some(1.0),
        compute_us: 9,
        output_rule: false,
        cache: None,
    };
    Framed { meta, body: Bytes::from(body.to_string()) }
}

/// Asks, and says whether the answer was kept, and what it is.
async fn ask(answers: &Answers, asked: Asked, wish: CacheWish, now: u32) -> (CacheUse, Value) {
    let id = asked.task.prediction_id;
    let compute = async { Ok(answer(id, json!({"prediction": now, "cached": false}))) };
    let answer = answers.answer(wanted(asked, wish), compute).await.unwrap();
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["prediction_id"], json!(id), "each has its own");
    let hit = answer.meta.cache == Some(CacheUse::Hit);
    assert_eq!((body["cached"] == true, answer.meta.compute_us == 0), (hit, hit), "{body}");
    (answer.meta.cache.unwrap(), body["prediction"].clone())
}

#[tokio::test]
async fn the_same_again_is_kept_and_anything_else_is_not() {
    let answers = answers().await;
    let one = || asked(r#"{"features": [1, 2], "unit": "a"}"#);
    assert_eq!(ask(&answers, one(), CacheWish::Use, 1).await, (CacheUse::Miss, json!(1)));
    assert_eq!(ask(&answers, one(), CacheWish::Use, 2).await, (CacheUse::Hit, json!(1)));
    let same = asked(r#"{"unit":"b", "features": [1,2]}"#);
    assert_eq!(ask(&answers, same, CacheWish::Use, 3).await, (CacheUse::Hit, json!(1)));

    let others: Vec<Asked> = vec![
        asked(r#"{"features": [1, 3]}"#),
        Asked { caller: Principal::user("adam", "adam", Role::Client), ..one() },
        Asked { generation: 2, ..one() },
        Asked { policy: ruled(2, false), ..one() },
        Asked { policy: ruled(1, true), ..one() },
        Asked { version: version(2), ..one() },
        Asked { task: PredictTask { show_version: false, ..one().task }, ..one() },
        Asked { task: PredictTask { content_type: "text/csv".to_owned(), ..one().task }, ..one() },
    ];
    for (number, other) in (10..).zip(others) {
        let found = ask(&answers, other, CacheWish::Use, number).await;
        assert_eq!(found, (CacheUse::Miss, json!(number)));
    }
    let eve = Asked { policy: ruled(1, true), ..one() };
    let caller = Principal::user("adam", "adam", Role::Client);
    let adam = Asked { caller, policy: ruled(1, true), ..one() };
    let first = ask(&answers, eve, CacheWish::Use, 50).await;
    assert_eq!(ask(&answers, adam, CacheWish::Use, 51).await, (CacheUse::Hit, first.1));
}

#[tokio::test]
async fn a_caller_may_want_it_computed() {
    let answers = answers().await;
    let one = || asked(r#"{"features": [1]}"#);
    assert_eq!(ask(&answers, one(), CacheWish::Use, 1).await.0, CacheUse::Miss);
    assert_eq!(ask(&answers, one(), CacheWish::Avoid, 2).await, (CacheUse::Request, json!(2)));
    assert_eq!(ask(&answers, one(), CacheWish::Use, 3).await, (CacheUse::Hit, json!(1)));
    assert_eq!(ask(&answers, one(), CacheWish::Refresh, 4).await, (CacheUse::Request, json!(4)));
    assert_eq!(ask(&answers, one(), CacheWish::Use, 5).await, (CacheUse::Hit, json!(4)));
}

#[tokio::test]
async fn what_is_no_plain_json_or_too_large_is_not_kept() {
    let answers = answers().await;
    for body in ["{", r#"{"a":1,"a":1}"#] {
        assert!(Keyed::of(asked(body)).is_none(), "{body}");
    }
    let v2 = Protocol::V2 { header_length: Some(2) };
    let binary = Asked { task: PredictTask { protocol: v2, ..asked("{}").task }, ..asked("{}") };
    assert!(Keyed::of(binary).is_none());
    for _ in 0..2 {
        let compute = async { Ok(answer(PredictionId::new(), json!({"x": "y".repeat(400)}))) };
        let asked = wanted(asked("{}"), CacheWish::Use);
        let answer = answers.answer(asked, compute).await.unwrap();
        assert_eq!(answer.meta.cache, Some(CacheUse::Miss));
    }
}

#[tokio::test]
async fn a_v2_answer_gets_the_id_of_its_request() {
    let answers = answers().await;
    let v2 = |body: &str| {
        let task = asked(body).task;
        let protocol = Protocol::V2 { header_length: None };
        Asked { task: PredictTask { protocol, ..task }, ..asked(body) }
    };
    for (body, id, used) in [
        (r#"{"id":"a","inputs":[]}"#, json!("a"), CacheUse::Miss),
        (r#"{"inputs":[],"id":"b\"c"}"#, json!("b\"c"), CacheUse::Hit),
        (r#"{"inputs":[]}"#, Value::Null, CacheUse::Hit),
    ] {
        let asked = v2(body);
        let prediction = asked.task.prediction_id;
        let compute = async {
            let body =
                json!({"id": "a", "parameters": {"prediction_id": prediction}, "outputs": []});
            Ok(answer(prediction, body))
        };
        let answer = answers.answer(wanted(asked, CacheWish::Use), compute).await.unwrap();
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.meta.cache, &body["id"]), (Some(used), &id), "{body}");
        assert_eq!(body["parameters"]["prediction_id"], json!(prediction), "{body}");
        assert_eq!(body["parameters"]["cached"] == true, used == CacheUse::Hit, "{body}");
    }
}

#[tokio::test]
async fn of_many_at_once_one_computes_and_if_it_fails_each_does() {
    let answers = answers().await;
    for fails in [false, true] {
        let computed = AtomicU64::new(0);
        let body = format!(r#"{{"features": [{fails}]}}"#);
        let one = async || {
            let asked = asked(&body);
            let id = asked.task.prediction_id;
            let compute = async {
                let turn = computed.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
                match (fails, turn) {
                    (true, 0) => Err(ApiError::new(ErrorCode::Unavailable, "the first fails")),
                    _ => Ok(answer(id, json!({}))),
                }
            };
            answers.answer(wanted(asked, CacheWish::Use), compute).await
        };
        let all = join_all((0..20).map(|_| one())).await;
        let hits = all.iter().flatten().filter(|one| one.meta.cache == Some(CacheUse::Hit)).count();
        let failed = all.iter().filter(|one| one.is_err()).count();
        let computed = computed.into_inner();
        assert_eq!((computed, hits, failed), if fails { (20, 0, 1) } else { (1, 19, 0) });
    }
}

/// A store that hangs.
#[derive(Default)]
struct Hanging(AtomicU64);

#[async_trait]
impl ResponseCache for Hanging {
    async fn get(&self, _: &str) -> Result<Option<Bytes>, StoreError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        std::future::pending().await
    }

    async fn put(&self, _: &str, _: Bytes, _: Duration) -> Result<(), StoreError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_store_that_hangs_costs_its_time_once_and_is_left_alone() {
    let store = Arc::new(Hanging::default());
    let answers = Answers::new(Arc::clone(&store) as _, SETTINGS);
    let begun = Instant::now();
    for now in 0..50 {
        let found = ask(&answers, asked("{}"), CacheWish::Use, now).await;
        assert_eq!(found, (CacheUse::Bypass, json!(now)));
    }
    assert_eq!(store.0.load(Ordering::Relaxed), 1);
    assert!(begun.elapsed() < Duration::from_millis(250), "{:?}", begun.elapsed());
    tokio::time::sleep(Duration::from_millis(SETTINGS.rest_ms)).await;
    ask(&answers, asked("{}"), CacheWish::Use, 0).await;
    assert_eq!(store.0.load(Ordering::Relaxed), 2, "it is asked again after its rest");
}
