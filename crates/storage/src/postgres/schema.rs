//! Tables, brought up to date by whoever starts first.

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, SqlSafeStr as _};

use super::failure::{UNREACHABLE, failure, no_connection, overdue};
use super::{WAITS, begin};
use crate::StoreError;

const MIGRATIONS: [(i64, &str, &str); 4] = [
    (
        1,
        "accounts, registry, routes",
        include_str!("../../../../migrations/postgres/0001_accounts_registry_routes.sql"),
    ),
    (
        2,
        "credentials, audit",
        include_str!("../../../../migrations/postgres/0002_credentials_audit.sql"),
    ),
    (3, "events", include_str!("../../../../migrations/postgres/0003_events.sql")),
    (4, "plans", include_str!("../../../../migrations/postgres/0004_plans.sql")),
];

/// The table that lists what was applied.
const APPLIED: &str = "relational_migrations";

/// Whoever holds this lock of the database may change its tables.
const LOCK: i64 = i64::from_be_bytes(*b"dec-engn");

/// Applies what is missing, in one transaction that the others wait for.
pub(super) async fn bring_up_to_date(
    store: &str,
    options: &PgConnectOptions,
) -> Result<(), StoreError> {
    const ACTION: &str = "bring its tables up to date";

    let limits = [
        ("lock_timeout", WAITS.tables_lock),
        ("idle_in_transaction_session_timeout", WAITS.silence),
    ];
    let options = options.clone().options(limits.map(|(name, wait)| (name, wait.as_millis())));
    let mut connection = tokio::time::timeout(WAITS.connect, options.connect())
        .await
        .map_err(|_elapsed| overdue(store, UNREACHABLE, WAITS.connect))?
        .map_err(|cause| no_connection(store, cause))?;
    // Dropped when overdue, the connection closes, and the server undoes all of it.
    let outcome = tokio::time::timeout(WAITS.tables, apply(&mut connection)).await;
    match outcome.map_err(|_elapsed| overdue(store, ACTION, WAITS.tables))? {
        Ok(()) => {}
        Err(MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _)) => {
            return Err(failure(store, ACTION, cause));
        }
        Err(error) => {
            return Err(StoreError::Migrate { store: store.to_owned(), source: error.into() });
        }
    }
    connection.close().await.map_err(|cause| failure(store, ACTION, cause))
}

async fn apply(connection: &mut PgConnection) -> Result<(), MigrateError> {
    let migrations = MIGRATIONS.iter().map(|(number, name, sql)| {
        let kind = MigrationType::Simple;
        Migration::new(*number, (*name).into(), kind, (*sql).into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.dangerous_set_table_name(APPLIED);
    // The driver's own lock would outlive a failed transaction, and comes after it began.
    migrator.set_locking(false);

    let encoding: String =
        sqlx::query_scalar("SHOW server_encoding").fetch_one(&mut *connection).await?;
    // One that says nothing about its encoding keeps what it is given.
    if encoding != "UTF8" && encoding != "SQL_ASCII" {
        let text = format!(
            "the database's encoding is `{encoding}`, but it must be `UTF8`: create one with \
             `ENCODING 'UTF8' TEMPLATE template0`"
        );
        return Err(sqlx::Error::Configuration(text.into()).into());
    }
    let mut change = begin(connection).await?;
    // Whoever comes second waits here, and then finds nothing left to do.
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *change).await?;
    // Not `run`: the future of that one is not `Send` where this is awaited in a task.
    migrator.run_direct(None, &mut *change, false).await?;
    change.commit().await?;
    Ok(())
}
