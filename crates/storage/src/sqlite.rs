//! SQLite files. Several processes open the same file: readers never wait, writers queue.
//!
//! Within a process all writes go through one connection, so that they wait in a fair line instead
//! of polling the file's lock; between processes the lock is polled until [`Waits::lock`] is over.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqlSafeStr as _, SqlitePool, SqliteTransaction};

use crate::StoreError;
use crate::error::Cause;

mod documents;
mod relational;
#[cfg(test)]
mod tests;

pub(crate) use documents::DocumentsFile;
pub(crate) use relational::RelationalFile;

/// An open file.
struct Database {
    url: String,
    read: SqlitePool,
    write: SqlitePool,
}

/// The tables of a file. Each schema keeps its own list of what was applied, so that two may share
/// a file.
struct Schema {
    applied: &'static str,
    migrations: &'static [(i64, &'static str, &'static str)],
}

/// How long to wait before the store counts as unavailable.
struct Waits {
    /// For another process to release the file's lock.
    lock: Duration,
    /// For a connection of this process. Longer than `lock`, so that one who waits for the lock
    /// does not fail those behind.
    line: Duration,
    /// For a sign of life.
    check: Duration,
}

const WAITS: Waits = Waits {
    lock: Duration::from_secs(10),
    line: Duration::from_secs(15),
    check: Duration::from_secs(2),
};

/// Connections that only read; each is a thread.
const READERS: u32 = 4;

impl Database {
    async fn open(path: &Path, schema: &Schema, waits: &Waits) -> Result<Self, StoreError> {
        let url = format!("sqlite://{}", path.display());
        make_file(path)
            .await
            .map_err(|cause| StoreError::Open { store: url.clone(), source: cause.into() })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(waits.lock)
            .foreign_keys(true)
            // Safe against a crash of the process; a power cut may lose the last commits, but
            // never harms the file.
            .synchronous(SqliteSynchronous::Normal);
        bring_up_to_date(&url, &options, schema, waits).await?;
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(waits.line)
                .idle_timeout(None)
                .max_lifetime(None)
                .connect_lazy_with(options.clone())
        };
        Ok(Self { read: pool(READERS), write: pool(1), url })
    }

    /// Begins a change. Nobody else changes the file until it ends, so what it reads stays true.
    async fn change(&self, action: &'static str) -> Result<SqliteTransaction<'static>, StoreError> {
        self.write.begin_with("BEGIN IMMEDIATE").await.map_err(self.during(action))
    }

    async fn check(&self) -> Result<(), StoreError> {
        let action = "answer a check";
        let answer = sqlx::query("SELECT count(*) FROM sqlite_schema").execute(&self.read);
        match tokio::time::timeout(WAITS.check, answer).await {
            Ok(done) => done.map(drop).map_err(self.during(action)),
            Err(cause) => Err(StoreError::Unavailable {
                store: self.url.clone(),
                action,
                source: cause.into(),
            }),
        }
    }

    /// Names a driver's error by what was being done.
    fn during(&self, action: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
        move |cause| failure(&self.url, action, cause)
    }
}

/// Makes the file and its folder. Only we may read it: it holds password hashes and people's data.
async fn make_file(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    let mut options = tokio::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    options.mode(0o600);
    options.open(path).await.map(drop)
}

/// Switches the file to its write-ahead log and applies what is missing, once, whoever comes first.
async fn bring_up_to_date(
    url: &str,
    options: &SqliteConnectOptions,
    schema: &Schema,
    waits: &Waits,
) -> Result<(), StoreError> {
    let last_try = Instant::now() + waits.lock;
    loop {
        let error = match try_bring_up_to_date(options, schema).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let (MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _)) = error
        else {
            return Err(StoreError::Migrate { store: url.to_owned(), source: error.into() });
        };
        // The switch of the journal needs the file alone and, unlike all else, does not wait by
        // itself.
        if !is_locked(&cause) || Instant::now() >= last_try {
            return Err(failure(url, "bring its tables up to date", cause));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn try_bring_up_to_date(
    options: &SqliteConnectOptions,
    schema: &Schema,
) -> Result<(), MigrateError> {
    let migrations = schema.migrations.iter().map(|(number, name, sql)| {
        let kind = MigrationType::Simple;
        Migration::new(*number, (*name).into(), kind, (*sql).into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.dangerous_set_table_name(schema.applied);

    let mut connection = options.connect().await?;
    let mode: String =
        sqlx::query_scalar("PRAGMA journal_mode = WAL").fetch_one(&mut connection).await?;
    if mode != "wal" {
        let text = format!("the file system allows no write-ahead log (journal mode `{mode}`)");
        return Err(sqlx::Error::Protocol(text).into());
    }
    // Whoever comes second waits here, and then finds nothing left to do.
    let mut change = connection.begin_with("BEGIN IMMEDIATE").await?;
    // Not `run`: the future of that one is not `Send` where this is awaited in a task.
    migrator.run_direct(None, &mut *change, false).await?;
    change.commit().await?;
    connection.close().await?;
    Ok(())
}

/// Sorts a driver's error by what a caller would do about it.
fn failure(url: &str, action: &'static str, cause: sqlx::Error) -> StoreError {
    /// Result codes of SQLite by which trying again may help: no permission (3), locked (5, 6),
    /// read-only (8), disk failure (10), disk full (13), cannot open (14), lock protocol (15).
    const PASSING: [i32; 8] = [3, 5, 6, 8, 10, 13, 14, 15];
    /// Result codes of SQLite by which the file is damaged (11) or no database (26).
    const DAMAGED: [i32; 2] = [11, 26];

    let store = url.to_owned();
    let code = result_code(&cause);
    let passing = match &cause {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        _ => code.is_some_and(|code| PASSING.contains(&code)),
    };
    let source: Cause = cause.into();
    if passing {
        StoreError::Unavailable { store, action, source }
    } else if code.is_some_and(|code| DAMAGED.contains(&code)) {
        StoreError::Corrupt { what: "database", id: store, source }
    } else {
        StoreError::Failed { store, action, source }
    }
}

fn is_locked(cause: &sqlx::Error) -> bool {
    matches!(result_code(cause), Some(5 | 6))
}

/// SQLite's primary result code.
fn result_code(cause: &sqlx::Error) -> Option<i32> {
    let code: i32 = cause.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

fn is_taken(cause: &sqlx::Error) -> bool {
    cause.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}
