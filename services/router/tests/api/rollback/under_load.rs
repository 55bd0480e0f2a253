//! How fast, and how true, while callers ask all the time.

use super::*;

/// Callers that ask at the same time.
const CALLERS: usize = 6;

/// A request that was answered.
struct Asked {
    began: Instant,
    version: String,
    id: String,
}

async fn ask_until(cluster: &Cluster, caller: usize, stop: &AtomicBool) -> Vec<Asked> {
    let mut asked = Vec::new();
    let router = &cluster.routers[caller % cluster.routers.len()];
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let answer = router.predict(None).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let text = |field: &str| body[field].as_str().unwrap().to_owned();
        asked.push(Asked { began, version: text("model_version"), id: text("prediction_id") });
        // The replica of this test answers at once: others have to come to their turn.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    asked
}

fn quantile(times: &mut [f64], percent: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// Turns a model to version 2 and back 50 times under load.
#[expect(clippy::print_stderr, reason = "the figures are for who runs it")]
async fn fifty(routers: usize) {
    let cluster = Cluster::new(routers, 2).await;
    cluster.pass(60);
    let stop = AtomicBool::default();
    let turns = async {
        let (mut took, mut spans) = (Vec::new(), Vec::new());
        for _ in 0..50 {
            cluster.put(&[(2, 1.0)]).await;
            let done = cluster.roll_back(0, None).await.unwrap();
            let returned = Instant::now();
            assert_eq!((done.version, done.acknowledged.len()), (version(1), routers));
            took.push(done.took_ms);
            tokio::time::sleep(Duration::from_millis(20)).await;
            spans.push((returned, Instant::now(), done.generation));
            let reason = "once more".to_owned();
            let clear = ClearBlock { model: iris(), version: version(2), reason };
            cluster.routers[0].router.clear_block(call(Role::Engineer), clear).await.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        (took, spans)
    };
    let callers = (0..CALLERS).map(|caller| ask_until(&cluster, caller, &stop));
    let callers = futures_util::future::join_all(callers);
    let ((mut took, spans), asked) = tokio::join!(turns, callers);
    let asked: Vec<Asked> = asked.into_iter().flatten().collect();
    let mut after = 0;
    for (returned, until, generation) in spans {
        let within = asked.iter().filter(|one| one.began > returned && one.began < until);
        for (index, one) in within.enumerate() {
            assert_eq!(one.version, "1", "begun after the return");
            after += 1;
            // The log says the same; a few of each turn keep the test short.
            if index % 50 == 0 {
                let id = one.id.parse().unwrap();
                // Each router of this test has a log of its own, and a busy machine takes its time.
                let find = || async {
                    let routers = cluster.routers.iter().map(|test| &test.router);
                    let asked = routers.map(|router| router.prediction(call(Role::Analyst), id));
                    let answers = futures_util::future::join_all(asked).await;
                    answers.into_iter().find_map(Result::ok)
                };
                let record = super::until(find).await;
                assert_eq!(record.version, Some(version(1)));
                assert!(record.decision.unwrap().generation >= generation);
            }
        }
    }
    assert!(after > 50, "{after}");
    eprintln!(
        "{routers} routers, one process: 50 rollbacks under {} requests: p50 {:.1} ms, p99 {:.1} ms; {after} requests begun after a return, none by the old version",
        asked.len(),
        quantile(&mut took, 50),
        quantile(&mut took, 99),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_router_nothing_of_the_old_version_begins_after_the_return() {
    fifty(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_three_routers_nothing_of_the_old_version_begins_after_the_return() {
    fifty(3).await;
}
