//! A server that restarts, stands still, is not there or refuses us.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use domain::{Manifest, Model, ModelName, Role, User, Version};
use storage::{Relational, StoreError};
use testkit::{PrivateServer, shared_postgres, until};

use super::{open, run};
use crate::Outcome;

/// What a task was told is done.
#[derive(Default)]
struct Acknowledged {
    users: Vec<String>,
    versions: Vec<u32>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_in_the_middle_loses_and_doubles_nothing() -> Outcome {
    let mut server = PrivateServer::postgres().await;
    let store = storage::relational(server.url()).await?;
    store.registry.create_model(model()).await?;
    let enough = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|number| tokio::spawn(write(store.clone(), number, Arc::clone(&enough))))
        .collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.stop().await;
        server.start_again().await;
        until("a sign of life", Duration::from_secs(20), async || store.check().await.ok()).await;
    }
    enough.store(true, Ordering::Relaxed);

    let mut told = Acknowledged::default();
    for writer in writers {
        let one = writer.await.unwrap();
        assert!(one.users.len() > 10, "{} users only", one.users.len());
        told.users.extend(one.users);
        told.versions.extend(one.versions);
    }
    let stored = store.accounts.users().await?;
    for name in &told.users {
        assert_eq!(stored.iter().filter(|user| user.username == *name).count(), 1, "{name}");
    }
    let stored = store.registry.versions(Some(&name())).await?;
    let n_told = told.versions.len();
    told.versions.sort_unstable();
    told.versions.dedup();
    assert_eq!(told.versions.len(), n_told, "a number was given twice");
    for number in told.versions {
        assert!(stored.iter().any(|version| version.version.number() == number), "{number}");
    }
    // A write whose answer was cut off is unknown to its caller: some of these, and no more.
    assert!(stored.len() <= n_told + 4 * 3, "{} of {n_told}", stored.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_is_unavailable_in_time_and_then_there_again() -> Outcome {
    let server = PrivateServer::postgres().await;
    let store = storage::relational(server.url()).await?;
    store.registry.create_model(model()).await?;
    let enough = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write(store.clone(), 0, Arc::clone(&enough)));
    tokio::time::sleep(Duration::from_millis(100)).await;

    server.pause();
    let begin = Instant::now();
    let error = store.check().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(begin.elapsed() < Duration::from_millis(2500), "{:?}", begin.elapsed());
    // More than there are connections.
    let mut reading = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let registry = store.registry.clone();
        reading.spawn(async move { registry.models().await.unwrap_err() });
    }
    for error in reading.join_all().await {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    }
    let error = storage::relational(server.url()).await.err().unwrap();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());

    server.resume();
    until("a sign of life", Duration::from_secs(10), async || store.check().await.ok()).await;
    assert_eq!(store.registry.models().await?.len(), 1);
    enough.store(true, Ordering::Relaxed);
    let told = writer.await.unwrap();
    let stored = store.accounts.users().await?;
    assert!(told.users.iter().all(|name| stored.iter().any(|user| user.username == *name)));
    assert_eq!(store.registry.versions(Some(&name())).await?.len(), told.versions.len());
    store.registry.create_version(version()).await.map(drop)
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_and_says_what_to_look_at() {
    let mut server = PrivateServer::postgres().await;
    let url = server.url().replace("engine@", "engine:hush@");
    server.stop().await;
    let nowhere = "postgres://engine:hush@no-such-host.invalid/engine?sslmode=prefer";
    for (url, place) in [
        (url.as_str(), server.url()),
        (nowhere, "postgres://engine@no-such-host.invalid:5432/engine"),
    ] {
        let error = storage::relational(url).await.err().unwrap();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        let start = format!("store `{place}` is unavailable: failed to connect: check that the ");
        assert!(error.to_string().starts_with(&start), "{error}");
        assert!(error.source().is_some() && !format!("{error:?}").contains("hush"), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_us_says_why() {
    let server = PrivateServer::postgres().await;
    let url = server.url();
    run(url, "CREATE ROLE clerk LOGIN PASSWORD 'right'").await;
    let no_encoding = "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0 \
         LOCALE_PROVIDER libc";
    run(url, no_encoding).await;
    let rules: String =
        sqlx::query_scalar("SHOW hba_file").fetch_one(&mut open(url).await).await.unwrap();
    let rule = "host all clerk 127.0.0.1/32 scram-sha-256' || E'\\n' || 'host all all all trust";
    run(url, &format!("COPY (SELECT '{rule}') TO PROGRAM 'printf \"$(cat)\" > {rules}'")).await;
    run(url, "SELECT pg_reload_conf()").await;

    let in_database = |name| format!("{}/{name}", url.strip_suffix("/engine").unwrap());
    let as_clerk = |password| url.replace("engine@", &format!("clerk:{password}@"));
    let cases = [
        (as_clerk("hush"), "failed to sign in: check the user, the password", "password"),
        (in_database("absent"), "failed to find its database: create it", "not exist"),
        (in_database("latin"), "failed to bring its tables", "it must be `UTF8`"),
        // Since version 15 only the owner may.
        (as_clerk("right"), "failed to bring its tables up to date", "permission denied"),
    ];
    for (url, says, why) in cases {
        let ask = async || match storage::relational(&url).await {
            Err(error) if error.to_string().contains(says) => Some(error),
            // The new rules may need a moment.
            _ => None,
        };
        let error = until(says, Duration::from_secs(10), ask).await;
        assert!(matches!(error, StoreError::Failed { .. }), "{error:?}");
        let source = error.source().unwrap().to_string();
        assert!(source.contains(why), "{source}");
        assert!(!url.contains(":hush") || !format!("{error:?}").contains("hush"), "{error:?}");
    }
}

#[tokio::test]
async fn tables_of_a_newer_release_are_left_alone() -> Outcome {
    let url = shared_postgres().await;
    drop(storage::relational(&url).await?);
    run(
        &url,
        "INSERT INTO relational_migrations (version, description, success, checksum, \
         execution_time) VALUES (999, 'newer', true, '', 0)",
    )
    .await;
    let error = storage::relational(&url).await.err().unwrap();
    assert!(matches!(error, StoreError::Migrate { .. }), "{error:?}");
    run(&url, "DELETE FROM relational_migrations WHERE version = 999").await;
    storage::relational(&url).await?.check().await
}

/// Makes users and versions until it is enough. A failure is `Unavailable`, and each write has a
/// name of its own.
async fn write(store: Relational, writer: u32, enough: Arc<AtomicBool>) -> Acknowledged {
    let mut told = Acknowledged::default();
    for number in 0.. {
        if enough.load(Ordering::Relaxed) {
            break;
        }
        let username = format!("user-{writer}-{number}");
        match store.accounts.create_user(user(&username)).await {
            Ok(()) => told.users.push(username),
            Err(error) => assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}"),
        }
        match store.registry.create_version(version()).await {
            Ok(version) => told.versions.push(version.version.number()),
            Err(error) => assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}"),
        }
    }
    told
}

fn name() -> ModelName {
    "iris".parse().unwrap()
}

fn model() -> Model {
    Model {
        name: name(),
        description: String::new(),
        aliases: std::collections::BTreeMap::new(),
        policy: None,
        created_by: "anna".to_owned(),
        created_at: time::OffsetDateTime::UNIX_EPOCH,
    }
}

fn version() -> Version {
    let manifest: Manifest = serde_json::from_str(
        r#"{"name": "iris", "version": "1.0.0", "task": "classification", "modality": "tabular",
            "format": "onnx", "inputs": [], "outputs": []}"#,
    )
    .unwrap();
    Version {
        model: name(),
        version: domain::VersionId::new(1).unwrap(),
        manifest,
        files: Vec::new(),
        enabled: true,
        created_by: "anna".to_owned(),
        created_at: time::OffsetDateTime::UNIX_EPOCH,
    }
}

fn user(username: &str) -> User {
    let now = time::OffsetDateTime::UNIX_EPOCH;
    User { password_hash: "-".to_owned(), ..User::new(username, Role::Client, "-", now) }
}
