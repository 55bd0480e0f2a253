//! What answers in the place of a version that fails, and what is put on record when nothing does.

use domain::prediction::{Degraded, StandIn};
use serde_json::Value;

use super::routing::version;
use super::*;

impl Test {
    fn break_version(&self, number: u32, code: ErrorCode) {
        self.replicas[0].broken.lock().unwrap().insert(version(number), code);
    }

    fn mend_all(&self) {
        self.replicas[0].broken.lock().unwrap().clear();
    }

    async fn fall_back_to(&self, fallback: Value) {
        let arms = json!([{"version": "1", "weight": 1}]);
        self.put_route(json!({"arms": arms, "fallback": fallback})).await.unwrap();
    }

    async fn body(&self) -> Value {
        serde_json::from_slice(&self.predict(Some("anna")).await.unwrap().body).unwrap()
    }
}

fn degraded(by: StandIn, error: &str) -> Option<Degraded> {
    Some(Degraded { by, error: error.to_owned() })
}

#[tokio::test]
async fn another_version_answers_for_one_that_fails_and_is_marked() {
    let test = Test::with_versions(3).await;
    test.fall_back_to(json!({"versions": ["1", "2", "3"]})).await;
    assert_eq!(test.body().await["degraded"], false);
    test.break_version(1, ErrorCode::Internal);
    let body = test.body().await;
    assert_eq!((&body["model_version"], &body["degraded"]), (&json!("2"), &json!(true)));
    test.break_version(2, ErrorCode::Unavailable);
    assert_eq!(test.body().await["model_version"], "3");
    let records = test.records().await;
    let newest = &records[0];
    assert_eq!((newest.version, newest.decision.chosen), (version(3), Some(version(1))));
    assert_eq!(newest.degraded, degraded(StandIn::Version, "internal"));
    assert_eq!((&newest.error, newest.rows), (&None, 1));
    assert_eq!((&records[2].degraded, records[2].decision.chosen), (&None, None));
}

#[tokio::test]
async fn a_version_that_hangs_leaves_time_for_another() {
    let test = Test::with_versions(2).await;
    test.fall_back_to(json!({"versions": ["2"]})).await;
    test.break_version(1, ErrorCode::Timeout);
    let mut hurried = call(Role::Client);
    hurried.deadline = contracts::Deadline::after(Duration::from_millis(600));
    let request =
        Framed { meta: asked(None), body: Bytes::from_static(b"{\"features\":[1,2,3,4]}") };
    let answer = test.router.predict(hurried, request).await.unwrap();
    assert_eq!(version_in(&answer.body), "2");
    assert_eq!(test.records().await[0].degraded, degraded(StandIn::Version, "timeout"));
}

#[tokio::test]
async fn a_fault_of_the_client_is_the_clients() {
    let test = Test::with_versions(2).await;
    test.fall_back_to(json!({"versions": ["2"], "default": "unknown"})).await;
    test.break_version(1, ErrorCode::Unprocessable);
    assert_eq!(test.predict(None).await.unwrap_err().code, ErrorCode::Unprocessable);
    assert_eq!(test.records().await.len(), 0, "nothing of the version's is to be compared");
    // Who names a version gets that version, or its failure.
    test.break_version(1, ErrorCode::Internal);
    let meta = PredictRequest { version: Some(version(1)), ..asked(None) };
    assert_eq!(test.ask(meta).await.unwrap_err().code, ErrorCode::Internal);
}

#[tokio::test]
async fn then_the_last_good_answer_to_the_same_input_and_then_the_default() {
    let test = Test::with_versions(2).await;
    test.fall_back_to(json!({"versions": ["2"], "last_good": true, "default": "unknown"})).await;
    let good = test.body().await;
    test.break_version(1, ErrorCode::Internal);
    test.break_version(2, ErrorCode::Internal);
    let body = test.body().await;
    assert_eq!((&body["model_version"], &body["cached"]), (&json!("1"), &json!(true)));
    assert_eq!(body["degraded"], true);
    assert_ne!(body["prediction_id"], good["prediction_id"]);
    let record = &test.records().await[0];
    assert_eq!(record.degraded, degraded(StandIn::LastGood, "internal"));
    assert!(record.cached && record.decision.chosen.is_none());
    // Another input has no last good answer.
    let body = Bytes::from_static(b"{\"instances\":[[9,9,9,9],[8,8,8,8]]}");
    let request = Framed { meta: asked(Some("anna")), body };
    let answer = test.router.predict(call(Role::Client), request).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    let row = json!({"prediction": "unknown"});
    assert_eq!((&answer["predictions"], &answer["degraded"]), (&json!([row, row]), &json!(true)));
    let record = &test.records().await[0];
    assert_eq!(record.degraded, degraded(StandIn::Default, "internal"));
    assert_eq!((record.version, record.rows), (version(1), 2));
    // Another caller's last good answer is not mine.
    let mut other = call(Role::Client);
    other.principal = Some(Principal::user("somebody else", "t", Role::Client));
    let meta = asked(Some("anna"));
    let request = Framed { meta, body: Bytes::from_static(b"{\"features\":[1,2,3,4]}") };
    let answer = test.router.predict(other, request).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["prediction"], "unknown");
    test.mend_all();
    assert_eq!(test.body().await["degraded"], false);
}

#[tokio::test]
async fn the_last_good_answer_of_a_version_that_was_blocked_since_is_not_given() {
    let test = Test::with_versions(2).await;
    test.fall_back_to(json!({"last_good": true})).await;
    test.body().await;
    test.edit_route(|route| {
        let (reason, by) = ("bad".to_owned(), "eve".to_owned());
        let at = time::OffsetDateTime::UNIX_EPOCH;
        route.blocked.push(domain::route::Blocked { version: version(1), reason, by, at });
    })
    .await;
    test.break_version(1, ErrorCode::Internal);
    assert_eq!(test.predict(Some("anna")).await.unwrap_err().code, ErrorCode::Internal);
}

#[tokio::test]
async fn a_failure_that_nothing_stands_in_for_is_on_record_with_its_decision() {
    let test = Test::with_versions(1).await;
    test.break_version(1, ErrorCode::Internal);
    assert_eq!(test.predict(Some("anna")).await.unwrap_err().code, ErrorCode::Internal);
    let records = test.records().await;
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((record.error.as_deref(), record.version), (Some("internal"), version(1)));
    assert_eq!((record.rows, record.output.bytes), (0, 0));
    assert_eq!(record.decision.unit.as_deref(), Some("anna"));
    let view = test.router.prediction(call(Role::Analyst), record.prediction_id).await.unwrap();
    assert_eq!(view.error.as_deref(), Some("internal"));
}
