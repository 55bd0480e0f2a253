//! The drift service on a real store, with a clock that the test moves.

#![expect(clippy::unwrap_used, reason = "in a test binary, what cannot be set up is a failure")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use contracts::drift::{Quantiles, Summary, SummaryRequest};
use contracts::{ApiError, Call, Deadline, DriftApi, ErrorCode};
use domain::prediction::{Decision, Payload, Reason};
use domain::{Clock, ModelName, PredictionId, PredictionRecord, Principal, RequestId, Role};
use drift::{DEFAULTS, Deps, DriftService, Settings};
use serde::Deserialize;
use storage::ports::PredictionLog;
use storage::{Documents, StoreError};
use time::OffsetDateTime;

#[tokio::test]
async fn a_window_is_summed_up_by_version() {
    let place = Place::new().await;
    let service = place.service(&[]);
    let mut records = Vec::new();
    for number in 1..=100 {
        let label = if number % 4 == 0 { "setosa" } else { "virginica" };
        records.push(PredictionRecord {
            label: Some(label.to_owned()),
            confidence: Some(if number <= 50 { 0.5 } else { 1.0 }),
            latency_us: 1000 * number,
            rows: 2,
            ..record("iris", "2", START - 10)
        });
    }
    records.push(PredictionRecord {
        value: Some(-3.0),
        latency_us: 1500,
        ..record("iris", "10", START - 20)
    });
    records.push(record("iris", "2", START - 61));
    records.push(record("wine", "1", START - 10));
    place.documents.predictions.append(&records).await.unwrap();

    let summary = ask(&service, Role::Analyst, "iris", 60).await.unwrap();
    assert_eq!((summary.model.as_str(), summary.window_s, summary.truncated), ("iris", 60, false));
    let versions: Vec<_> = summary.versions.iter().map(|one| one.version.number()).collect();
    assert_eq!(versions, [2, 10]);

    let [two, ten] = &summary.versions[..] else { panic!("not two versions") };
    assert_eq!((two.predictions, two.rows), (100, 200));
    assert!((two.mean_confidence.unwrap() - 0.75).abs() < 1e-12);
    assert_eq!(two.mean_value, None);
    let labels = [("setosa".to_owned(), 25), ("virginica".to_owned(), 75)];
    assert_eq!(two.labels, BTreeMap::from(labels));
    assert_eq!(two.latency_ms, Quantiles { p50: 50.0, p95: 95.0, p99: 99.0 });

    assert_eq!((ten.predictions, ten.mean_confidence, ten.mean_value), (1, None, Some(-3.0)));
    assert!(ten.labels.is_empty());
    assert_eq!(ten.latency_ms, Quantiles { p50: 1.5, p95: 1.5, p99: 1.5 });

    // The window moves with the clock.
    place.clock.0.fetch_add(45, Ordering::SeqCst);
    let later = ask(&service, Role::Analyst, "iris", 60).await.unwrap();
    assert_eq!(later.versions.iter().map(|one| one.version.number()).collect::<Vec<_>>(), [2]);
    let longer = ask(&service, Role::Analyst, "iris", 3600).await.unwrap();
    assert_eq!(longer.versions[0].predictions, 101);
}

#[tokio::test]
async fn a_model_without_predictions_has_no_versions() {
    let place = Place::new().await;
    let summary = ask(&place.service(&[]), Role::Analyst, "unheard-of", 60).await.unwrap();
    assert_eq!((summary.versions.len(), summary.truncated), (0, false));
}

#[tokio::test]
async fn more_records_than_the_limit_are_truncated_to_the_newest() {
    let place = Place::new().await;
    let service = place.service(&[("MAX_RECORDS", "10")]);
    let records = |version: &str, at: i64, count: usize| {
        (0..count).map(|_| record("iris", version, at)).collect::<Vec<_>>()
    };
    place.documents.predictions.append(&records("1", START - 50, 4)).await.unwrap();
    place.documents.predictions.append(&records("2", START - 5, 6)).await.unwrap();
    let exact = ask(&service, Role::Analyst, "iris", 60).await.unwrap();
    assert_eq!((exact.versions.len(), exact.truncated), (2, false));

    place.documents.predictions.append(&records("3", START - 1, 7)).await.unwrap();
    let cut = ask(&service, Role::Analyst, "iris", 60).await.unwrap();
    assert!(cut.truncated);
    let counts: Vec<_> =
        cut.versions.iter().map(|one| (one.version.number(), one.predictions)).collect();
    assert_eq!(counts, [(2, 3), (3, 7)]);
}

#[tokio::test]
async fn a_window_out_of_bounds_is_422() {
    let place = Place::new().await;
    let service = place.service(&[("MAX_WINDOW_S", "100")]);
    for window_s in [0, 101, u64::from(u32::MAX) + 61, u64::MAX] {
        let error = ask(&service, Role::Analyst, "iris", window_s).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unprocessable);
        assert_eq!(error.errors[0].pointer, "#/window_s");
        assert_eq!(error.errors[0].detail, format!("must be 1 to 100 seconds, got {window_s}"));
    }
    for window_s in [1, 100] {
        ask(&service, Role::Analyst, "iris", window_s).await.unwrap();
    }
}

#[tokio::test]
async fn a_summary_is_for_analysts_and_those_above() {
    let place = Place::new().await;
    let service = place.service(&[]);
    for role in [Role::Admin, Role::Engineer, Role::Analyst] {
        ask(&service, role, "iris", 60).await.unwrap();
    }
    for role in [Role::Client, Role::Service] {
        let error = ask(&service, role, "iris", 60).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Forbidden, "{role:?}");
    }
    let nobody = Call { principal: None, ..by(Role::Admin) };
    let error = service.summary(nobody, request("iris", 60)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unauthenticated);
}

#[tokio::test]
async fn a_passed_deadline_is_504() {
    let place = Place::new().await;
    let late = Call { deadline: Deadline::after(Duration::ZERO), ..by(Role::Analyst) };
    let error = place.service(&[]).summary(late, request("iris", 60)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Timeout);
}

#[tokio::test]
async fn store_down_is_503_and_a_broken_one_500_without_the_cause() {
    let place = Place::new().await;
    for (broken, code, retry_after_s) in [
        (Broken::Down, ErrorCode::Unavailable, Some(1)),
        (Broken::Damaged, ErrorCode::Internal, None),
    ] {
        let deps = Deps { predictions: Arc::new(broken), clock: Arc::clone(&place.clock) as _ };
        let service = drift::build(settings(&[]), deps).unwrap();
        let error = ask(&service, Role::Analyst, "iris", 60).await.unwrap_err();
        assert_eq!((error.code, error.retry_after_s), (code, retry_after_s));
        assert!(!error.message.contains("disk on fire"), "{error}");
    }
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_by_name() {
    let place = Place::new().await;
    for (key, value, named) in [
        ("MAX_WINDOW_S", "0", "`drift.max_window_s` is `0`"),
        ("MAX_WINDOW_S", "315360001", "`drift.max_window_s` is `315360001`"),
        ("MAX_RECORDS", "0", "`drift.max_records` is `0`"),
        ("MAX_RECORDS", "4294967295", "`drift.max_records` is `4294967295`"),
    ] {
        let error = drift::build(settings(&[(key, value)]), place.deps()).err().unwrap();
        assert!(error.to_string().contains(named), "{error}");
    }
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
            predictions: Arc::clone(&self.documents.predictions),
            clock: Arc::clone(&self.clock) as _,
        }
    }

    fn service(&self, values: &[(&str, &str)]) -> Arc<DriftService> {
        drift::build(settings(values), self.deps()).unwrap()
    }
}

/// A prediction log that fails.
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
            Self::Damaged => StoreError::Corrupt { what: "prediction", id: "x".to_owned(), source },
        })
    }
}

#[async_trait::async_trait]
impl PredictionLog for Broken {
    async fn append(&self, _: &[PredictionRecord]) -> Result<(), StoreError> {
        self.error()
    }
    async fn get(&self, _: PredictionId) -> Result<Option<PredictionRecord>, StoreError> {
        self.error()
    }
    async fn since(
        &self,
        _: &ModelName,
        _: OffsetDateTime,
        _: u32,
    ) -> Result<Vec<PredictionRecord>, StoreError> {
        self.error()
    }

    async fn exposures(
        &self,
        _: &domain::PlanId,
        _: Option<PredictionId>,
        _: u32,
    ) -> Result<Vec<domain::prediction::Exposure>, StoreError> {
        self.error()
    }

    async fn known(
        &self,
        _: &[PredictionId],
    ) -> Result<std::collections::HashMap<PredictionId, ModelName>, StoreError> {
        self.error()
    }
}

fn settings(values: &[(&str, &str)]) -> Settings {
    #[derive(Deserialize)]
    struct All {
        drift: Settings,
    }
    let environment =
        values.iter().map(|(key, value)| (format!("ENGINE__DRIFT__{key}"), (*value).to_owned()));
    runtime::settings::load::<All>(&[DEFAULTS], None, environment.collect()).unwrap().drift
}

fn by(role: Role) -> Call {
    let principal = Principal::user("0199", "anna", role);
    Call { principal: Some(principal), ..Call::service("test", Duration::from_secs(30)) }
}

fn request(model: &str, window_s: u64) -> SummaryRequest {
    SummaryRequest { model: model.parse().unwrap(), window_s }
}

async fn ask(
    service: &DriftService,
    role: Role,
    model: &str,
    window_s: u64,
) -> Result<Summary, ApiError> {
    service.summary(by(role), request(model, window_s)).await
}

fn record(model: &str, version: &str, at: i64) -> PredictionRecord {
    let body = || Payload { content_type: "application/json".to_owned(), bytes: 2, json: None };
    PredictionRecord {
        prediction_id: PredictionId::new(),
        request_id: RequestId::new(),
        at: OffsetDateTime::from_unix_timestamp(at).unwrap(),
        principal: "till".to_owned(),
        model: model.parse().unwrap(),
        version: version.parse().unwrap(),
        decision: Decision::new(1, Reason::Request, 1.0, None),
        input: body(),
        output: body(),
        rows: 1,
        label: None,
        confidence: None,
        value: None,
        latency_us: 1000,
        compute_us: 100,
        cached: false,
        degraded: None,
        error: None,
    }
}
