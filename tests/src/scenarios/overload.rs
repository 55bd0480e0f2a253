//! Too much at once: refused at once, never piled up, and over when it is over.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use testkit::{Answer, Client, Engine, Method, Setup, Topology, models, scenarios};

scenarios!(overload_is_503_with_retry_after_and_passes);

const PATH: &str = "/api/v1/models/imagenet/predict";

async fn overload_is_503_with_retry_after_and_passes(topology: Topology) {
    let mut setup = Setup::new(topology);
    setup.replicas = 1;
    for (key, value) in [
        ("ENGINE__INFERENCE__QUEUE_LIMIT", "2"),
        ("ENGINE__INFERENCE__WORKERS", "1"),
        ("ENGINE__INFERENCE__SESSIONS_PER_VERSION", "1"),
        ("ENGINE__INFERENCE__INLINE_BUDGET_US", "0"),
    ] {
        setup.set(key, value);
    }
    let engine = Engine::start(setup).await;
    let client = engine.admin().await;
    let folder = models::demo("imagenet");
    client.create_model_with("imagenet", &folder.upload()).await;
    let picture = folder.file("images/flower.jpg");
    let ask = |deadline_ms: u32| {
        let request = client
            .request(Method::POST, PATH)
            .header("content-type", "image/jpeg")
            .header("x-deadline-ms", deadline_ms)
            .body(picture.clone());
        client.send(request)
    };
    let answers = join_all((0..40).map(|_| ask(30_000))).await;
    let (served, refused): (Vec<&Answer>, Vec<&Answer>) =
        answers.iter().partition(|answer| answer.status == 200);
    assert!(!served.is_empty(), "some are served");
    assert!(!refused.is_empty(), "forty at once are more than two may wait");
    for answer in refused {
        answer.expect_problem(503, "unavailable", &[]);
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
    ask(30_000).await.expect_status(200);

    let start = Instant::now();
    let answer = ask(1).await;
    match answer.status {
        200 => {}
        _ => answer.expect_problem(504, "timeout", &["deadline"]),
    }
    assert!(start.elapsed() < Duration::from_secs(10), "never hung");
    serves_on(&client).await;
    ask(30_000).await.expect_status(200);
}

async fn serves_on(client: &Client) {
    client.get("/readyz").await.expect_status(200);
}
