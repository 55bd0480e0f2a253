//! While other things go on.

use std::net::TcpListener;

use domain::rollout::{Rollout, RolloutPlan, RolloutState};
use serde_json::json;

use super::*;

/// A rollout of version 3 against version 2, as it runs.
fn rollout(cluster: &Cluster) -> Rollout {
    let now = cluster.clock.now();
    Rollout {
        id: PlanId::new(PlanKind::Rollout),
        model: iris(),
        canary: version(3),
        baseline: version(2),
        plan: RolloutPlan::default(),
        state: RolloutState::Running,
        step: 1,
        step_since: now,
        evidence: json!(null),
        status: "at 10 %".to_owned(),
        moves: Vec::new(),
        approved_by: None,
        created_by: "anna".to_owned(),
        created_at: now,
        ended_at: None,
        revision: 1,
    }
}

async fn put_plan(cluster: &Cluster, plan: Plan) {
    cluster.store.plans.put_plan(plan).await.unwrap();
}

/// A canary of version 3 at 10 per cent beside version 2.
pub(super) async fn canary(cluster: &Cluster) -> PlanId {
    cluster.pass(60);
    cluster.put(&[(2, 1.0)]).await;
    let rollout = rollout(cluster);
    let id = rollout.id.clone();
    put_plan(cluster, Plan::Rollout(Box::new(rollout))).await;
    cluster.routers[0].put(&[(2, 90.0), (3, 10.0)], None).await.unwrap();
    cluster.put_edited(|route| route.rollout = Some(crate::ramp(id.clone()))).await;
    id
}

pub(super) async fn rollout_of(cluster: &Cluster, id: &PlanId) -> Rollout {
    let plan = cluster.store.plans.plan(id).await.unwrap();
    let rollout = plan.and_then(|plan| match plan {
        Plan::Rollout(rollout) => Some(*rollout),
        Plan::Experiment(_) | Plan::Layer(_) => None,
    });
    rollout.unwrap()
}

#[tokio::test]
async fn a_canary_is_ended_and_its_baseline_gets_everything_back() {
    let cluster = Cluster::new(2, 3).await;
    let id = canary(&cluster).await;
    let mut other = rollout(&cluster);
    other.model = "other".parse().unwrap();
    put_plan(&cluster, Plan::Rollout(Box::new(other.clone()))).await;
    let done = cluster.roll_back(1, None).await.unwrap();
    assert_eq!((done.version, done.ended), (version(2), vec![id.clone()]));
    assert_eq!(done.blocked, [version(3)]);
    assert_eq!(cluster.answers().await, "2");
    let ended = rollout_of(&cluster, &id).await;
    assert_eq!(ended.state, RolloutState::RolledBack);
    let last = ended.moves.last().unwrap();
    assert_eq!((last.share, last.generation, last.by.as_str()), (0.0, done.generation, "t"));
    assert!(last.reason.contains("version 2") && last.reason.contains("wrong labels"));
    assert_eq!(cluster.stored().await.rollout, None);
    assert_eq!(rollout_of(&cluster, &other.id).await, other, "another model's goes on");
}

#[tokio::test]
async fn two_at_once_lead_one_step_back() {
    for _ in 0..10 {
        let cluster = Cluster::new(2, 3).await;
        cluster.pass(60);
        cluster.put(&[(2, 1.0)]).await;
        cluster.put(&[(3, 1.0)]).await;
        let (one, two) = tokio::join!(cluster.roll_back_now(0), cluster.roll_back_now(1));
        let versions = [one.unwrap().version, two.unwrap().version];
        assert_eq!(versions, [version(2); 2]);
        assert_eq!(cluster.answers().await, "2");
        assert_eq!(cluster.stored().await.blocked.len(), 1);
    }
}

#[tokio::test]
async fn it_wins_against_who_keeps_putting_routes() {
    let cluster = Cluster::new(2, 3).await;
    cluster.pass(60);
    cluster.put(&[(2, 1.0)]).await;
    cluster.routers[0].put(&[(3, 1.0)], None).await.unwrap();
    let stop = AtomicBool::default();
    let hammer = async {
        let mut puts = 0;
        while !stop.load(Ordering::Relaxed) {
            // Refused once the rollback blocked it, where the way of `PUT` knows of that.
            cluster.routers[0].put(&[(3, 1.0), (2, f64::from(puts % 7))], None).await.ok();
            puts += 1;
        }
        puts
    };
    let roll_back = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (one, two) = tokio::join!(cluster.roll_back_now(1), cluster.roll_back_now(0));
        stop.store(true, Ordering::Relaxed);
        [one.unwrap(), two.unwrap()]
    };
    let (puts, done) = tokio::join!(hammer, roll_back);
    assert!(puts > 1, "{puts}");
    let generations = done.each_ref().map(|done| done.generation);
    let query = HistoryQuery { model: iris(), at: None, before: None, limit: 200 };
    let routes = cluster.history(query).await.unwrap().routes;
    for generation in generations {
        let found = routes.iter().find(|served| served.route.generation == generation).unwrap();
        assert_eq!((found.cause, found.route.whole()), (Cause::Rollback, Some(done[0].version)));
        assert!(found.route.blocks(version(3)).is_some());
    }
}

#[tokio::test]
async fn routers_that_do_not_answer_are_named_and_hold_it_up_no_longer_than_said() {
    let cluster = Cluster::new(1, 2).await;
    cluster.pass(60);
    cluster.put(&[(2, 1.0)]).await;
    // One that takes the call and says nothing, and one that is not there.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [silent.local_addr().unwrap(), gone] {
        let url = format!("http://{address}");
        let far = clients::Router(clients::Transport::new("router", &url, None).unwrap());
        let peer = router::Replica { address: url, api: Arc::new(far) as Arc<dyn RouterApi> };
        cluster.peers.0.write().unwrap().push(peer);
    }
    let began = Instant::now();
    let done = cluster.roll_back(0, None).await.unwrap();
    let took = began.elapsed();
    assert_eq!((done.acknowledged.len(), done.unconfirmed.len(), done.stored), (1, 2, true));
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(2), "{took:?}");
    assert_eq!(cluster.answers().await, "1");
}

#[tokio::test]
async fn a_version_that_is_not_loaded_is_loaded_first_and_one_that_never_loads_is_refused() {
    let cluster = Cluster::new(1, 2).await;
    cluster.pass(60);
    cluster.put(&[(2, 1.0)]).await;
    cluster.replica.loaded.lock().unwrap().clear();
    cluster.replica.refuses.store(true, Ordering::Relaxed);
    let quiet = || async {
        let states = cluster.routers[0].router.readiness(call(Role::Client)).await.unwrap();
        (!states.ready).then_some(())
    };
    // Surveys have to find that the replica lost it.
    until(quiet).await;
    let refused = cluster.roll_back(0, Some(1)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict);
    assert!(refused.message.contains("Foo"), "{}", refused.message);
    cluster.replica.refuses.store(false, Ordering::Relaxed);
    cluster.roll_back(0, None).await.unwrap();
    assert_eq!(cluster.answers().await, "1");
    // With no replica that answers it is no worse than before.
    cluster.replica.loaded.lock().unwrap().clear();
    cluster.replica.dead.store(true, Ordering::Relaxed);
    let clear = ClearBlock { model: iris(), version: version(2), reason: String::new() };
    cluster.routers[0].router.clear_block(call(Role::Engineer), clear).await.unwrap();
    assert_eq!(cluster.roll_back(0, Some(2)).await.unwrap().version, version(2));
}

#[tokio::test]
async fn an_older_route_is_not_taken_over_and_reading_the_store_does_not_bring_one_back() {
    let cluster = Cluster::new(1, 2).await;
    cluster.pass(60);
    let router = &cluster.routers[0].router;
    let old = cluster.stored().await;
    let new = Route {
        arms: whole(2),
        segments: segments(2),
        generation: old.generation + 1,
        ..old.clone()
    };
    cluster.take_store_away(true);
    let impose = |route: &Route, stored| {
        router.impose(call(Role::Service), Imposed { route: route.clone(), stored })
    };
    let said = impose(&new, false).await.unwrap();
    assert_eq!((said.taken, said.generation), (true, new.generation));
    assert_eq!(cluster.answers().await, "2");
    let said = impose(&old, false).await.unwrap();
    assert_eq!((said.taken, said.generation), (false, new.generation));
    let rival = Route { arms: whole(1), segments: segments(1), ..new.clone() };
    assert!(!impose(&rival, false).await.unwrap().taken, "one of the same generation");
    assert!(impose(&old, true).await.unwrap().taken, "what the store has came before it");
    cluster.take_store_away(false);
    let change = contracts::router::Change { by: "test".to_owned() };
    router.follow(call(Role::Service), change).await.unwrap();
    assert_eq!(cluster.answers().await, "2");
    // It was kept here, and is stored from here.
    until(|| async { (cluster.stored().await == new).then_some(()) }).await;
}

#[tokio::test]
async fn one_that_is_sent_again_as_no_answer_came_is_done_once() {
    let cluster = Cluster::new(2, 3).await;
    cluster.pass(60);
    cluster.put(&[(2, 1.0)]).await;
    cluster.put(&[(3, 1.0)]).await;
    let asked_at = Some(cluster.clock.now());
    let ask = |number: usize| {
        let request = Rollback { model: iris(), rollback: NewRollback::default(), asked_at };
        cluster.routers[number].router.rollback(call(Role::Engineer), request)
    };
    let first = ask(0).await.unwrap();
    cluster.pass(1);
    let again = ask(1).await.unwrap();
    assert_eq!((again.version, again.generation), (version(2), first.generation));
    assert_eq!(cluster.stored().await.generation, first.generation);
    assert_eq!(cluster.roll_back(0, None).await.unwrap().version, version(1), "a new one goes on");
}
