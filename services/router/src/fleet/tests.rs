use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use bytes::Bytes;
use contracts::inference::{Answered, Loaded, LoadedList, PredictTask, Protocol};
use contracts::{Done, Framed, InferenceApi};
use domain::PredictionId;
use serde_json::json;

use super::breaker::Standing;
use super::*;
use crate::replicas::Replica;

/// What a fake replica does with a prediction.
#[derive(Clone, Copy)]
enum Mood {
    Well,
    Dead,
    Hangs,
    Overloaded,
    Refuses,
    Slow(Duration),
}

struct Fake {
    mood: Mutex<Mood>,
    loaded: Mutex<HashSet<Target>>,
    asked: AtomicUsize,
}

impl Fake {
    fn new(mood: Mood) -> Arc<Self> {
        let loaded = Mutex::new(HashSet::from([target(&version())]));
        Arc::new(Self { mood: Mutex::new(mood), loaded, asked: AtomicUsize::new(0) })
    }

    fn be(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    async fn act(&self) -> Result<(), ApiError> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Well => Ok(()),
            Mood::Dead => Err(ApiError::new(ErrorCode::Unavailable, "dead")),
            Mood::Hangs => std::future::pending().await,
            Mood::Overloaded => Err(ApiError::new(ErrorCode::Unavailable, "busy").retry_after(1)),
            Mood::Refuses => Err(ApiError::new(ErrorCode::Unprocessable, "bad")),
            Mood::Slow(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
        }
    }
}

#[async_trait]
impl InferenceApi for Fake {
    async fn predict(
        &self,
        _: Call,
        request: Framed<PredictTask>,
    ) -> Result<Framed<Answered>, ApiError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.act().await?;
        if !self.loaded.lock().unwrap().contains(&request.meta.target) {
            return Err(ApiError::new(ErrorCode::NotFound, "not loaded"));
        }
        let meta = json!({"content_type": "application/json", "rows": 1, "compute_us": 1});
        Ok(Framed { meta: serde_json::from_value(meta).unwrap(), body: Bytes::new() })
    }

    async fn check(&self, call: Call, version: Version) -> Result<Loaded, ApiError> {
        self.load(call, version).await
    }

    async fn load(&self, _: Call, version: Version) -> Result<Loaded, ApiError> {
        self.act().await?;
        self.loaded.lock().unwrap().insert(target(&version));
        Ok(Loaded { target: target(&version), memory_bytes: 1, row_us: 1, requests: 0 })
    }

    async fn unload(&self, _: Call, target: Target) -> Result<Done, ApiError> {
        self.act().await?;
        self.loaded.lock().unwrap().remove(&target);
        Ok(Done {})
    }

    async fn loaded(&self, _: Call) -> Result<LoadedList, ApiError> {
        self.act().await?;
        let loaded = |target: &Target| Loaded {
            target: target.clone(),
            memory_bytes: 1,
            row_us: 1,
            requests: 0,
        };
        let versions = self.loaded.lock().unwrap().iter().map(loaded).collect();
        Ok(LoadedList { versions, memory_bytes: 0, memory_limit_bytes: 0 })
    }
}

/// Replicas that a test changes.
#[derive(Default)]
struct Changing(Mutex<Vec<Replica>>);

#[async_trait]
impl Replicas for Changing {
    async fn current(&self) -> Vec<Replica> {
        self.0.lock().unwrap().clone()
    }
}

fn version() -> Version {
    let at = time::OffsetDateTime::UNIX_EPOCH;
    let manifest = json!({
        "name": "iris", "task": "classification", "modality": "tabular", "format": "onnx",
        "inputs": [], "outputs": []
    });
    Version {
        model: "iris".parse().unwrap(),
        version: domain::VersionId::new(1).unwrap(),
        manifest: serde_json::from_value(manifest).unwrap(),
        files: Vec::new(),
        enabled: true,
        created_by: "t".to_owned(),
        created_at: at,
    }
}

fn settings() -> ReplicaSettings {
    ReplicaSettings {
        resolve_interval_s: 1,
        survey_interval_ms: 10,
        survey_timeout_ms: 50,
        hedge_after_ms: 50,
        retry_ratio: 0.2,
        retry_reserve: 100,
        breaker_failures: 3,
        breaker_cool_down_ms: 1,
    }
}

struct Test {
    fleet: Fleet,
    fakes: Vec<Arc<Fake>>,
    source: Arc<Changing>,
}

impl Test {
    async fn new(moods: &[Mood], settings: ReplicaSettings) -> Self {
        let fakes: Vec<_> = moods.iter().map(|_| Fake::new(Mood::Well)).collect();
        let source = Arc::new(Changing::default());
        for fake in &fakes {
            add(&source, fake);
        }
        let load_timeout = Duration::from_millis(200);
        let fleet = Fleet::new(Arc::clone(&source) as _, settings, load_timeout, 7).await;
        let test = Self { fleet, fakes, source };
        test.fleet.survey_all().await;
        for (fake, mood) in test.fakes.iter().zip(moods) {
            fake.be(*mood);
        }
        test
    }

    async fn predict(&self) -> Result<(), ApiError> {
        self.predict_within(Duration::from_secs(5)).await
    }

    async fn predict_within(&self, limit: Duration) -> Result<(), ApiError> {
        self.ask(limit, false).await
    }

    async fn ask(&self, limit: Duration, background: bool) -> Result<(), ApiError> {
        let task = PredictTask {
            target: target(&version()),
            prediction_id: PredictionId::new(),
            protocol: Protocol::Natural,
            content_type: "application/json".to_owned(),
            show_version: true,
            degraded: false,
            rules: None,
            background,
        };
        let request = Framed { meta: task, body: Bytes::new() };
        self.fleet.predict(&Call::service("t", limit), &version(), &request).await.map(drop)
    }

    fn standing(&self, index: usize) -> Standing {
        self.fleet.members.load()[index].breaker.standing()
    }
}

fn add(source: &Changing, fake: &Arc<Fake>) {
    let address = format!("{:p}", Arc::as_ptr(fake));
    let replica = Replica { address, api: Arc::clone(fake) as _ };
    source.0.lock().unwrap().push(replica);
}

#[tokio::test]
async fn the_less_busy_of_two_gets_the_next_request() {
    let test = Test::new(&[Mood::Well, Mood::Hangs, Mood::Well], settings()).await;
    // Requests that hang keep their replica busy: soon none goes there.
    let settings = ReplicaSettings { hedge_after_ms: 60_000, ..settings() };
    let test = Test { fleet: Fleet { settings, ..test.fleet }, ..test };
    let asked = (0..300).map(|_| test.predict_within(Duration::from_millis(300)));
    let mut asked: FuturesUnordered<_> = asked.collect();
    let mut failed = 0;
    while let Some(result) = asked.next().await {
        failed += usize::from(result.is_err());
    }
    assert!(failed <= 2, "{failed} of 300 waited for a replica that hangs");
    let (one, other) = (test.fakes[0].asked(), test.fakes[2].asked());
    assert!(one > 80 && other > 80, "{one} and {other}");
}

#[tokio::test]
async fn a_dead_replica_costs_no_request_and_its_breaker_opens() {
    let test = Test::new(&[Mood::Dead, Mood::Well], settings()).await;
    for _ in 0..100 {
        test.predict().await.unwrap();
    }
    assert_eq!(test.standing(0), Standing::Open);
    assert_eq!(test.fakes[0].asked(), 3);
}

#[tokio::test]
async fn a_replica_that_is_back_is_tried_with_one_request() {
    let test = Test::new(&[Mood::Dead, Mood::Well], settings()).await;
    for _ in 0..100 {
        test.predict().await.unwrap();
    }
    test.fleet.survey_all().await;
    assert_eq!(test.standing(0), Standing::Open, "a dead one does not answer the survey");
    test.fakes[0].be(Mood::Well);
    tokio::time::sleep(Duration::from_millis(5)).await;
    test.fleet.survey_all().await;
    assert_eq!(test.standing(0), Standing::HalfOpen);
    test.predict().await.unwrap();
    assert_eq!((test.standing(0), test.fakes[0].asked()), (Standing::Closed, 4));
}

#[tokio::test]
async fn with_all_breakers_open_requests_are_tried_all_the_same() {
    let test = Test::new(&[Mood::Dead, Mood::Dead], settings()).await;
    for _ in 0..10 {
        let error = test.predict().await.unwrap_err();
        assert_eq!((error.code, error.retry_after_s), (ErrorCode::Unavailable, Some(1)));
    }
    assert_eq!([test.standing(0), test.standing(1)], [Standing::Open; 2]);
    test.fakes[1].be(Mood::Well);
    test.predict().await.unwrap();
    assert_eq!(test.standing(1), Standing::Closed);
}

#[tokio::test]
async fn a_replica_that_hangs_is_overtaken_and_counts_as_failed() {
    let test = Test::new(&[Mood::Hangs, Mood::Well], settings()).await;
    let began = Instant::now();
    for _ in 0..20 {
        test.predict().await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(test.standing(0), Standing::Open);
    assert!(test.fleet.members.load().iter().all(|member| member.busy() == 0));
}

#[tokio::test]
async fn a_slow_model_is_not_broken_off_and_its_replicas_stay() {
    let slow = Mood::Slow(Duration::from_millis(120));
    let test = Test::new(&[slow, slow], settings()).await;
    for _ in 0..4 {
        test.predict().await.unwrap();
    }
    assert_eq!([test.standing(0), test.standing(1)], [Standing::Closed; 2]);
}

#[tokio::test]
async fn a_replica_alone_that_hangs_costs_the_deadline_and_no_more() {
    let test = Test::new(&[Mood::Hangs], settings()).await;
    let began = Instant::now();
    let error = test.predict_within(Duration::from_millis(100)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Timeout);
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn overload_tries_one_other_and_opens_no_breaker() {
    let test = Test::new(&[Mood::Overloaded; 3], settings()).await;
    for round in 1..=5 {
        let error = test.predict().await.unwrap_err();
        assert_eq!((error.code, error.retry_after_s), (ErrorCode::Unavailable, Some(1)));
        let asked: usize = test.fakes.iter().map(|fake| fake.asked()).sum();
        assert_eq!(asked, round * 2);
    }
    assert!((0..3).all(|index| test.standing(index) == Standing::Closed));
}

#[tokio::test]
async fn the_budget_bounds_retries() {
    let settings = ReplicaSettings { retry_reserve: 2, retry_ratio: 0.0, ..settings() };
    let test = Test::new(&[Mood::Overloaded; 2], settings).await;
    for _ in 0..10 {
        test.predict().await.unwrap_err();
    }
    let asked: usize = test.fakes.iter().map(|fake| fake.asked()).sum();
    assert_eq!(asked, 12);
}

#[tokio::test]
async fn a_refusal_is_an_answer() {
    let test = Test::new(&[Mood::Refuses; 2], settings()).await;
    for round in 1..=10 {
        assert_eq!(test.predict().await.unwrap_err().code, ErrorCode::Unprocessable);
        let asked: usize = test.fakes.iter().map(|fake| fake.asked()).sum();
        assert_eq!(asked, round);
    }
    assert_eq!([test.standing(0), test.standing(1)], [Standing::Closed; 2]);
}

#[tokio::test]
async fn a_replica_that_lost_the_version_is_passed_over() {
    let test = Test::new(&[Mood::Well; 2], settings()).await;
    test.fakes[0].loaded.lock().unwrap().clear();
    for _ in 0..20 {
        test.predict().await.unwrap();
    }
    assert_eq!(test.fakes[0].asked(), 1);
    test.fakes[1].loaded.lock().unwrap().clear();
    test.predict().await.unwrap();
}

#[tokio::test]
async fn what_nobody_waits_for_is_asked_once_and_harms_no_replica() {
    let test = Test::new(&[Mood::Hangs, Mood::Hangs], settings()).await;
    for asked in 1..6 {
        let error = test.ask(Duration::from_millis(100), true).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Timeout);
        let all: usize = test.fakes.iter().map(|fake| fake.asked()).sum();
        assert_eq!(all, asked, "no second replica is troubled");
    }
    assert_eq!((test.standing(0), test.standing(1)), (Standing::Closed, Standing::Closed));
}

#[tokio::test]
async fn replicas_join_and_leave_and_those_that_stay_keep_what_is_known_of_them() {
    let test = Test::new(&[Mood::Well; 2], settings()).await;
    let before = test.fleet.members.load_full();
    let third = Fake::new(Mood::Well);
    third.loaded.lock().unwrap().clear();
    test.source.0.lock().unwrap().remove(0);
    add(&test.source, &third);
    test.fleet.follow().await;
    let after = test.fleet.members.load_full();
    assert!(after.len() == 2 && Arc::ptr_eq(&before[1], &after[0]));
    for _ in 0..20 {
        test.predict().await.unwrap();
    }
    assert_eq!((test.fakes[0].asked(), third.asked()), (0, 0), "one left, the other is empty");
    test.fleet.load(&version()).await.unwrap();
    for _ in 0..50 {
        test.predict().await.unwrap();
    }
    assert!(third.asked() > 0);
}

#[tokio::test]
async fn a_replica_that_hangs_delays_no_load_for_long() {
    let test = Test::new(&[Mood::Hangs, Mood::Well], settings()).await;
    let began = Instant::now();
    test.fleet.load(&version()).await.unwrap();
    test.fleet.check(&version()).await.unwrap();
    test.fleet.unload(&target(&version())).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
