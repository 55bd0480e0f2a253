//! A MongoDB that is down, restarted, hung or not as expected.

use std::error::Error as _;
use std::time::{Duration, Instant};

use domain::ModelName;
use mongodb::bson::doc;
use storage::StoreError;
use testkit::{PrivateServer, shared_mongo};
use time::OffsetDateTime;

use super::{add, database, record, says, since};
use crate::Outcome;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_in_the_middle_loses_and_doubles_nothing() -> Outcome {
    let mut server = PrivateServer::mongo().await;
    let store = storage::documents(server.url()).await?;
    let (done, mut acknowledged) = tokio::sync::watch::channel((Vec::new(), 0));
    let writing = tokio::spawn({
        let log = store.predictions.clone();
        async move {
            loop {
                let batch: Vec<_> = (0..5).map(|_| record("restarted", "x")).collect();
                // As the shipper does: the same again until it is acknowledged.
                while let Err(error) = log.append(&batch).await {
                    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
                    done.send_modify(|(_, failed)| *failed += 1);
                }
                done.send_modify(|(ids, _)| ids.extend(batch.iter().map(|one| one.prediction_id)));
            }
        }
    });
    let patience = Duration::from_secs(60);
    for round in 0..2 {
        let enough = acknowledged.borrow().0.len() + 100;
        let more = acknowledged.wait_for(|(ids, _)| ids.len() >= enough);
        drop(tokio::time::timeout(patience, more).await.expect("no records went in").unwrap());
        server.stop().await;
        if round == 0 {
            // Long enough down for an append to fail; the second time it is back before.
            let failed = acknowledged.wait_for(|(_, failed)| *failed > 0);
            drop(tokio::time::timeout(patience, failed).await.expect("no append failed").unwrap());
            unavailable(store.check().await);
        }
        server.start_again().await;
    }
    let enough = acknowledged.borrow().0.len() + 100;
    let more = acknowledged.wait_for(|(ids, _)| ids.len() >= enough);
    drop(tokio::time::timeout(patience, more).await.expect("it did not recover").unwrap());
    writing.abort();
    writing.await.ok();
    store.check().await?;

    let mut expected = acknowledged.borrow().0.clone();
    let model: ModelName = "restarted".parse().unwrap();
    let found = store.predictions.since(&model, OffsetDateTime::UNIX_EPOCH, u32::MAX).await?;
    let mut found: Vec<_> = found.iter().map(|one| one.prediction_id.to_string()).collect();
    found.sort();
    let n_found = found.len();
    found.dedup();
    assert_eq!(found.len(), n_found, "a record is there twice");
    expected.retain(|id| found.binary_search(&id.to_string()).is_err());
    assert!(expected.is_empty(), "acknowledged, but not there: {expected:?}");
    Ok(())
}

#[tokio::test]
async fn after_a_restart_the_first_call_of_each_kind_succeeds() -> Outcome {
    let mut server = PrivateServer::mongo().await;
    let store = storage::documents(server.url()).await?;
    let one = record("restarted", "x");
    store.predictions.append(std::slice::from_ref(&one)).await?;
    for call in 0..6 {
        server.stop().await;
        server.start_again().await;
        match call {
            0 => store.check().await?,
            1 => store.predictions.append(&[one.clone(), record("restarted", "y")]).await?,
            2 => assert!(store.predictions.get(one.prediction_id).await?.is_some()),
            3 => assert_eq!(since(&store, "restarted").await?.len(), 2),
            4 => assert!(add(&store, says(one.prediction_id, "x")).await?),
            _ => assert_eq!(store.feedback.of_prediction(one.prediction_id).await?.len(), 1),
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_unavailable_in_time_and_back_when_it_goes_on() -> Outcome {
    let server = PrivateServer::mongo().await;
    let store = storage::documents(server.url()).await?;
    let one = record("slow", "x");
    store.predictions.append(std::slice::from_ref(&one)).await?;

    server.pause();
    let started = Instant::now();
    unavailable(store.check().await);
    // Two seconds, and what a busy machine adds.
    assert!(started.elapsed() < Duration::from_millis(3500), "{:?}", started.elapsed());
    let two = record("slow", "y");
    let (read, page, append, added, open) = tokio::join!(
        store.predictions.get(one.prediction_id),
        since(&store, "slow"),
        store.predictions.append(std::slice::from_ref(&two)),
        add(&store, says(one.prediction_id, "x")),
        storage::documents(server.url()),
    );
    unavailable(read);
    unavailable(page);
    unavailable(append);
    unavailable(added);
    unavailable(open);
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    // However long it hangs, and whatever the driver knows by now.
    let started = Instant::now();
    unavailable(store.check().await);
    // Two seconds, and what a busy machine adds.
    assert!(started.elapsed() < Duration::from_millis(3500), "{:?}", started.elapsed());

    server.resume();
    let started = Instant::now();
    while let Err(error) = store.check().await {
        assert!(started.elapsed() < Duration::from_secs(10), "not back: {error:?}");
    }
    store.predictions.append(std::slice::from_ref(&two)).await?;
    add(&store, says(one.prediction_id, "x")).await?;
    assert_eq!(since(&store, "slow").await?.len(), 2);
    assert_eq!(store.feedback.of_prediction(one.prediction_id).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn opening_fails_clearly_where_it_must() -> Outcome {
    // Nobody listens.
    let started = Instant::now();
    let error = storage::documents("mongodb://u:secret@127.0.0.1:9/engine?authSource=admin").await;
    let error = error.err().unwrap();
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    let cause = error.source().unwrap().to_string();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("`mongodb://***@127.0.0.1:9/engine`"), "{error}");
    assert!(cause.contains("Connection refused") && !cause.contains("secret"), "{cause}");

    // Encrypted, where the server is not.
    let url = shared_mongo().await;
    let joint = if url.contains('?') { '&' } else { '?' };
    let error = storage::documents(&format!("{url}{joint}tls=true")).await.err().unwrap();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");

    // Another index has the name.
    let keys = doc! { "key": { "rows": 1 }, "name": "by_model_and_time" };
    let database = database(&url).await;
    let taken = doc! { "createIndexes": "predictions", "indexes": [keys] };
    database.run_command(taken).await.unwrap();
    let error = storage::documents(&url).await.err().unwrap();
    assert!(matches!(error, StoreError::Migrate { .. }), "{error:?}");
    Ok(())
}

#[track_caller]
fn unavailable<T>(outcome: Result<T, StoreError>) {
    let error = outcome.err();
    assert!(matches!(error, Some(StoreError::Unavailable { .. })), "{error:?}");
}
