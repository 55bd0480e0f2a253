//! PostgreSQL: what [`Relational`](crate::stores::Relational) holds, on a server that many processes share.
//!
//! Every call is bounded by [`Waits`], here and at the server, so that a server that is gone, paused
//! or blocked costs a caller seconds, never more. A connection is tried before it is used, so a
//! server that restarts or moves costs no call but those that it was working on. A call that was
//! cut short takes its connection with it: nobody inherits a half-open transaction.

use std::str::FromStr as _;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool, PgTransaction, Postgres};

use crate::StoreError;
use crate::stores::Check;
use failure::{Broken, failure, overdue};

mod accounts;
mod audit;
mod credentials;
mod events;
mod failure;
mod plans;
mod registry;
mod routes;
mod schema;
#[cfg(test)]
mod tests;

/// The server that serves all ports of [`Relational`](crate::stores::Relational).
pub(crate) struct RelationalServer {
    /// Where it is, without secrets.
    store: String,
    pool: PgPool,
}

/// How long to wait before the store counts as unavailable.
struct Waits {
    /// For a connection, be it one that another call of this process holds or a new one.
    connect: Duration,
    /// For an idle connection to show that it still works. If not, a new one is made.
    ping: Duration,
    /// For the server to do one statement, with its wait for a lock.
    statement: Duration,
    /// For a whole call.
    call: Duration,
    /// For a sign of life.
    check: Duration,
    /// For another process that changes the tables.
    tables_lock: Duration,
    /// For our own changes of the tables.
    tables: Duration,
    /// Before the server ends a transaction whose client says nothing, and so its locks.
    silence: Duration,
}

const WAITS: Waits = Waits {
    connect: Duration::from_secs(5),
    ping: Duration::from_secs(1),
    statement: Duration::from_secs(10),
    call: Duration::from_secs(15),
    check: Duration::from_millis(1900),
    tables_lock: Duration::from_secs(60),
    tables: Duration::from_secs(600),
    silence: Duration::from_secs(30),
};

/// What a URL looks like.
const URL: &str = "`postgres://<user>:<password>@<host>:<port>/<database>`";

/// Connections of one process at most. A server takes 100 unless told otherwise.
const CONNECTIONS: u32 = 8;

impl RelationalServer {
    /// Connects, and brings the tables up to date.
    pub(crate) async fn open(url: &str) -> Result<Self, StoreError> {
        let misunderstood = |why| StoreError::Setting {
            setting: "storage.relational",
            why: format!("{why}; it must be like {URL}"),
        };
        let mut options = PgConnectOptions::from_str(url)
            .map_err(|cause| misunderstood(format!("cannot be understood: {cause}")))?;
        // The driver would take the one named like the user, and the one who runs us for the user.
        if options.get_database().is_none() {
            return Err(misunderstood("names no database".to_owned()));
        }
        if options.get_application_name().is_none() {
            options = options.application_name("decision-engine");
        }
        let store = place_of(&options);
        schema::bring_up_to_date(&store, &options).await?;

        let limits = [
            ("statement_timeout", WAITS.statement),
            ("idle_in_transaction_session_timeout", WAITS.silence),
        ];
        let options = options.options(limits.map(|(name, wait)| (name, wait.as_millis())));
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(WAITS.connect)
            // The driver's own test waits for as long as the server does.
            .test_before_acquire(false)
            .before_acquire(|connection, _| {
                Box::pin(async {
                    let answer = tokio::time::timeout(WAITS.ping, connection.ping()).await;
                    Ok(matches!(answer, Ok(Ok(()))))
                })
            })
            .connect_lazy_with(options);
        Ok(Self { store, pool })
    }

    /// Does something on a connection, in time. Tells what failed by what was being done.
    async fn during<T, E: Into<Broken>>(
        &self,
        action: &'static str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, StoreError> {
        self.within(WAITS.call, action, work).await
    }

    async fn within<T, E: Into<Broken>>(
        &self,
        wait: Duration,
        action: &'static str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, StoreError> {
        let outcome = tokio::time::timeout(wait, async {
            let connection = self.pool.acquire().await.map_err(Broken::Driver)?;
            let mut lease = Lease { connection, done: false };
            let outcome = work(&mut lease.connection).await.map_err(Into::into);
            lease.done = true;
            outcome
        });
        match outcome.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Broken::Ours(error))) => Err(error),
            Ok(Err(Broken::Driver(sqlx::Error::PoolTimedOut))) => {
                Err(overdue(&self.store, action, WAITS.connect))
            }
            Ok(Err(Broken::Driver(cause))) => Err(failure(&self.store, action, cause)),
            Err(_) => Err(overdue(&self.store, action, wait)),
        }
    }
}

#[async_trait]
impl Check for RelationalServer {
    async fn check(&self) -> Result<(), StoreError> {
        let ask = async |connection: &mut PgConnection| {
            sqlx::query("SELECT 1").execute(connection).await.map(drop)
        };
        self.within(WAITS.check, "answer a check", ask).await
    }
}

/// A connection at work. It goes back to the others only when the work came to its end, well or
/// badly: one that was dropped in the middle has an answer or a transaction pending.
struct Lease {
    connection: PoolConnection<Postgres>,
    done: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.done {
            self.connection.close_on_drop();
        }
    }
}

/// Begins a change. Each of its statements sees what others committed before it, so that one who
/// waited for a row's lock sees what the other did.
async fn begin(connection: &mut PgConnection) -> Result<PgTransaction<'_>, sqlx::Error> {
    connection.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await
}

/// The server's place as a URL, without password and parameters.
fn place_of(options: &PgConnectOptions) -> String {
    let (user, database) = (options.get_username(), options.get_database().unwrap_or_default());
    match options.get_socket() {
        Some(socket) => format!("postgres://{user}@{}/{database}", socket.display()),
        None => {
            let (host, port) = (options.get_host(), options.get_port());
            format!("postgres://{user}@{host}:{port}/{database}")
        }
    }
}
