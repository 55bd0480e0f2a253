//! MongoDB.

use std::collections::HashMap;

use domain::{Feedback, ModelName, PredictionId, PredictionRecord, RequestId, Subject};
use mongodb::bson::{Document, doc};
use storage::conformance as suite;
use storage::{Documents, StoreError};
use testkit::shared_mongo;
use time::OffsetDateTime;

use crate::Outcome;

mod outages;

#[tokio::test]
async fn mongodb_does_what_the_ports_promise() -> Outcome {
    let url = shared_mongo().await;
    let store = storage::documents(&url).await?;
    // Twice: a suite must not mind what is there already.
    for _ in 0..2 {
        suite::predictions(&*store.predictions).await?;
        suite::feedback(&*store.feedback).await?;
        suite::shadows(&*store.shadows).await?;
    }
    store.check().await?;

    let before = counts(&url).await;
    drop(storage::documents(&url).await?);
    assert!(counts(&url).await == before && before.0 > 2000 && before.1 > 40, "{before:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_write_to_mongodb_at_once() -> Outcome {
    let url = shared_mongo().await;
    let (first, second) = tokio::join!(storage::documents(&url), storage::documents(&url));
    let (first, second) = (first?, second?);
    suite::predictions_by_two(&*first.predictions, &*second.predictions).await?;
    suite::feedback_by_two(&*first.feedback, &*second.feedback).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_start_at_once_on_a_database_that_is_not_there_yet() {
    for _ in 0..5 {
        let url = shared_mongo().await;
        let mut starting = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let url = url.clone();
            starting.spawn(async move { storage::documents(&url).await?.check().await });
        }
        for outcome in starting.join_all().await {
            outcome.unwrap();
        }
        let database = database(&url).await;
        for (name, count) in [("predictions", 3), ("feedback", 4), ("unit_feedback", 3)] {
            let indexes = database.collection::<Document>(name).list_index_names().await.unwrap();
            assert_eq!(indexes.len(), count, "{indexes:?}");
        }
    }
}

#[tokio::test]
async fn a_record_above_mongodbs_limit_is_invalid_and_tells_its_size() -> Outcome {
    let store = storage::documents(&shared_mongo().await).await?;
    let (small, large) = (record("large", "x"), record("large", &"x".repeat(8_400_000)));
    let error = store.predictions.append(&[small.clone(), large]).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, StoreError::Invalid { .. }), "{text}");
    assert!(text.contains("it takes 16800") && text.contains("keeps 16777216 at most"), "{text}");
    assert!(store.predictions.get(small.prediction_id).await?.is_none(), "half a batch was kept");

    // Just below, several in one append.
    let batch: Vec<_> = (0..4).map(|_| record("large", &"ü".repeat(4_100_000))).collect();
    store.predictions.append(&batch).await?;
    let found = store.predictions.get(batch[3].prediction_id).await?.unwrap();
    assert!(found.label == batch[3].label);
    assert_eq!(since(&store, "large").await?.len(), 4);

    let id = PredictionId::new();
    let error = add(&store, says(id, &"x".repeat(6_000_000))).await.unwrap_err();
    assert!(matches!(error, StoreError::Invalid { .. }), "{error}");
    for _ in 0..2 {
        add(&store, says(id, &"x".repeat(5_000_000))).await?;
    }
    assert_eq!(store.feedback.of_prediction(id).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn each_query_of_mongodb_uses_an_index_and_reads_no_more_than_it_returns() -> Outcome {
    let url = shared_mongo().await;
    let store = storage::documents(&url).await?;
    let records: Vec<_> = (0..300).map(|_| record("one", "x")).collect();
    store.predictions.append(&records).await?;
    store.predictions.append(&[record("other", "x")]).await?;
    let id = records[0].prediction_id;
    for label in ["x", "y"] {
        add(&store, says(id, label)).await?;
    }
    for (model, unit) in [("one", "u1"), ("one", "u2"), ("one", "u3"), ("other", "u1")] {
        let subject = Subject::Unit { model: model.parse().unwrap(), unit: unit.to_owned() };
        add(&store, Feedback { subject, ..says(id, "x") }).await?;
    }

    let database = database(&url).await;
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    let model: ModelName = "one".parse().unwrap();
    let page = store.predictions.since(&model, OffsetDateTime::UNIX_EPOCH, 20).await?;
    assert_eq!(page.len(), 20);
    store.predictions.get(id).await?;
    store.feedback.of_prediction(id).await?;
    store.predictions.known(&[id, records[1].prediction_id]).await?;
    assert_eq!(store.feedback.pending(None, 1).await?.len(), 1);
    let units = ["u1".to_owned(), "u2".to_owned()];
    let since = OffsetDateTime::UNIX_EPOCH;
    assert_eq!(store.feedback.of_units(&model, &units, since).await?.len(), 2);
    database.run_command(doc! { "profile": 0 }).await.unwrap();

    let profile = database.collection::<Document>("system.profile");
    let mut seen = Vec::new();
    let mut found = profile.find(doc! { "op": "query" }).sort(doc! { "ts": 1 }).await.unwrap();
    while found.advance().await.unwrap() {
        let query = found.deserialize_current().unwrap();
        let sorted = query.contains_key("hasSortStage");
        let n = query.get_i32("nreturned").unwrap();
        assert_eq!(query.get_i32("docsExamined").unwrap(), n, "{query}");
        seen.push((query.get_str("planSummary").unwrap().to_owned(), n, sorted));
    }
    let expected = [
        ("IXSCAN { model: 1, at_ns: -1, _id: -1 }", 20, false),
        ("IDHACK", 1, false),
        ("IXSCAN { prediction_id: 1, outcome: 1, source: 1 }", 2, false),
        ("IXSCAN { _id: 1 }", 2, false),
        ("IXSCAN { model: 1, prediction_id: 1 }", 1, false),
        ("IXSCAN { model: 1, prediction_id: 1 }", 2, false),
        ("IXSCAN { model: 1, unit: 1, outcome: 1, source: 1 }", 2, false),
    ];
    assert_eq!(seen, expected.map(|(plan, n, sorted)| (plan.to_owned(), n, sorted)));
    Ok(())
}

#[tokio::test]
async fn what_analysts_query_stands_beside_the_record() -> Outcome {
    let url = shared_mongo().await;
    let store = storage::documents(&url).await?;
    let one = record("queried", "setosa");
    store.predictions.append(std::slice::from_ref(&one)).await?;
    add(&store, says(one.prediction_id, "virginica")).await?;

    let database = database(&url).await;
    let all = database.collection::<Document>("predictions");
    let mut found = all.find_one(doc! { "label": "setosa" }).await.unwrap().unwrap();
    let at = found.remove("at").unwrap().as_datetime().unwrap().timestamp_millis();
    assert_eq!(i128::from(at), one.at.unix_timestamp_nanos() / 1_000_000);
    let record = found.remove("record").unwrap();
    let record: PredictionRecord = serde_json::from_str(record.as_str().unwrap()).unwrap();
    assert_eq!(record.prediction_id, one.prediction_id);
    let at_ns = i64::try_from(one.at.unix_timestamp_nanos()).unwrap();
    let rest = doc! {
        "_id": one.prediction_id.to_string(), "model": "queried", "at_ns": at_ns,
        "version": 3_i64, "latency_us": 1500_i64, "label": "setosa", "confidence": 0.98,
    };
    assert_eq!(found, rest);
    let all = database.collection::<Document>("feedback");
    let filter = doc! { "prediction_id": one.prediction_id.to_string(), "label": "virginica" };
    assert_eq!(all.count_documents(filter).await.unwrap(), 1);
    Ok(())
}

#[tokio::test]
async fn a_document_without_a_sound_record_is_corrupt_and_named() -> Outcome {
    let url = shared_mongo().await;
    let store = storage::documents(&url).await?;
    let id = PredictionId::new();
    let all = database(&url).await.collection::<Document>("predictions");
    for record in ["record", "other"] {
        let (key, at_ns) = (id.to_string(), 1_i64);
        all.delete_many(doc! {}).await.unwrap();
        all.insert_one(doc! { "_id": key, "model": "bad", "at_ns": at_ns, record: "{" })
            .await
            .unwrap();
        for error in
            [store.predictions.get(id).await.unwrap_err(), since(&store, "bad").await.unwrap_err()]
        {
            assert!(
                matches!(&error, StoreError::Corrupt { what: "prediction", id: named, .. }
                    if *named == id.to_string()),
                "{error:?}"
            );
        }
    }
    Ok(())
}

async fn since(store: &Documents, model: &str) -> Result<Vec<PredictionRecord>, StoreError> {
    let model: ModelName = model.parse().unwrap();
    store.predictions.since(&model, OffsetDateTime::UNIX_EPOCH, 1000).await
}

async fn add(store: &Documents, one: Feedback) -> Result<bool, StoreError> {
    Ok(store.feedback.add_all(&[one], &HashMap::new()).await? == [true])
}

fn record(model: &str, label: &str) -> PredictionRecord {
    let text = serde_json::json!({
        "prediction_id": PredictionId::new(),
        "request_id": RequestId::new(),
        "at": "2024-02-29T23:59:59.123456789Z",
        "principal": "0199",
        "model": model,
        "version": "3",
        "decision": { "generation": 1, "reason": "request", "propensity": 0.5 },
        "input": { "content_type": "application/json", "bytes": 30 },
        "output": { "content_type": "application/json", "bytes": 200 },
        "rows": 1,
        "label": label,
        "confidence": 0.98,
        "latency_us": 1500,
        "compute_us": 300,
    });
    serde_json::from_value(text).unwrap()
}

fn says(id: PredictionId, label: &str) -> Feedback {
    let text = serde_json::json!({
        "prediction_id": id,
        "outcome": { "label": label },
        "source": "anna",
        "received_at": "2024-02-29T23:59:59.123456789Z",
    });
    serde_json::from_value(text).unwrap()
}

async fn database(url: &str) -> mongodb::Database {
    let client = mongodb::Client::with_uri_str(url).await.unwrap();
    client.default_database().unwrap()
}

async fn counts(url: &str) -> (u64, u64) {
    let database = database(url).await;
    let count =
        async |name| database.collection::<Document>(name).count_documents(doc! {}).await.unwrap();
    (count("predictions").await, count("feedback").await)
}
