//! A driver's errors, sorted by what a caller would do about them.

use std::time::Duration;

use crate::StoreError;
use crate::error::Cause;

/// Why work on a connection came to nothing.
pub(super) enum Broken {
    /// The driver failed.
    Driver(sqlx::Error),
    /// What was found does not allow it.
    Ours(StoreError),
}

impl From<sqlx::Error> for Broken {
    fn from(cause: sqlx::Error) -> Self {
        Self::Driver(cause)
    }
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self::Ours(error)
    }
}

/// Whether an error says that the server's state is to blame, which passes, or something that does
/// not.
enum Kind {
    Passing,
    Damaged,
    Lasting,
}

/// The store's failure to do something.
pub(super) fn failure(store: &str, action: &'static str, cause: sqlx::Error) -> StoreError {
    let store = store.to_owned();
    match kind(&cause) {
        Kind::Passing => StoreError::Unavailable { store, action, source: cause.into() },
        Kind::Damaged => StoreError::Corrupt { what: "database", id: store, source: cause.into() },
        Kind::Lasting => StoreError::Failed { store, action, source: cause.into() },
    }
}

/// The store's failure to connect for the first time, with what to look at.
pub(super) fn no_connection(store: &str, cause: sqlx::Error) -> StoreError {
    let action = match sqlstate(&cause).as_deref() {
        Some("3D000") => "find its database: create it, or correct its name in the URL",
        Some(code) if code.starts_with("28") => {
            "sign in: check the user, the password and the server's `pg_hba.conf`"
        }
        _ => UNREACHABLE,
    };
    failure(store, action, cause)
}

/// What to look at when no connection comes about.
pub(super) const UNREACHABLE: &str =
    "connect: check that the server runs and that its host and port can be reached from here";

/// The store's silence.
pub(super) fn overdue(store: &str, action: &'static str, wait: Duration) -> StoreError {
    let source: Cause = format!("no answer within {} s", wait.as_secs()).into();
    StoreError::Unavailable { store: store.to_owned(), action, source }
}

fn kind(cause: &sqlx::Error) -> Kind {
    /// Classes and codes of PostgreSQL by which trying again may help: connection lost (08), read
    /// only, such as a standby (25006), ended for its silence (25P03, 25P04), rolled back because of
    /// others (40), locked (55P03), out of disk, memory or connections (53), shut down, starting or
    /// cancelled (57), trouble with a disk (58).
    const PASSING: [&str; 9] = ["08", "25006", "25P03", "25P04", "40", "55P03", "53", "57", "58"];
    /// Those by which a file of the server is damaged.
    const DAMAGED: [&str; 2] = ["XX001", "XX002"];

    if let Some(code) = sqlstate(cause) {
        let among = |codes: &[&str]| codes.iter().any(|one| code.starts_with(one));
        return match () {
            () if among(&PASSING) => Kind::Passing,
            () if among(&DAMAGED) => Kind::Damaged,
            () => Kind::Lasting,
        };
    }
    match cause {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Kind::Passing,
        _ => Kind::Lasting,
    }
}

fn sqlstate(cause: &sqlx::Error) -> Option<String> {
    Some(cause.as_database_error()?.code()?.into_owned())
}
