//! While the store is down.

use domain::rollout::RolloutState;

use super::in_every_state::{canary, rollout_of};
use super::*;

async fn three_versions(routers: usize) -> Cluster {
    let cluster = Cluster::new(routers, 3).await;
    cluster.pass(60);
    cluster.put(&[(2, 1.0)]).await;
    cluster.put(&[(3, 1.0)]).await;
    cluster
}

#[tokio::test]
async fn it_is_in_force_everywhere_and_stored_once_the_store_is_back() {
    let cluster = three_versions(3).await;
    cluster.take_store_away(true);
    let done = cluster.roll_back(1, None).await.unwrap();
    assert_eq!((done.version, done.stable, done.stored), (version(2), true, false));
    assert_eq!((done.acknowledged.len(), done.generation), (3, 4));
    assert_eq!(cluster.answers().await, "2");
    let second = cluster.roll_back(0, None).await.unwrap();
    assert_eq!((second.version, second.generation, second.stored), (version(1), 5, false));
    assert_eq!(cluster.stored().await.generation, 3, "nothing is stored");
    let third = cluster.roll_back(2, None).await.unwrap_err();
    assert_eq!(third.code, ErrorCode::Conflict, "{third}");

    cluster.take_store_away(false);
    until(|| async { (cluster.stored().await.generation == 5).then_some(()) }).await;
    assert_eq!(cluster.answers().await, "1");
    let query = HistoryQuery { model: iris(), at: None, before: None, limit: 200 };
    let routes = cluster.history(query).await.unwrap().routes;
    let seen: Vec<_> = routes
        .iter()
        .map(|served| (served.route.generation, served.route.whole().unwrap().number()))
        .collect();
    assert_eq!(seen, [(5, 1), (4, 2), (3, 3), (2, 2), (1, 1)]);
    // All is as usual again.
    cluster.routers[2].put(&[(1, 1.0), (2, 0.0)], Some(5)).await.unwrap();
    assert_eq!(cluster.stored().await.generation, 6);
}

#[tokio::test]
async fn a_router_that_starts_meanwhile_begins_with_it() {
    let mut cluster = three_versions(2).await;
    cluster.take_store_away(true);
    cluster.roll_back(0, None).await.unwrap();
    for number in 0..2 {
        cluster.restart(number).await;
        assert_eq!(cluster.answers().await, "2", "router {number}");
    }
    cluster.take_store_away(false);
    until(|| async { (cluster.stored().await.generation == 4).then_some(()) }).await;
    assert_eq!(cluster.answers().await, "2");
}

#[tokio::test]
async fn a_router_that_starts_once_the_store_is_back_does_not_serve_what_that_has() {
    let mut cluster = three_versions(1).await;
    cluster.take_store_away(true);
    cluster.roll_back(0, None).await.unwrap();
    // The store comes back while no router runs that knows of it.
    let old = cluster.routers.remove(0);
    cluster.introduce();
    assert!(old.process.stop(Duration::from_secs(5)).await);
    let Test { router, folder, .. } = old;
    let held = Arc::downgrade(&router);
    drop(router);
    until(|| async { held.upgrade().is_none().then_some(()) }).await;
    cluster.take_store_away(false);
    let new = cluster.start_in(0, folder).await;
    cluster.routers.push(new);
    cluster.introduce();
    assert_eq!(cluster.answers().await, "2");
    until(|| async { (cluster.stored().await.generation == 4).then_some(()) }).await;
}

#[tokio::test]
async fn a_plan_is_ended_once_the_store_is_back() {
    let cluster = Cluster::new(2, 3).await;
    let id = canary(&cluster).await;
    cluster.take_store_away(true);
    let done = cluster.roll_back(0, None).await.unwrap();
    assert_eq!((done.ended.len(), done.stored), (0, false));
    assert_eq!(cluster.answers().await, "2");
    assert_eq!(rollout_of(&cluster, &id).await.state, RolloutState::Running);
    cluster.take_store_away(false);
    let ended = || async {
        let state = rollout_of(&cluster, &id).await.state;
        (state == RolloutState::RolledBack).then_some(())
    };
    until(ended).await;
}

#[tokio::test]
async fn what_the_store_was_given_meanwhile_is_rolled_back_on_top() {
    let cluster = three_versions(2).await;
    cluster.take_store_away(true);
    let done = cluster.roll_back(0, None).await.unwrap();
    assert_eq!(done.generation, 4);
    // Somebody who could reach the store, and knew nothing of it.
    let mut rival = cluster.stored().await;
    rival.arms = whole(3);
    rival.segments = segments(3);
    (rival.generation, rival.updated_by) = (4, "somebody".to_owned());
    cluster.store.routes.put_route(rival).await.unwrap();
    cluster.take_store_away(false);
    let on_top =
        until(|| async { Some(cluster.stored().await).filter(|route| route.generation == 5) });
    let on_top = on_top.await;
    assert_eq!((on_top.whole(), on_top.cause), (Some(version(2)), Cause::Rollback));
    assert!(on_top.blocks(version(3)).is_some());
    until(|| async {
        let route = cluster.routers[1].router.route(call(Role::Analyst), iris()).await.unwrap();
        (route.generation == 5).then_some(())
    })
    .await;
    assert_eq!(cluster.answers().await, "2");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(cluster.stored().await.generation, 5, "once, however many know of it");
}

#[tokio::test]
async fn a_router_cut_off_from_the_store_wins_over_what_others_took_from_it() {
    let cluster = three_versions(2).await;
    cluster.down[0].store(true, Ordering::Relaxed);
    // The second reaches the store; the first does not hear of it.
    *cluster.peers.0.write().unwrap() = Vec::new();
    let put = cluster.routers[1].put(&[(3, 1.0), (2, 0.0)], None).await.unwrap();
    assert_eq!(put.generation, 4);
    cluster.introduce();
    let done = cluster.roll_back(0, None).await.unwrap();
    assert_eq!((done.generation, done.unconfirmed.len(), done.stored), (5, 0, false));
    assert_eq!(cluster.answers().await, "2");
    cluster.down[0].store(false, Ordering::Relaxed);
    until(|| async {
        let route = cluster.stored().await;
        (route.generation >= 5 && route.whole() == Some(version(2))).then_some(())
    })
    .await;
    assert_eq!(cluster.answers().await, "2");
}

#[tokio::test]
async fn a_change_by_a_person_waits_for_what_is_to_be_stored_first() {
    let cluster = three_versions(1).await;
    cluster.take_store_away(true);
    cluster.roll_back(0, None).await.unwrap();
    let refused = cluster.routers[0].put(&[(1, 1.0)], None).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable);
    cluster.take_store_away(false);
    let put = cluster.routers[0].put(&[(1, 1.0)], None).await.unwrap();
    assert_eq!(put.generation, 5);
    assert!(put.blocks(version(3)).is_some(), "on top of the rollback");
}
