//! What only this adapter can get wrong.

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::*;

const SCHEMA: Schema = Schema {
    applied: "applied",
    migrations: &[(1, "one", "CREATE TABLE t (x TEXT PRIMARY KEY) STRICT;")],
};

const IMPATIENT: Waits = Waits {
    lock: Duration::from_millis(50),
    line: Duration::from_millis(100),
    check: Duration::from_millis(100),
};

#[tokio::test]
async fn a_file_locked_for_too_long_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    let database = Database::open(&path, &SCHEMA, &IMPATIENT).await.unwrap();
    let mut other = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();

    let error = database.change("change `t`").await.err().unwrap();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    // Readers do not mind.
    database.check().await.unwrap();

    lock.rollback().await.unwrap();
    database.change("change `t`").await.unwrap().commit().await.unwrap();
}

#[tokio::test]
async fn the_connection_is_tuned_as_intended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    let database = Database::open(&path, &SCHEMA, &IMPATIENT).await.unwrap();
    for pool in [&database.read, &database.write] {
        let journal: String =
            sqlx::query_scalar("PRAGMA journal_mode").fetch_one(pool).await.unwrap();
        let synchronous: i64 =
            sqlx::query_scalar("PRAGMA synchronous").fetch_one(pool).await.unwrap();
        let foreign_keys: i64 =
            sqlx::query_scalar("PRAGMA foreign_keys").fetch_one(pool).await.unwrap();
        assert_eq!((journal.as_str(), synchronous, foreign_keys), ("wal", 1, 1));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    std::fs::write(&path, "this is a letter, not a database. ".repeat(200)).unwrap();
    let error = Database::open(&path, &SCHEMA, &IMPATIENT).await.err().unwrap();
    assert!(matches!(&error, StoreError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("x.db"), "{error}");
}

#[tokio::test]
async fn a_file_whose_folder_cannot_be_made_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let path = folder.path().join("file/x.db");
    let error = Database::open(&path, &SCHEMA, &IMPATIENT).await.err().unwrap();
    assert!(matches!(&error, StoreError::Open { .. }), "{error}");
}

#[tokio::test]
async fn tables_of_a_newer_release_are_left_alone() {
    const NEWER: Schema = Schema {
        applied: "applied",
        migrations: &[
            (1, "one", "CREATE TABLE t (x TEXT PRIMARY KEY) STRICT;"),
            (2, "two", "CREATE TABLE u (x TEXT PRIMARY KEY) STRICT;"),
        ],
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    drop(Database::open(&path, &NEWER, &IMPATIENT).await.unwrap());
    let error = Database::open(&path, &SCHEMA, &IMPATIENT).await.err().unwrap();
    assert!(matches!(error, StoreError::Migrate { .. }), "{error}");
    // And an older file is brought up to date, in the presence of others.
    let older = folder.path().join("older.db");
    let still_open = Database::open(&older, &SCHEMA, &IMPATIENT).await.unwrap();
    Database::open(&older, &NEWER, &IMPATIENT).await.unwrap();
    still_open.check().await.unwrap();
}
