//! The feedback service on a real store, with a clock that the test moves.

#![expect(clippy::unwrap_used, reason = "in a test binary, what cannot be set up is a failure")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use contracts::feedback::{NewFeedback, Submitted};
use contracts::{ApiError, Call, ErrorCode, FeedbackApi};
use domain::prediction::{Decision, Payload, Reason};
use domain::{
    Clock, Feedback, ModelName, Outcome, PredictionId, PredictionRecord, Principal, RequestId, Role,
};
use feedback::{DEFAULTS, Deps, FeedbackService, Settings};
use serde::Deserialize;
use storage::ports::FeedbackStore;
use storage::{Documents, StoreError};
use time::OffsetDateTime;

#[tokio::test]
async fn feedback_for_a_known_prediction_is_kept_once() {
    let place = Place::new().await;
    let service = place.service();
    let id = place.logged().await;

    let submitted = service.submit(by("till", Role::Client), label(id, "setosa")).await.unwrap();
    assert_eq!(submitted, Submitted { prediction_known: true, new: true });
    place.clock.0.fetch_add(60, Ordering::SeqCst);
    let again = service.submit(by("till", Role::Client), label(id, "setosa")).await.unwrap();
    assert_eq!(again, Submitted { prediction_known: true, new: false });
    let other = service.submit(by("door", Role::Client), value(id, -0.5)).await.unwrap();
    assert!(other.new);

    let list = service.of_prediction(by("anna", Role::Analyst), id).await.unwrap().feedback;
    let expected = |outcome, source: &str, seconds| Feedback {
        prediction_id: id,
        outcome,
        source: source.to_owned(),
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
    let submitted = service.submit(by("till", Role::Client), value(id, 1e308)).await.unwrap();
    assert_eq!(submitted, Submitted { prediction_known: false, new: true });
    let list = service.of_prediction(by("anna", Role::Analyst), id).await.unwrap();
    assert_eq!(list.feedback.len(), 1);
    let unheard_of = PredictionId::new();
    let list = service.of_prediction(by("anna", Role::Analyst), unheard_of).await.unwrap();
    assert!(list.feedback.is_empty());
}

#[tokio::test]
async fn feedback_that_breaks_a_rule_is_422_and_names_the_place() {
    let place = Place::new().await;
    let service = place.service();
    let id = PredictionId::new();
    let neither = NewFeedback { prediction_id: id, label: None, value: None };
    let both = NewFeedback { value: Some(1.0), ..label(id, "setosa") };
    for (request, pointer) in [
        (neither, "#"),
        (both, "#"),
        (label(id, ""), "#/label"),
        (label(id, &"é".repeat(1025)), "#/label"),
        (value(id, f64::NAN), "#/value"),
        (value(id, f64::INFINITY), "#/value"),
    ] {
        let error = service.submit(by("till", Role::Client), request).await.unwrap_err();
        assert_eq!(
            (error.code, error.errors[0].pointer.as_str()),
            (ErrorCode::Unprocessable, pointer)
        );
    }
    let list = service.of_prediction(by("anna", Role::Analyst), id).await.unwrap();
    assert!(list.feedback.is_empty());
    service.submit(by("till", Role::Client), label(id, &"é".repeat(1024))).await.unwrap();
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
        let submitted = service.submit(by("x", role), label(id, "a")).await;
        let read = service.of_prediction(by("x", role), id).await;
        let expect = |may: bool| (!may).then_some(ErrorCode::Forbidden);
        assert_eq!(submitted.err().map(|error| error.code), expect(may_submit), "{role:?}");
        assert_eq!(read.err().map(|error| error.code), expect(may_read), "{role:?}");
    }
    let nobody = Call { principal: None, ..by("x", Role::Admin) };
    let error = service.submit(nobody.clone(), label(id, "a")).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unauthenticated);
    let error = service.of_prediction(nobody, id).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unauthenticated);
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
        let errors = [
            service.submit(by("till", Role::Client), label(id, "a")).await.unwrap_err(),
            service.of_prediction(by("anna", Role::Analyst), id).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.code, expected);
            assert!(!error.message.contains("disk on fire"), "{error}");
            let retry = (expected == ErrorCode::Unavailable).then_some(1);
            assert_eq!(error.retry_after_s, retry);
        }
    }
    assert_eq!(ApiError::internal().message, "internal error");
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
    async fn add(&self, _: Feedback) -> Result<bool, StoreError> {
        self.error()
    }
    async fn of_prediction(&self, _: PredictionId) -> Result<Vec<Feedback>, StoreError> {
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

fn label(prediction_id: PredictionId, label: &str) -> NewFeedback {
    NewFeedback { prediction_id, label: Some(label.to_owned()), value: None }
}

fn value(prediction_id: PredictionId, value: f64) -> NewFeedback {
    NewFeedback { prediction_id, label: None, value: Some(value) }
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
