//! How fast many outcomes go in and come back. `--nocapture` shows the figures.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use domain::{Feedback, PredictionId};
use storage::Documents;
use testkit::shared_mongo;

use crate::Outcome;

const MANY: usize = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_takes_thousands_of_outcomes_a_second() -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("documents.db").display());
    thousands("SQLite", &storage::documents(&url).await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb_takes_thousands_of_outcomes_a_second() -> Outcome {
    thousands("MongoDB", &storage::documents(&shared_mongo().await).await?).await
}

async fn thousands(name: &str, store: &Documents) -> Outcome {
    let text = serde_json::json!({
        "prediction_id": PredictionId::new(),
        "outcome": { "label": "setosa" },
        "source": "anna",
        "received_at": "2024-02-29T23:59:59.123456789Z",
    });
    let one: Feedback = serde_json::from_value(text).unwrap();
    let ids: Vec<_> = (0..MANY).map(|_| PredictionId::new()).collect();
    let all: Vec<_> =
        ids.iter().map(|id| Feedback { subject: (*id).into(), ..one.clone() }).collect();
    let known = HashMap::new();
    let told = |what: &str, began: Instant| {
        let took = began.elapsed();
        let rate = MANY as f64 / took.as_secs_f64();
        println!("{name}: {MANY} outcomes {what} in {took:.2?}: {rate:.0} a second");
        assert!(took < Duration::from_secs(40), "{name}: {MANY} outcomes {what} took {took:.1?}");
    };
    let began = Instant::now();
    let new = store.feedback.add_all(&all, &known).await?;
    told("added", began);
    assert!(new.len() == MANY && !new.contains(&false));
    let began = Instant::now();
    let new = store.feedback.add_all(&all, &known).await?;
    told("known", began);
    assert!(new.len() == MANY && !new.contains(&true));
    let began = Instant::now();
    let found = store.feedback.of_predictions(&ids).await?;
    told("read", began);
    assert_eq!(found.len(), MANY);
    let began = Instant::now();
    assert!(store.predictions.known(&ids).await?.is_empty());
    told("looked up", began);
    Ok(())
}
