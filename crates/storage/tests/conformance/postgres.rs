//! PostgreSQL.

use std::time::Duration;

use domain::ModelName;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};
use storage::conformance as suite;
use storage::{Relational, StoreError};
use testkit::shared_postgres;

use crate::Outcome;

mod trouble;

#[tokio::test]
async fn postgres_does_what_the_ports_promise() -> Outcome {
    let store = storage::relational(&shared_postgres().await).await?;
    // Twice: a suite must not mind what is there already.
    for _ in 0..2 {
        all_suites(&store).await?;
    }
    store.check().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_write_to_postgres_at_once() -> Outcome {
    let url = shared_postgres().await;
    let (first, second) = (storage::relational(&url).await?, storage::relational(&url).await?);
    suite::account_changes(&*first.accounts, &*second.accounts).await?;
    suite::accounts_by_two(&*first.accounts, &*second.accounts).await?;
    suite::credentials_by_two(&*first.credentials, &*second.credentials).await?;
    suite::audit_by_two(&*first.audit, &*second.audit).await?;
    suite::registry_by_two(&*first.registry, &*second.registry).await?;
    suite::routes_by_two(&*first.routes, &*second.routes).await?;
    suite::plans_by_two(&*first.plans, &*second.plans).await?;
    suite::events_by_two(&*first.events, &*second.events).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_start_at_once_on_an_empty_database() {
    for _ in 0..3 {
        let url = shared_postgres().await;
        let mut starting = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let url = url.clone();
            starting.spawn(async move { storage::relational(&url).await?.check().await });
        }
        for outcome in starting.join_all().await {
            outcome.unwrap();
        }
        let applied: i64 = sqlx::query_scalar("SELECT count(*) FROM relational_migrations")
            .fetch_one(&mut open(&url).await)
            .await
            .unwrap();
        assert_eq!(applied, 4);
    }
}

#[tokio::test]
async fn a_database_opened_again_has_everything() -> Outcome {
    let url = shared_postgres().await;
    let before = storage::relational(&url).await?;
    all_suites(&before).await?;
    // The other scheme for the same.
    let after = storage::relational(&url.replace("postgres://", "postgresql://")).await?;
    assert_eq!(after.accounts.users().await?, before.accounts.users().await?);
    assert_eq!(after.registry.models().await?, before.registry.models().await?);
    assert_eq!(after.registry.versions(None).await?, before.registry.versions(None).await?);
    assert_eq!(after.routes.routes().await?, before.routes.routes().await?);
    assert!(!after.routes.routes().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_writer_waits_for_a_locked_model_but_not_for_ever_and_readers_do_not() -> Outcome {
    let url = shared_postgres().await;
    let store = storage::relational(&url).await?;
    run(&url, "INSERT INTO models VALUES ('slow', '{}')").await;
    let model: ModelName = "slow".parse().unwrap();
    let mut other = open(&url).await;
    let mut lock = other.begin().await.unwrap();
    let select = "SELECT 1 FROM models WHERE name = 'slow' FOR UPDATE";
    sqlx::query(select).execute(&mut *lock).await.unwrap();

    let mut writing = tokio::spawn({
        let (registry, model) = (store.registry.clone(), model.clone());
        async move { registry.set_alias(&model, "champion", None).await }
    });
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut writing).await;
    assert!(waited.is_err(), "the writer did not wait: {waited:?}");
    assert!(store.registry.models().await.is_err(), "`{{}}` is no model");
    store.check().await?;

    // The lock stays, and the writer gives up.
    let error = writing.await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    lock.rollback().await.unwrap();
    let error = store.registry.set_alias(&model, "champion", None).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_cut_short_leaves_no_lock_and_no_open_transaction() -> Outcome {
    let url = shared_postgres().await;
    let store = storage::relational(&url).await?;
    for cut_after_us in (0..10_000).step_by(50) {
        let cut = Duration::from_micros(cut_after_us);
        // Whether it was done in time does not matter here.
        tokio::time::timeout(cut, suite::registry(&*store.registry)).await.ok();
    }
    suite::accounts(&*store.accounts).await?;
    let another = storage::relational(&url).await?;
    // What one process was told is done, another one sees.
    assert_eq!(another.accounts.users().await?, store.accounts.users().await?);
    suite::registry_by_two(&*store.registry, &*another.registry).await
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_corrupt_and_named() {
    let url = shared_postgres().await;
    let store = storage::relational(&url).await.unwrap();
    run(&url, "INSERT INTO models VALUES ('bad', '{')").await;
    run(&url, "INSERT INTO routes VALUES ('bad', 1, 'null')").await;
    run(&url, r"INSERT INTO users VALUES ('x', 'eve\377', 'admin', '', 'now', '')").await;

    let error = store.registry.models().await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { what: "model", id, .. } if id == "bad"));
    let error = store.routes.routes().await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { what: "route", id, .. } if id == "bad"));
    let error = store.accounts.users().await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { what: "user", id, .. } if id.contains("eve")));
}

async fn all_suites(store: &Relational) -> Outcome {
    suite::accounts(&*store.accounts).await?;
    suite::credentials(&*store.credentials).await?;
    suite::audit(&*store.audit).await?;
    suite::registry(&*store.registry).await?;
    suite::routes(&*store.routes).await?;
    suite::plans(&*store.plans).await?;
    suite::events(&*store.events).await
}

async fn open(url: &str) -> PgConnection {
    url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
}

async fn run(url: &str, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut open(url).await).await.unwrap();
}
