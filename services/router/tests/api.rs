//! The router against real stores, with replicas that a test can break.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "api/replica.rs"]
mod replica;
#[path = "api/routing.rs"]
mod routing;
#[path = "api/standing_in.rs"]
mod standing_in;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use contracts::inference::{Answered, Protocol};
use contracts::router::{
    CacheWish, Change, FilePart, NewArm, NewModel, NewRoute, NewVersion, PredictRequest, PutRoute,
    SetAlias, SetEnabled,
};
use contracts::{ApiError, Call, ErrorCode, Framed, RouterApi};
use domain::prediction::Reason;
use domain::{Principal, Role, Version, VersionId};
use router::{Deps, Settings};
use runtime::{Process, Recorder, SystemClock};
use serde_json::json;
use tempfile::TempDir;

use replica::Replica;

#[path = "api/events.rs"]
mod events;
#[path = "api/experiments.rs"]
mod experiments;
#[path = "api/rollback.rs"]
mod rollback;
#[path = "api/rollouts.rs"]
mod rollouts;

const MODEL: &[u8] = include_bytes!("../../all-in-one/demo/iris/model.onnx");

struct Test {
    router: Arc<dyn RouterApi>,
    replicas: Vec<Arc<Replica>>,
    relational: storage::Relational,
    process: Process,
    folder: TempDir,
}

fn settings(folder: &TempDir) -> Settings {
    let text = format!(
        "{}\n[router.spool]\ndir = {:?}\n",
        router::DEFAULTS.split("[router.spool]").next().unwrap(),
        folder.path().join("spool")
    );
    let rest = "max_bytes = 1000000\nsegment_bytes = 100000\nbatch = 10\ninterval_ms = 5\nmax_logged_body_bytes = 1000\n";
    let table: toml::Table = toml::from_str(&format!("{text}{rest}")).unwrap();
    let mut settings: Settings = table["router"].clone().try_into().unwrap();
    settings.resolve(folder.path());
    (settings.plans.tick_ms, settings.plans.flush_ms) = (20, 20);
    settings.rollouts.gate_interval_ms = 20;
    settings.rollouts.settled_s = 1;
    settings.rollouts.silence_limit_s = 1;
    settings.rollouts.baseline_least_records = 50;
    settings
}

fn url(folder: &TempDir, scheme: &str, name: &str) -> String {
    format!("{scheme}://{}", folder.path().join(name).display())
}

async fn start(folder: TempDir, replicas: usize) -> Test {
    let relational = storage::relational(&url(&folder, "sqlite", "relational.db")).await.unwrap();
    start_with(folder, replicas, relational).await.unwrap()
}

async fn start_with(
    folder: TempDir,
    replicas: usize,
    relational: storage::Relational,
) -> Result<Test, router::RouterError> {
    let settings = settings(&folder);
    start_as(folder, replicas, relational, storage::Cache::in_memory(), settings).await
}

async fn start_with_settings(
    folder: TempDir,
    replicas: usize,
    relational: storage::Relational,
    change: impl FnOnce(&mut Settings),
) -> Test {
    let mut settings = settings(&folder);
    change(&mut settings);
    start_as(folder, replicas, relational, storage::Cache::in_memory(), settings).await.unwrap()
}

async fn start_on(
    folder: TempDir,
    replicas: usize,
    relational: storage::Relational,
    cache: storage::Cache,
) -> Result<Test, router::RouterError> {
    let settings = settings(&folder);
    start_as(folder, replicas, relational, cache, settings).await
}

async fn start_as(
    folder: TempDir,
    replicas: usize,
    relational: storage::Relational,
    cache: storage::Cache,
    settings: Settings,
) -> Result<Test, router::RouterError> {
    let replicas: Vec<Arc<Replica>> = (0..replicas).map(|_| Arc::default()).collect();
    let artifacts = url(&folder, "file", "artifacts");
    let deps = Deps {
        relational: relational.clone(),
        documents: storage::documents(&url(&folder, "sqlite", "documents.db")).await.unwrap(),
        cache,
        artifacts: storage::artifacts(&artifacts, storage::Keys::default()).await.unwrap(),
        replicas: router::fixed(replicas.iter().map(|replica| Arc::clone(replica) as _)),
        routers: router::fixed([]),
        clock: Arc::new(SystemClock),
        recorder: Arc::new(Recorder::alone("router", Arc::new(SystemClock))),
        outbound: outbound(),
    };
    let service = router::build(settings, deps).await?;
    let process = Process::default();
    router::background(&service, &process);
    Ok(Test { router: router::api(&service), replicas, relational, process, folder })
}

/// A route's word of a rollout of version 2 beside version 1.
fn ramp(id: domain::PlanId) -> domain::rollout::Ramp {
    domain::rollout::Ramp {
        id,
        step: 0,
        since: time::OffsetDateTime::UNIX_EPOCH,
        canary: "2".parse().unwrap(),
        baseline: "1".parse().unwrap(),
        guardrails: Vec::new(),
        warm_up_requests: 0,
        warm_up_s: 0,
    }
}

/// What may be called outside: this machine, where tests listen.
fn outbound() -> Arc<dyn contracts::Outbound> {
    Arc::new(clients::Outbound::new(router::OUTBOUND, &["127.0.0.1".to_owned()]).unwrap())
}

/// The version that an answer names.
fn version_in(body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    body["model_version"].as_str().unwrap().to_owned()
}

fn call(role: Role) -> Call {
    let mut call = Call::service("test", Duration::from_secs(10));
    call.principal = Some(Principal::user(role.as_str(), "t", role));
    call
}

fn asked(unit: Option<&str>) -> PredictRequest {
    PredictRequest {
        model: "iris".parse().unwrap(),
        version: None,
        unit: unit.map(str::to_owned),
        protocol: Protocol::Natural,
        content_type: "application/json".to_owned(),
        cache: CacheWish::Use,
        context: Default::default(),
    }
}

impl Test {
    async fn new(replicas: usize) -> Self {
        let test = start(tempfile::tempdir().unwrap(), replicas).await;
        let new = NewModel { name: "iris".parse().unwrap(), description: String::new() };
        test.router.create_model(call(Role::Engineer), new).await.unwrap();
        test
    }

    async fn upload(&self) -> Result<Version, ApiError> {
        let file = FilePart { name: "model.onnx".to_owned(), bytes: MODEL.len() as u64 };
        let meta = NewVersion { model: "iris".parse().unwrap(), manifest: None, files: vec![file] };
        let request = Framed { meta, body: Bytes::from_static(MODEL) };
        self.router.create_version(call(Role::Engineer), request).await
    }

    async fn predict(&self, unit: Option<&str>) -> Result<Framed<Answered>, ApiError> {
        self.ask(asked(unit)).await
    }

    async fn ask(&self, meta: PredictRequest) -> Result<Framed<Answered>, ApiError> {
        let request = Framed { meta, body: Bytes::from_static(b"{\"features\":[1,2,3,4]}") };
        self.router.predict(call(Role::Client), request).await
    }

    async fn put(
        &self,
        weights: &[(u32, f64)],
        generation: Option<u64>,
    ) -> Result<domain::Route, ApiError> {
        let arm = |(version, weight): &(u32, f64)| NewArm {
            version: VersionId::new(*version).unwrap(),
            weight: *weight,
        };
        let route =
            NewRoute { arms: weights.iter().map(arm).collect(), generation, ..NewRoute::default() };
        let request = PutRoute { model: "iris".parse().unwrap(), route };
        self.router.put_route(call(Role::Engineer), request).await
    }
}

#[tokio::test]
async fn the_first_version_gets_the_route_and_later_ones_do_not() {
    let test = Test::new(1).await;
    assert_eq!(test.predict(None).await.unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(test.upload().await.unwrap().version.number(), 1);
    assert_eq!(test.upload().await.unwrap().version.number(), 2);
    let route = test.router.route(call(Role::Client), "iris".parse().unwrap()).await.unwrap();
    assert_eq!((route.generation, route.arms.len()), (1, 1));
    let answer = test.predict(None).await.unwrap();
    assert_eq!(version_in(&answer.body), "1");
}

#[tokio::test]
async fn a_version_that_no_replica_can_load_is_never_registered() {
    let test = Test::new(1).await;
    test.replicas[0].refuses.store(true, Ordering::Relaxed);
    let error = test.upload().await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unprocessable);
    assert!(error.message.contains("Foo"));
    let model = test.router.model(call(Role::Client), "iris".parse().unwrap()).await.unwrap();
    assert_eq!(model.versions, []);
}

#[tokio::test]
async fn a_route_with_bad_arms_points_at_each() {
    let test = Test::new(1).await;
    test.upload().await.unwrap();
    let error = test.put(&[(1, 50.0), (7, 50.0), (1, -1.0)], None).await.unwrap_err();
    let pointers: Vec<_> = error.errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(pointers, ["#/arms/1/version", "#/arms/2/weight", "#/arms/2/version"]);
    assert_eq!(test.put(&[(1, 0.0)], None).await.unwrap_err().code, ErrorCode::Unprocessable);
    assert_eq!(test.put(&[], None).await.unwrap_err().errors[0].pointer, "#/arms");
}

#[tokio::test]
async fn two_changes_of_a_route_at_once_both_count_but_a_stale_one_conflicts() {
    let test = Test::new(1).await;
    test.upload().await.unwrap();
    test.upload().await.unwrap();
    let both = tokio::join!(test.put(&[(1, 1.0), (2, 1.0)], None), test.put(&[(2, 1.0)], None));
    let mut generations = [both.0.unwrap().generation, both.1.unwrap().generation];
    generations.sort_unstable();
    assert_eq!(generations, [2, 3]);
    assert_eq!(test.put(&[(1, 1.0)], Some(2)).await.unwrap_err().code, ErrorCode::Conflict);
    assert_eq!(test.put(&[(1, 1.0)], Some(3)).await.unwrap().generation, 4);
}

#[tokio::test]
async fn a_unit_keeps_its_version_and_the_record_says_why() {
    let test = Test::new(1).await;
    test.upload().await.unwrap();
    test.upload().await.unwrap();
    test.put(&[(1, 50.0), (2, 50.0)], None).await.unwrap();
    for unit in ["a", "b", "c", "d"] {
        let first = version_in(&test.predict(Some(unit)).await.unwrap().body);
        for _ in 0..5 {
            assert_eq!(version_in(&test.predict(Some(unit)).await.unwrap().body), first);
        }
    }
    assert_eq!(test.predict(Some(&"x".repeat(300))).await.unwrap_err().errors[0].pointer, "#/unit");
}

#[tokio::test]
async fn every_answer_is_logged_also_after_a_restart() {
    let test = Test::new(1).await;
    test.upload().await.unwrap();
    test.predict(Some("someone")).await.unwrap();
    assert!(test.process.stop(Duration::from_secs(5)).await);
    let Test { folder, router, .. } = test;
    drop(router);
    let url = format!("sqlite://{}", folder.path().join("documents.db").display());
    let log = storage::documents(&url);
    let model = "iris".parse().unwrap();
    let records = log
        .await
        .unwrap()
        .predictions
        .since(&model, time::OffsetDateTime::UNIX_EPOCH, 10)
        .await
        .unwrap();
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(record.decision.reason, Reason::Unit);
    assert_eq!(record.decision.generation, 1);
    assert_eq!(record.decision.unit.as_deref(), Some("someone"));
    assert_eq!(record.input.json.as_ref().unwrap().get(), "{\"features\":[1,2,3,4]}");
}

#[tokio::test]
async fn a_dead_replica_is_passed_over() {
    let test = Test::new(2).await;
    test.upload().await.unwrap();
    test.replicas[0].dead.store(true, Ordering::Relaxed);
    for _ in 0..10 {
        test.predict(None).await.unwrap();
    }
    test.replicas[1].dead.store(true, Ordering::Relaxed);
    assert_eq!(test.predict(None).await.unwrap_err().code, ErrorCode::Unavailable);
    test.replicas[1].dead.store(false, Ordering::Relaxed);
    test.predict(None).await.unwrap();
}

#[tokio::test]
async fn an_evicted_version_is_loaded_again_when_asked_for() {
    let test = Test::new(1).await;
    test.upload().await.unwrap();
    test.predict(None).await.unwrap();
    test.replicas[0].loaded.lock().unwrap().clear();
    test.predict(None).await.unwrap();
}

#[tokio::test]
async fn an_unloaded_version_says_how_to_load_it() {
    let test = Test::new(1).await;
    test.upload().await.unwrap();
    let set = |enabled| SetEnabled { model: "iris".parse().unwrap(), version: None, enabled };
    test.router.set_enabled(call(Role::Engineer), set(false)).await.unwrap();
    let error = test.predict(None).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable);
    assert!(error.message.contains("/v2/repository/models/iris/load"), "{}", error.message);
    test.router.set_enabled(call(Role::Engineer), set(true)).await.unwrap();
    test.predict(None).await.unwrap();
}

#[tokio::test]
async fn an_alias_moves_and_goes() {
    let test = Test::new(1).await;
    test.upload().await.unwrap();
    let set = |alias: &str, version: Option<u32>| SetAlias {
        model: "iris".parse().unwrap(),
        alias: alias.to_owned(),
        version: version.and_then(VersionId::new),
    };
    let engineer = || call(Role::Engineer);
    let model = test.router.set_alias(engineer(), set("champion", Some(1))).await.unwrap();
    assert_eq!(model.aliases["champion"].number(), 1);
    let unknown = test.router.set_alias(engineer(), set("champion", Some(9))).await.unwrap_err();
    assert_eq!(unknown.code, ErrorCode::NotFound);
    let odd = test.router.set_alias(engineer(), set("a b", Some(1))).await.unwrap_err();
    assert_eq!(odd.errors[0].pointer, "#/alias");
    let model = test.router.set_alias(engineer(), set("champion", None)).await.unwrap();
    assert!(model.aliases.is_empty());
}

/// A relational store that does not answer.
async fn absent() -> storage::Relational {
    let (store, _) = storage::deferred::relational("postgres://u:p@127.0.0.1:1/db").await.unwrap();
    store
}

#[tokio::test]
async fn a_router_that_starts_while_the_store_is_down_serves_what_it_knew() {
    let test = Test::new(1).await;
    test.upload().await.unwrap();
    assert!(test.process.stop(Duration::from_secs(5)).await);
    let Test { folder, router, .. } = test;
    let held = Arc::downgrade(&router);
    drop(router);
    let gone = async {
        while held.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.unwrap();
    let test = start_with(folder, 1, absent().await).await.unwrap();
    let answer = test.predict(None).await.unwrap();
    assert_eq!(version_in(&answer.body), "1");
    let readiness = test.router.readiness(call(Role::Client)).await.unwrap();
    assert!(readiness.degraded, "{readiness:?}");
    let text = &readiness.checks["relational store"];
    assert!(text.contains("is unavailable"), "{text}");
    let error = test.put(&[(1, 1.0)], None).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable);
}

#[tokio::test]
async fn a_router_that_never_knew_the_store_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let error = start_with(folder, 1, absent().await).await.err().unwrap().to_string();
    assert!(
        error.contains("router/table.json` (`router.saved_table`): start the store"),
        "{error}"
    );
}

#[tokio::test]
async fn a_replica_that_comes_back_empty_is_filled_in_the_background() {
    let test = Test::new(2).await;
    test.upload().await.unwrap();
    test.predict(None).await.unwrap();
    for replica in &test.replicas {
        replica.loaded.lock().unwrap().clear();
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while test.replicas.iter().any(|replica| replica.loaded.lock().unwrap().is_empty()) {
        assert!(std::time::Instant::now() < deadline, "not filled");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn only_a_service_has_a_router_follow_or_flush() {
    let test = Test::new(1).await;
    for role in [Role::Client, Role::Analyst, Role::Engineer] {
        let change = Change { by: "somebody".to_owned() };
        let error = test.router.follow(call(role), change).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Forbidden, "{role:?}");
        let error = test.router.flush(call(role)).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Forbidden, "{role:?}");
    }
    test.router.flush(call(Role::Service)).await.unwrap();
}
