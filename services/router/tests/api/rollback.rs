//! Rollback, history and blue-green, with several routers on one store that a test can take away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use contracts::router::{
    ClearBlock, History, HistoryQuery, Imposed, NewModel, NewRollback, NewSwitch, Rollback,
    RolledBack, Switch,
};
use contracts::{ApiError, ErrorCode, RouterApi};
use domain::counts::CountBatch;
use domain::route::{Arm, BUCKETS, Cause, Segment};
use domain::{Clock, ModelName, Plan, PlanId, PlanKind, Role, Route, VersionId};
use router::{Deps, Replicas};
use runtime::{Process, Recorder};
use storage::StoreError;
use storage::ports::{Plans, Routes};
use tempfile::TempDir;
use time::OffsetDateTime;

use super::{Replica, Test, call, settings, url, version_in};

#[path = "rollback/in_every_state.rs"]
mod in_every_state;
#[path = "rollback/looking_back.rs"]
mod looking_back;
#[path = "rollback/switching.rs"]
mod switching;
#[path = "rollback/under_load.rs"]
mod under_load;
#[path = "rollback/without_store.rs"]
mod without_store;

/// A clock that a test sets.
#[derive(Debug)]
struct Hands(Mutex<OffsetDateTime>);

impl Clock for Hands {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock().unwrap()
    }
}

/// Routes and plans of a store, unless it is taken away.
struct Breakable {
    inner: storage::Relational,
    down: Arc<AtomicBool>,
}

impl Breakable {
    fn there(&self) -> Result<&storage::Relational, StoreError> {
        if self.down.load(Ordering::Relaxed) {
            let (store, action) = ("test".to_owned(), "reach it");
            return Err(StoreError::Unavailable { store, action, source: "it is down".into() });
        }
        Ok(&self.inner)
    }
}

#[async_trait]
impl Routes for Breakable {
    async fn route(&self, model: &ModelName) -> Result<Option<Route>, StoreError> {
        self.there()?.routes.route(model).await
    }

    async fn routes(&self) -> Result<Vec<Route>, StoreError> {
        self.there()?.routes.routes().await
    }

    async fn put_route(&self, route: Route) -> Result<(), StoreError> {
        self.there()?.routes.put_route(route).await
    }

    async fn history(
        &self,
        model: &ModelName,
        before: u64,
        limit: u32,
    ) -> Result<Vec<Route>, StoreError> {
        self.there()?.routes.history(model, before, limit).await
    }
}

#[async_trait]
impl Plans for Breakable {
    async fn plan(&self, id: &PlanId) -> Result<Option<Plan>, StoreError> {
        self.there()?.plans.plan(id).await
    }

    async fn plans(&self, kind: PlanKind, open_only: bool) -> Result<Vec<Plan>, StoreError> {
        self.there()?.plans.plans(kind, open_only).await
    }

    async fn put_plan(&self, plan: Plan) -> Result<(), StoreError> {
        self.there()?.plans.put_plan(plan).await
    }

    async fn count(&self, batches: &[CountBatch]) -> Result<(), StoreError> {
        self.there()?.plans.count(batches).await
    }

    async fn waiting(&self, plan: &PlanId, limit: u32) -> Result<Vec<CountBatch>, StoreError> {
        self.there()?.plans.waiting(plan, limit).await
    }

    async fn take_in(&self, plan: Plan, batches: &[String]) -> Result<(), StoreError> {
        self.there()?.plans.take_in(plan, batches).await
    }

    async fn forget_counts(&self, before: OffsetDateTime) -> Result<u64, StoreError> {
        self.there()?.plans.forget_counts(before).await
    }

    async fn lease(
        &self,
        name: &str,
        holder: &str,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        self.there()?.plans.lease(name, holder, now, until).await
    }
}

/// The routers as they find each other.
#[derive(Default)]
struct Peers(RwLock<Vec<router::Replica<dyn RouterApi>>>);

#[async_trait]
impl Replicas<dyn RouterApi> for Peers {
    async fn current(&self) -> Vec<router::Replica<dyn RouterApi>> {
        self.0.read().unwrap().clone()
    }
}

/// Several routers on one store; each with its own folder, all with the same replica.
struct Cluster {
    folder: TempDir,
    store: storage::Relational,
    /// Of each router, whether the store is away from it.
    down: Vec<Arc<AtomicBool>>,
    clock: Arc<Hands>,
    replica: Arc<Replica>,
    peers: Arc<Peers>,
    routers: Vec<Test>,
}

fn iris() -> ModelName {
    "iris".parse().unwrap()
}

fn version(number: u32) -> VersionId {
    VersionId::new(number).unwrap()
}

impl Cluster {
    /// So many routers, and a model with so many versions, of which the first has everything.
    async fn new(routers: usize, versions: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = storage::relational(&url(&folder, "sqlite", "relational.db")).await.unwrap();
        let start = OffsetDateTime::from_unix_timestamp(1_767_225_600).unwrap();
        let mut cluster = Self {
            folder,
            store,
            down: (0..routers).map(|_| Arc::default()).collect(),
            clock: Arc::new(Hands(Mutex::new(start))),
            replica: Arc::default(),
            peers: Arc::default(),
            routers: Vec::new(),
        };
        for number in 0..routers {
            let router = cluster.start(number).await;
            cluster.routers.push(router);
        }
        cluster.introduce();
        let new = NewModel { name: iris(), description: String::new() };
        cluster.routers[0].router.create_model(call(Role::Engineer), new).await.unwrap();
        for _ in 0..versions {
            cluster.routers[0].upload().await.unwrap();
        }
        cluster
    }

    async fn start(&self, number: usize) -> Test {
        let folder = tempfile::tempdir_in(self.folder.path()).unwrap();
        self.start_in(number, folder).await
    }

    async fn start_in(&self, number: usize, folder: TempDir) -> Test {
        let mut settings = settings(&folder);
        (settings.push_timeout_ms, settings.rollback.retry_ms) = (300, 50);
        let port =
            Arc::new(Breakable { inner: self.store.clone(), down: Arc::clone(&self.down[number]) });
        let mut relational = self.store.clone();
        relational.routes = Arc::clone(&port) as _;
        relational.plans = port;
        let artifacts = url(&self.folder, "file", "artifacts");
        let deps = Deps {
            relational,
            documents: storage::documents(&url(&folder, "sqlite", "documents.db")).await.unwrap(),
            cache: storage::cache("memory://").await.unwrap(),
            artifacts: storage::artifacts(&artifacts, storage::Keys::default()).await.unwrap(),
            replicas: router::fixed([Arc::clone(&self.replica) as _]),
            routers: Arc::clone(&self.peers) as _,
            clock: Arc::clone(&self.clock) as _,
            recorder: Arc::new(Recorder::alone("router", Arc::clone(&self.clock) as _)),
            outbound: crate::outbound(),
        };
        let service = router::build(settings, deps).await.unwrap();
        let process = Process::default();
        router::background(&service, &process);
        let replicas = vec![Arc::clone(&self.replica)];
        let relational = self.store.clone();
        Test { router: router::api(&service), replicas, relational, process, folder }
    }

    /// Has all find each other: `router-1`, `router-2` and so on.
    fn introduce(&self) {
        let named = |(index, test): (usize, &Test)| router::Replica {
            address: format!("router-{}", index + 1),
            api: Arc::clone(&test.router),
        };
        *self.peers.0.write().unwrap() = self.routers.iter().enumerate().map(named).collect();
    }

    /// Stops a router and starts it again on its folder.
    async fn restart(&mut self, number: usize) {
        let old = self.routers.remove(number);
        self.introduce();
        assert!(old.process.stop(Duration::from_secs(5)).await);
        let Test { router, folder, .. } = old;
        let held = Arc::downgrade(&router);
        drop(router);
        until(|| async { held.upgrade().is_none().then_some(()) }).await;
        let new = self.start_in(number, folder).await;
        self.routers.insert(number, new);
        self.introduce();
    }

    fn take_store_away(&self, away: bool) {
        self.down.iter().for_each(|down| down.store(away, Ordering::Relaxed));
    }

    fn pass(&self, minutes: i64) {
        *self.clock.0.lock().unwrap() += time::Duration::minutes(minutes);
    }

    /// Gives versions their weights, and lets an hour pass.
    async fn put(&self, weights: &[(u32, f64)]) -> Route {
        let route = self.routers[0].put(weights, None).await.unwrap();
        self.pass(60);
        route
    }

    /// Puts any route in force, and lets an hour pass.
    async fn put_edited(&self, edit: impl FnOnce(&mut Route)) -> Route {
        let mut route = self.stored().await;
        edit(&mut route);
        route.generation += 1;
        route.updated_at = self.clock.now();
        self.store.routes.put_route(route.clone()).await.unwrap();
        for test in &self.routers {
            let change = contracts::router::Change { by: "test".to_owned() };
            test.router.follow(call(Role::Service), change).await.unwrap();
        }
        self.pass(60);
        route
    }

    async fn roll_back(&self, number: usize, to: Option<u32>) -> Result<RolledBack, ApiError> {
        let rollback = NewRollback { to: to.map(version), reason: "wrong labels".to_owned() };
        let request = Rollback { model: iris(), rollback, asked_at: None };
        self.routers[number].router.rollback(call(Role::Engineer), request).await
    }

    /// As the gateway has it done: it says when it was asked.
    async fn roll_back_now(&self, number: usize) -> Result<RolledBack, ApiError> {
        let rollback = NewRollback { to: None, reason: "wrong labels".to_owned() };
        let request = Rollback { model: iris(), rollback, asked_at: Some(self.clock.now()) };
        self.routers[number].router.rollback(call(Role::Engineer), request).await
    }

    /// The one version that all routers answer with.
    async fn answers(&self) -> String {
        let mut seen = Vec::new();
        for test in &self.routers {
            for _ in 0..5 {
                seen.push(version_in(&test.predict(None).await.unwrap().body));
            }
        }
        seen.dedup();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }

    async fn stored(&self) -> Route {
        self.store.routes.route(&iris()).await.unwrap().unwrap()
    }

    async fn history(&self, query: HistoryQuery) -> Result<History, ApiError> {
        self.routers[0].router.history(call(Role::Analyst), query).await
    }
}

fn whole(number: u32) -> Vec<Arm> {
    vec![Arm { version: version(number), share_ppm: BUCKETS, weight: 1.0 }]
}

fn segments(number: u32) -> Vec<Segment> {
    vec![Segment { start: 0, end: BUCKETS, version: version(number) }]
}

async fn until<T, F: Future<Output = Option<T>>>(look: impl Fn() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it does not come about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn it_is_in_force_everywhere_when_it_returns() {
    let cluster = Cluster::new(3, 3).await;
    cluster.pass(60);
    cluster.put(&[(2, 1.0)]).await;
    cluster.put(&[(3, 1.0)]).await;
    assert_eq!(cluster.answers().await, "3");
    let done = cluster.roll_back(1, None).await.unwrap();
    assert_eq!(cluster.answers().await, "2");
    assert_eq!((done.version, done.stable, done.stored), (version(2), true, true));
    assert_eq!(done.acknowledged, ["router-1", "router-2", "router-3"]);
    assert_eq!((done.unconfirmed.len(), done.generation), (0, 4));
    assert_eq!(done.blocked, [version(3)]);
    let route = cluster.stored().await;
    assert_eq!((route.cause, route.reason.as_str()), (Cause::Rollback, "wrong labels"));
    assert_eq!((route.generation, route.whole()), (4, Some(version(2))));
    let blocked = route.blocks(version(3)).unwrap();
    assert_eq!((blocked.reason.as_str(), blocked.by.as_str()), ("wrong labels", "t"));
}

#[tokio::test]
async fn a_second_one_never_returns_to_the_bad_version() {
    let cluster = Cluster::new(2, 3).await;
    cluster.pass(60);
    cluster.put(&[(2, 1.0)]).await;
    cluster.put(&[(3, 1.0)]).await;
    assert_eq!(cluster.roll_back(0, None).await.unwrap().version, version(2));
    cluster.pass(60);
    let second = cluster.roll_back(1, None).await.unwrap();
    assert_eq!((second.version, second.blocked), (version(1), vec![version(3), version(2)]));
    let third = cluster.roll_back(0, None).await.unwrap_err();
    assert_eq!(third.code, ErrorCode::Conflict);
    for word in ["`1` (to be left)", "`2` (blocked: wrong labels)", "`to`"] {
        assert!(third.message.contains(word), "{}", third.message);
    }
    let named = cluster.roll_back(0, Some(3)).await.unwrap_err();
    assert_eq!(named.code, ErrorCode::Conflict);
    assert!(named.message.contains("/api/v1/models/iris/blocks/3"), "{}", named.message);
    assert_eq!(cluster.answers().await, "1");
    let clear =
        ClearBlock { model: iris(), version: version(3), reason: "it was the data".to_owned() };
    let engineer = || call(Role::Engineer);
    let route = cluster.routers[1].router.clear_block(engineer(), clear.clone()).await.unwrap();
    assert_eq!((route.cause, route.blocked.len()), (Cause::Clear, 1));
    let again = cluster.routers[0].router.clear_block(engineer(), clear).await.unwrap_err();
    assert_eq!(again.code, ErrorCode::NotFound);
    let named = cluster.roll_back(0, Some(3)).await.unwrap();
    assert_eq!((named.version, named.stable), (version(3), true));
    assert_eq!(cluster.answers().await, "3");
}

#[tokio::test]
async fn without_a_stable_version_it_is_the_last_that_had_everything_and_it_says_so() {
    let cluster = Cluster::new(1, 2).await;
    cluster.pass(1);
    cluster.put(&[(2, 1.0)]).await;
    let done = cluster.roll_back(0, None).await.unwrap();
    assert_eq!((done.version, done.stable), (version(1), false));
    assert_eq!(cluster.answers().await, "1");
}

#[tokio::test]
async fn only_engineers_and_services_may() {
    let cluster = Cluster::new(1, 1).await;
    let router = &cluster.routers[0].router;
    let route = cluster.stored().await;
    for role in [Role::Client, Role::Analyst] {
        let request = Rollback { model: iris(), rollback: NewRollback::default(), asked_at: None };
        let switch = Switch { model: iris(), switch: NewSwitch::default() };
        let clear = ClearBlock { model: iris(), version: version(1), reason: String::new() };
        let codes = [
            router.rollback(call(role), request).await.unwrap_err().code,
            router.switch(call(role), switch).await.unwrap_err().code,
            router.clear_block(call(role), clear).await.unwrap_err().code,
        ];
        assert_eq!(codes, [ErrorCode::Forbidden; 3], "{role:?}");
    }
    let query = HistoryQuery { model: iris(), at: None, before: None, limit: 1 };
    let refused = router.history(call(Role::Client), query).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Forbidden);
    for role in [Role::Client, Role::Analyst, Role::Engineer] {
        let imposed = Imposed { route: route.clone(), stored: true };
        let error = router.impose(call(role), imposed).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Forbidden, "{role:?}");
    }
    let rollback = NewRollback { to: None, reason: "x".repeat(3000) };
    let request = Rollback { model: iris(), rollback, asked_at: None };
    let error = router.rollback(call(Role::Engineer), request).await.unwrap_err();
    assert_eq!(error.errors[0].pointer, "#/reason");
    let request = Rollback {
        model: "none".parse().unwrap(),
        rollback: NewRollback::default(),
        asked_at: None,
    };
    let error = router.rollback(call(Role::Engineer), request).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound);
}
