//! The history.

use super::*;

fn query(at: Option<OffsetDateTime>, before: Option<u64>, limit: u32) -> HistoryQuery {
    HistoryQuery { model: iris(), at, before, limit }
}

#[tokio::test]
async fn it_tells_who_served_when_newest_first() {
    let cluster = Cluster::new(1, 2).await;
    let start = cluster.clock.now();
    cluster.pass(60);
    for turn in 0..9 {
        cluster.put(&[(2 - turn % 2, 1.0)]).await;
    }
    cluster.roll_back(0, None).await.unwrap();
    let at = |generation: i64| start + time::Duration::hours(generation - 1);
    let all = cluster.history(query(None, None, 200)).await.unwrap().routes;
    let generations: Vec<_> = all.iter().map(|served| served.route.generation).collect();
    assert_eq!(generations, (1..=11).rev().collect::<Vec<_>>());
    assert_eq!(all[0].until, None);
    assert_eq!((all[0].cause, all[10].cause), (Cause::Rollback, Cause::First));
    for pair in all.windows(2) {
        assert_eq!(pair[1].until, Some(pair[0].route.updated_at));
    }
    let page = cluster.history(query(None, Some(8), 3)).await.unwrap().routes;
    assert_eq!(page, all[4..7], "with the end of each, too");
    let short = cluster.history(query(None, None, 1)).await.unwrap().routes;
    assert_eq!(short, all[..1]);

    for generation in 1..=11 {
        let expected = &all[usize::try_from(11 - generation).unwrap()];
        for shift in [time::Duration::ZERO, time::Duration::minutes(59)] {
            let moment = at(generation) + shift;
            let found = cluster.history(query(Some(moment), None, 50)).await.unwrap().routes;
            assert_eq!(found, std::slice::from_ref(expected), "{moment}");
        }
    }
    let early = start - time::Duration::seconds(1);
    assert!(cluster.history(query(Some(early), None, 50)).await.unwrap().routes.is_empty());
    let late = start + time::Duration::weeks(9);
    let late = cluster.history(query(Some(late), None, 50)).await.unwrap().routes;
    assert_eq!(late[0].route.generation, 11);
}

#[tokio::test]
async fn what_it_cannot_answer_it_says() {
    let cluster = Cluster::new(1, 1).await;
    let now = cluster.clock.now();
    for (query, word) in [
        (query(None, None, 0), "`0`"),
        (query(None, None, 201), "router.max_history"),
        (query(Some(now), Some(2), 1), "not both"),
    ] {
        let error = cluster.history(query).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unprocessable);
        assert!(error.message.contains(word), "{}", error.message);
    }
    let unknown = HistoryQuery { model: "none".parse().unwrap(), ..query(None, None, 1) };
    assert_eq!(cluster.history(unknown).await.unwrap_err().code, ErrorCode::NotFound);
    assert!(cluster.history(query(None, Some(1), 9)).await.unwrap().routes.is_empty());
}

#[tokio::test]
async fn it_names_the_version_that_answered_at_the_time_of_a_prediction() {
    let cluster = Cluster::new(1, 2).await;
    for turn in 0..6 {
        cluster.pass(1);
        cluster.put(&[(2 - turn % 2, 1.0)]).await;
        let answer = cluster.routers[0].predict(None).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let id = body["prediction_id"].as_str().unwrap().parse().unwrap();
        let record = cluster.routers[0].router.prediction(call(Role::Analyst), id).await.unwrap();
        let served = cluster.history(query(Some(record.at), None, 1)).await.unwrap().routes;
        let [served] = served.as_slice() else { panic!("{served:?}") };
        assert_eq!(served.route.whole(), record.version);
        let decision = record.decision.unwrap();
        assert_eq!(served.route.generation, decision.generation);
    }
}
