//! SQLite and the local folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::ModelName;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use storage::conformance as suite;
use storage::{Documents, Relational, StoreError};

use crate::Outcome;

/// A folder with the files of one engine, gone at the end of the test.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A file in a folder that is not there yet.
    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("data").join(name)
    }

    async fn relational(&self) -> Relational {
        let url = format!("sqlite://{}", self.file("relational.db").display());
        storage::relational(&url).await.unwrap()
    }

    async fn documents(&self) -> Documents {
        let url = format!("sqlite://{}", self.file("documents.db").display());
        storage::documents(&url).await.unwrap()
    }
}

#[tokio::test]
async fn sqlite_relational_does_what_the_ports_promise() -> Outcome {
    let place = Place::new();
    let store = place.relational().await;
    // Twice: a suite must not mind what is there already.
    for _ in 0..2 {
        suite::accounts(&*store.accounts).await?;
        suite::credentials(&*store.credentials).await?;
        suite::audit(&*store.audit).await?;
        suite::registry(&*store.registry).await?;
        suite::routes(&*store.routes).await?;
        suite::plans(&*store.plans).await?;
        suite::events(&*store.events).await?;
    }
    store.check().await
}

#[tokio::test]
async fn sqlite_documents_does_what_the_ports_promise() -> Outcome {
    let place = Place::new();
    let store = place.documents().await;
    for _ in 0..2 {
        suite::predictions(&*store.predictions).await?;
        suite::feedback(&*store.feedback).await?;
        suite::shadows(&*store.shadows).await?;
    }
    store.check().await
}

#[tokio::test]
async fn a_folder_does_what_the_port_promises() -> Outcome {
    let place = Place::new();
    let url = format!("file://{}", place.file("artifacts").display());
    let open = || storage::artifacts(&url, storage::Keys::default());
    let (first, second) = (open().await?, open().await?);
    suite::artifacts(&*first).await?;
    suite::artifacts(&*second).await?;
    suite::artifacts_by_two(&*first, &*second).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_write_to_sqlite_at_once() -> Outcome {
    let place = Place::new();
    let (first, second) = tokio::join!(place.relational(), place.relational());
    suite::account_changes(&*first.accounts, &*second.accounts).await?;
    suite::accounts_by_two(&*first.accounts, &*second.accounts).await?;
    suite::credentials_by_two(&*first.credentials, &*second.credentials).await?;
    suite::audit_by_two(&*first.audit, &*second.audit).await?;
    suite::registry_by_two(&*first.registry, &*second.registry).await?;
    suite::routes_by_two(&*first.routes, &*second.routes).await?;
    suite::plans_by_two(&*first.plans, &*second.plans).await?;
    suite::events_by_two(&*first.events, &*second.events).await?;

    let (first, second) = tokio::join!(place.documents(), place.documents());
    suite::predictions_by_two(&*first.predictions, &*second.predictions).await?;
    suite::feedback_by_two(&*first.feedback, &*second.feedback).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_start_at_once_on_files_that_are_not_there_yet() {
    for _ in 0..5 {
        let place = Place::new();
        let path = place.file("one.db");
        // Both kinds of tables fit into one file.
        let url = format!("sqlite://{}", path.display());
        let mut starting = tokio::task::JoinSet::new();
        for number in 0..6 {
            let url = url.clone();
            starting.spawn(async move {
                if number % 2 == 0 {
                    storage::relational(&url).await?.check().await
                } else {
                    storage::documents(&url).await?.check().await
                }
            });
        }
        for outcome in starting.join_all().await {
            outcome.unwrap();
        }
        let mut file = open(&path).await;
        let applied: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM relational_migrations) \
             + (SELECT count(*) FROM documents_migrations)",
        )
        .fetch_one(&mut file)
        .await
        .unwrap();
        assert_eq!(applied, 8);
    }
}

#[tokio::test]
async fn a_store_opened_again_has_everything() -> Outcome {
    let place = Place::new();
    let before = place.relational().await;
    suite::accounts(&*before.accounts).await?;
    suite::registry(&*before.registry).await?;
    suite::routes(&*before.routes).await?;
    let users = before.accounts.users().await?;
    let models = before.registry.models().await?;
    let versions = before.registry.versions(None).await?;
    let routes = before.routes.routes().await?;
    drop(before);

    let after = place.relational().await;
    assert!(after.accounts.users().await? == users && !users.is_empty());
    assert!(after.registry.models().await? == models && !models.is_empty());
    assert!(after.registry.versions(None).await? == versions && !versions.is_empty());
    assert!(after.routes.routes().await? == routes && !routes.is_empty());

    let before = place.documents().await;
    suite::predictions(&*before.predictions).await?;
    suite::feedback(&*before.feedback).await?;
    drop(before);
    let counted = "SELECT (SELECT count(*) FROM predictions), (SELECT count(*) FROM feedback)";
    let path = place.file("documents.db");
    let counts: (i64, i64) =
        sqlx::query_as(counted).fetch_one(&mut open(&path).await).await.unwrap();
    drop(place.documents().await);
    let again: (i64, i64) =
        sqlx::query_as(counted).fetch_one(&mut open(&path).await).await.unwrap();
    assert!(counts == again && counts.0 > 1000 && counts.1 > 20, "{counts:?} {again:?}");
    Ok(())
}

#[tokio::test]
async fn a_writer_waits_for_another_process_and_readers_do_not() -> Outcome {
    let place = Place::new();
    let store = place.relational().await;
    let model: ModelName = "slow".parse().unwrap();
    let mut other = open(&place.file("relational.db")).await;
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();

    let mut writing = tokio::spawn({
        let (registry, model) = (store.registry.clone(), model.clone());
        async move { registry.set_enabled(&model, None, true).await }
    });
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut writing).await;
    assert!(waited.is_err(), "the writer did not wait: {waited:?}");
    assert_eq!(store.registry.model(&model).await?, None);
    store.check().await?;

    lock.rollback().await.unwrap();
    let outcome = writing.await.unwrap();
    assert!(matches!(outcome, Err(StoreError::NotFound { .. })), "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn a_writer_that_gave_up_leaves_no_lock_behind() -> Outcome {
    let place = Place::new();
    let (first, second) = (place.relational().await, place.relational().await);
    for cut_after_us in (0..2000).step_by(50) {
        let cut = Duration::from_micros(cut_after_us);
        // Whether it was done in time does not matter here.
        tokio::time::timeout(cut, suite::accounts(&*first.accounts)).await.ok();
    }
    suite::accounts_by_two(&*first.accounts, &*second.accounts).await
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_corrupt_and_named() {
    let place = Place::new();
    let store = place.relational().await;
    let mut other = open(&place.file("relational.db")).await;
    sqlx::query("INSERT INTO models (name, record) VALUES ('bad', '{')")
        .execute(&mut other)
        .await
        .unwrap();
    let error = store.registry.models().await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { what: "model", id, .. } if id == "bad"));
}

async fn open(path: &Path) -> sqlx::SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}
