//! The feedback service on a real store, with a clock that the test moves.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "in a test binary, what cannot be set up is a failure"
)]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use contracts::feedback::{
    FeedbackForm, FeedbackQuery, PendingQuery, SubmitAnswer, Submitted, SubmittedMany,
};
use contracts::{ApiError, Call, ErrorCode, FeedbackApi, Framed};
use domain::prediction::{Decision, Payload, Reason};
use domain::{
    Clock, Feedback, ModelName, Outcome, Pending, PredictionId, PredictionRecord, Principal,
    RequestId, Role, Tally,
};
use feedback::{DEFAULTS, Deps, FeedbackService, Settings};
use serde::Deserialize;
use serde_json::{Value, json};
use storage::ports::FeedbackStore;
use storage::{Documents, StoreError};
use time::OffsetDateTime;

#[path = "api/many.rs"]
mod many;
#[path = "api/waiting.rs"]
mod waiting;

#[tokio::test]
async fn feedback_for_a_known_prediction_is_kept_once() {
    let place = Place::new().await;
    let service = place.service();
    let id = place.logged().await;

    let submitted = one(&service, "till", label(id, "setosa")).await.unwrap();
    assert_eq!(submitted, Submitted { prediction_known: Some(true), new: true });
    place.clock.0.fetch_add(60, Ordering::SeqCst);
    let again = one(&service, "till", label(id, "setosa")).await.unwrap();
    assert_eq!(again, Submitted { prediction_known: Some(true), new: false });
    let other = one(&service, "door", value(id, -0.5)).await.unwrap();
    assert!(other.new);

    let list = service.of_prediction(by("anna", Role::Analyst), id).await.unwrap().feedback;
    let expected = |outcome, source: &str, seconds| Feedback {
        subject: id.into(),
        outcome,
        source: source.to_owned(),
        occurred_at: None,
        received_at: OffsetDateTime::from_unix_timestamp(START + seconds).unwrap(),
    };
    let expected = [
        expected(Outcome::Label("setosa".to_owned()), "till", 0),
        expected(Outcome::Value(-0.5), "door", 60),
    ];
    assert_eq!(list, expected);
}

#[tokio::test]
async fn feedback_may_come_before_the_prediction_is_logged() {
    let place = Place::new().await;
    let service = place.service();
    let id = PredictionId::new();
    let submitted = one(&service, "till", value(id, 1e308)).await.unwrap();
    assert_eq!(submitted, Submitted { prediction_known: Some(false), new: true });
    let list = service.of_prediction(by("anna", Role::Analyst), id).await.unwrap();
    assert_eq!(list.feedback.len(), 1);
    let unheard_of = PredictionId::new();
    let list = service.of_prediction(by("anna", Role::Analyst), unheard_of).await.unwrap();
    assert!(list.feedback.is_empty());
}

#[tokio::test]
async fn a_unit_and_a_named_metric_are_kept_as_they_came() {
    let place = Place::new().await;
    let service = place.service();
    let body = json!({"model": "iris", "unit": "user 1", "metric": "revenue", "value": 12.5,
        "at": "2023-11-14T23:13:20+01:00"});
    let submitted = one(&service, "till", body.clone()).await.unwrap();
    assert_eq!(submitted, Submitted { prediction_known: None, new: true });
    assert!(!one(&service, "till", body).await.unwrap().new);
    let model: ModelName = "iris".parse().unwrap();
    let units = ["user 1".to_owned()];
    let epoch = OffsetDateTime::UNIX_EPOCH;
    let found = place.documents.feedback.of_units(&model, &units, epoch).await.unwrap();
    assert_eq!(found.len(), 1);
    let text = serde_json::to_value(&found[0]).unwrap();
    let expected = json!({"model": "iris", "unit": "user 1",
        "outcome": {"metric": {"name": "revenue", "value": 12.5}}, "source": "till",
        "occurred_at": "2023-11-14T22:13:20Z", "received_at": "2023-11-14T22:13:20Z"});
    assert_eq!(text, expected);
}

#[tokio::test]
async fn feedback_that_breaks_a_rule_is_422_and_names_the_place() {
    let place = Place::new().await;
    let service = place.service();
    let id = PredictionId::new();
    let unit = |unit: &str| json!({"model": "iris", "unit": unit, "value": 1});
    for (request, pointer) in [
        (json!({"prediction_id": id}), "#"),
        (json!({"prediction_id": id, "label": "setosa", "value": 1}), "#"),
        (json!({"prediction_id": id, "label": "setosa", "metric": "revenue"}), "#"),
        (json!({"prediction_id": id, "metric": "revenue"}), "#/value"),
        (json!({"prediction_id": id, "metric": "label", "value": 1}), "#/metric"),
        (json!({"prediction_id": id, "lable": "setosa"}), "#/lable"),
        (json!({"prediction_id": "abc", "label": "setosa"}), "#/prediction_id"),
        (label(id, ""), "#/label"),
        (label(id, &"é".repeat(1025)), "#/label"),
        (json!({"prediction_id": id, "value": "1"}), "#/value"),
        (json!({"label": "setosa"}), "#"),
        (json!({"model": "iris", "label": "setosa"}), "#"),
        (json!({"prediction_id": id, "model": "iris", "unit": "u", "label": "setosa"}), "#"),
        (json!({"model": "a b", "unit": "u", "value": 1}), "#/model"),
        (unit(""), "#/unit"),
        (unit(&"u".repeat(257)), "#/unit"),
        (json!({"prediction_id": id, "value": 1, "at": "2023-11-14T22:18:21Z"}), "#/at"),
        (json!({"prediction_id": id, "value": 1, "at": "1969-11-14T22:18:21Z"}), "#/at"),
        (json!({"prediction_id": id, "value": 1, "at": 5}), "#/at"),
        (json!(7), "#"),
    ] {
        let error = one(&service, "till", request.clone()).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unprocessable, "{request}");
        assert_eq!(error.errors[0].pointer, pointer, "{request}");
    }
    let list = service.of_prediction(by("anna", Role::Analyst), id).await.unwrap();
    assert!(list.feedback.is_empty());
    one(&service, "till", label(id, &"é".repeat(1024))).await.unwrap();
    one(&service, "till", unit(&"u".repeat(256))).await.unwrap();
    // A clock may be a little ahead.
    let ahead = json!({"prediction_id": id, "value": 1, "at": "2023-11-14T22:18:20Z"});
    one(&service, "till", ahead).await.unwrap();
    let error = many::send(&service, by("till", Role::Client), "application/json", "{").await;
    assert_eq!(error.unwrap_err().code, ErrorCode::BadRequest);
}

#[tokio::test]
async fn each_call_asks_for_its_role() {
    let place = Place::new().await;
    let service = place.service();
    let id = PredictionId::new();
    for (role, may_submit, may_read) in [
        (Role::Admin, true, true),
        (Role::Engineer, true, true),
        (Role::Analyst, false, true),
        (Role::Client, true, false),
        (Role::Service, false, false),
    ] {
        let expect = |may: bool| (!may).then_some(ErrorCode::Forbidden);
        let submitted = service.submit(by("x", role), form(label(id, "a"))).await;
        assert_eq!(submitted.err().map(|error| error.code), expect(may_submit), "{role:?}");
        for read in reads(&service, by("x", role), id).await {
            assert_eq!(read.err().map(|error| error.code), expect(may_read), "{role:?}");
        }
    }
    let nobody = Call { principal: None, ..by("x", Role::Admin) };
    let error = service.submit(nobody.clone(), form(label(id, "a"))).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unauthenticated);
    for read in reads(&service, nobody, id).await {
        assert_eq!(read.unwrap_err().code, ErrorCode::Unauthenticated);
    }
}

#[tokio::test]
async fn store_down_is_503_and_a_broken_one_500_without_the_cause() {
    let place = Place::new().await;
    let id = PredictionId::new();
    for (broken, expected) in
        [(Broken::Down, ErrorCode::Unavailable), (Broken::Damaged, ErrorCode::Internal)]
    {
        let store = Arc::new(broken);
        let deps = Deps { feedback: store, ..place.deps() };
        let service = feedback::build(settings(), deps);
        let mut errors =
            vec![service.submit(by("till", Role::Client), form(label(id, "a"))).await.unwrap_err()];
        let both = json!([label(id, "a"), {"label": 1}]);
        errors.push(service.submit(by("till", Role::Client), form(both)).await.unwrap_err());
        for read in reads(&service, by("anna", Role::Analyst), id).await {
            errors.push(read.unwrap_err());
        }
        for error in errors {
            assert_eq!(error.code, expected);
            assert!(!error.message.contains("disk on fire"), "{error}");
            let retry = (expected == ErrorCode::Unavailable).then_some(1);
            assert_eq!(error.retry_after_s, retry);
        }
    }
    assert_eq!(ApiError::internal().message, "internal error");
}

/// Each way to read.
async fn reads(
    service: &FeedbackService,
    call: Call,
    id: PredictionId,
) -> [Result<(), ApiError>; 3] {
    let query = FeedbackQuery { model: None, window_s: 60 };
    [
        service.of_prediction(call.clone(), id).await.map(drop),
        service.summary(call.clone(), query).await.map(drop),
        service.pending(call, PendingQuery { after: None, limit: 10 }).await.map(drop),
    ]
}

async fn one(service: &FeedbackService, by_whom: &str, body: Value) -> Result<Submitted, ApiError> {
    match service.submit(by(by_whom, Role::Client), form(body)).await? {
        SubmitAnswer::One(submitted) => Ok(submitted),
        SubmitAnswer::Many(many) => panic!("many: {many:?}"),
    }
}

fn form(body: Value) -> Framed<FeedbackForm> {
    let meta = FeedbackForm { content_type: "application/json".to_owned() };
    Framed { meta, body: body.to_string().into() }
}

/// When the tests begin, seconds since 1970.
const START: i64 = 1_700_000_000;

#[derive(Debug)]
struct FakeClock(AtomicI64);

impl Clock for FakeClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// A store in a folder that is gone at the end of the test.
struct Place {
    _folder: tempfile::TempDir,
    documents: Documents,
    clock: Arc<FakeClock>,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("documents.db").display());
        let documents = storage::documents(&url).await.unwrap();
        Self { _folder: folder, documents, clock: Arc::new(FakeClock(AtomicI64::new(START))) }
    }

    fn deps(&self) -> Deps {
        Deps {
            feedback: Arc::clone(&self.documents.feedback),
            predictions: Arc::clone(&self.documents.predictions),
            clock: Arc::clone(&self.clock) as _,
        }
    }

    fn service(&self) -> Arc<FeedbackService> {
        feedback::build(settings(), self.deps())
    }

    /// A prediction that is in the log.
    async fn logged(&self) -> PredictionId {
        let record = record();
        self.documents.predictions.append(std::slice::from_ref(&record)).await.unwrap();
        record.prediction_id
    }
}

/// A store that fails.
enum Broken {
    Down,
    Damaged,
}

impl Broken {
    fn error<T>(&self) -> Result<T, StoreError> {
        let source = "disk on fire".into();
        Err(match self {
            Self::Down => {
                StoreError::Unavailable { store: "sqlite://x".to_owned(), action: "read", source }
            }
            Self::Damaged => StoreError::Corrupt { what: "feedback", id: "x".to_owned(), source },
        })
    }
}

#[async_trait::async_trait]
impl FeedbackStore for Broken {
    async fn add_all(
        &self,
        _: &[Feedback],
        _: &HashMap<PredictionId, ModelName>,
    ) -> Result<Vec<bool>, StoreError> {
        self.error()
    }
    async fn of_prediction(&self, _: PredictionId) -> Result<Vec<Feedback>, StoreError> {
        self.error()
    }
    async fn of_predictions(&self, _: &[PredictionId]) -> Result<Vec<Feedback>, StoreError> {
        self.error()
    }
    async fn of_units(
        &self,
        _: &ModelName,
        _: &[String],
        _: OffsetDateTime,
    ) -> Result<Vec<Feedback>, StoreError> {
        self.error()
    }
    async fn pending(&self, _: Option<PredictionId>, _: u32) -> Result<Vec<Pending>, StoreError> {
        self.error()
    }
    async fn settle(&self, _: &HashMap<PredictionId, ModelName>) -> Result<(), StoreError> {
        self.error()
    }
    async fn tally(
        &self,
        _: Option<&ModelName>,
        _: OffsetDateTime,
    ) -> Result<Vec<Tally>, StoreError> {
        self.error()
    }
}

fn settings() -> Settings {
    #[derive(Deserialize)]
    struct All {
        feedback: Settings,
    }
    runtime::settings::load::<All>(&[DEFAULTS], None, BTreeMap::new()).unwrap().feedback
}

fn by(id: &str, role: Role) -> Call {
    let principal = Principal::user(id, id, role);
    Call { principal: Some(principal), ..Call::service("test", Duration::from_secs(30)) }
}

fn label(prediction_id: PredictionId, label: &str) -> Value {
    json!({"prediction_id": prediction_id, "label": label})
}

fn value(prediction_id: PredictionId, value: f64) -> Value {
    json!({"prediction_id": prediction_id, "value": value})
}

fn record() -> PredictionRecord {
    let model: ModelName = "iris".parse().unwrap();
    let body = || Payload { content_type: "application/json".to_owned(), bytes: 2, json: None };
    PredictionRecord {
        prediction_id: PredictionId::new(),
        request_id: RequestId::new(),
        at: OffsetDateTime::from_unix_timestamp(START).unwrap(),
        principal: "till".to_owned(),
        model,
        version: "1".parse().unwrap(),
        decision: Decision::new(1, Reason::Request, 1.0, None),
        input: body(),
        output: body(),
        rows: 1,
        label: Some("setosa".to_owned()),
        confidence: Some(0.9),
        value: None,
        latency_us: 1000,
        compute_us: 100,
        cached: false,
        degraded: None,
        error: None,
    }
}
