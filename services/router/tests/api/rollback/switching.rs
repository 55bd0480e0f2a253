//! Blue-green.

use contracts::router::{NewArm, NewRoute, PutRoute};

use super::*;

async fn blue_green(cluster: &Cluster) -> Route {
    let arm = |number| NewArm { version: version(number), weight: 1.0 };
    let (arms, standby) = (vec![arm(1)], vec![arm(2)]);
    let route = NewRoute { arms, standby, ..NewRoute::default() };
    let request = PutRoute { model: iris(), route };
    cluster.routers[0].router.put_route(call(Role::Engineer), request).await.unwrap()
}

async fn switch(cluster: &Cluster, generation: Option<u64>) -> Result<Route, ApiError> {
    let switch = NewSwitch { reason: "green is ready".to_owned(), generation };
    let request = Switch { model: iris(), switch };
    cluster.routers[0].router.switch(call(Role::Engineer), request).await
}

#[tokio::test]
async fn the_sets_change_places_and_back_and_both_stay_loaded() {
    let cluster = Cluster::new(2, 2).await;
    let before = blue_green(&cluster).await;
    for turn in 1..=4u64 {
        let route = switch(&cluster, None).await.unwrap();
        let (serves, stands_by) = if turn % 2 == 1 { (2, 1) } else { (1, 2) };
        assert_eq!(route.generation, before.generation + turn);
        assert_eq!((route.cause, route.whole()), (Cause::Switch, Some(version(serves))));
        assert_eq!(route.standby[0].version, version(stands_by));
        assert_eq!(route.reason, "green is ready");
        assert_eq!(route.segments, segments(serves));
        assert_eq!(cluster.answers().await, serves.to_string());
    }
    // What stands by is kept loaded.
    cluster.replica.loaded.lock().unwrap().clear();
    until(|| async { (cluster.replica.loaded.lock().unwrap().len() == 2).then_some(()) }).await;
}

#[tokio::test]
async fn what_cannot_be_switched_is_refused() {
    let cluster = Cluster::new(1, 2).await;
    let refused = async |generation, words: &[&str]| {
        let error = switch(&cluster, generation).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Conflict);
        for word in words {
            assert!(error.message.contains(word), "`{word}` is not in `{}`", error.message);
        }
    };
    refused(None, &["`standby`", "PUT /api/v1/models/iris/route"]).await;
    let route = blue_green(&cluster).await;
    refused(Some(route.generation - 1), &["generation 2, not 1"]).await;
    let id = PlanId::new(PlanKind::Rollout);
    cluster.put_edited(|route| route.rollout = Some(crate::ramp(id.clone()))).await;
    refused(None, &[id.as_str()]).await;
    let bad = domain::route::Blocked {
        version: version(2),
        reason: "wrong labels".to_owned(),
        by: "anna".to_owned(),
        at: cluster.clock.now(),
    };
    cluster
        .put_edited(|route| {
            route.rollout = None;
            route.blocked = vec![bad];
        })
        .await;
    refused(None, &["`2`", "wrong labels", "blocks/2"]).await;
    assert_eq!(cluster.answers().await, "1");
}
