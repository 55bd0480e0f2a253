//! What can go wrong with a store, by what a caller would do about it.

use std::error::Error;

/// The cause of a failure, as the store's driver tells it.
pub type Cause = Box<dyn Error + Send + Sync + 'static>;

/// A failure of a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It exists already, or somebody else changed it meanwhile. Read it again, then decide.
    #[error("{what} `{id}` {why}")]
    Conflict {
        /// What kind of thing.
        what: &'static str,
        /// Which one.
        id: String,
        /// Why the change was refused.
        why: String,
    },
    /// There is no such thing.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// Which one.
        id: String,
    },
    /// A value that no store keeps, such as a number that JSON cannot hold.
    #[error("{what} `{id}` cannot be stored: {why}")]
    Invalid {
        /// What kind of thing.
        what: &'static str,
        /// Which one.
        id: String,
        /// Which value, and what it would have to be.
        why: String,
    },
    /// The bytes kept under a digest have another one.
    #[error(
        "artefact `{sha256}` is damaged or was tampered with: its bytes hash to `{found}`; upload it again"
    )]
    Tampered {
        /// The digest asked for.
        sha256: String,
        /// The digest of what was found.
        found: String,
    },
    /// The store is down, locked, full or too slow. Trying again may help.
    #[error("store `{store}` is unavailable: failed to {action}")]
    Unavailable {
        /// The store's URL, without secrets.
        store: String,
        /// What was being done.
        action: &'static str,
        /// Why.
        source: Cause,
    },
    /// Something kept in the store cannot be read.
    #[error("{what} `{id}` in the store cannot be read: restore it from a backup")]
    Corrupt {
        /// What kind of thing.
        what: &'static str,
        /// Which one.
        id: String,
        /// Why.
        source: Cause,
    },
    /// The store refused; trying again does not help.
    #[error("store `{store}` failed to {action}")]
    Failed {
        /// The store's URL, without secrets.
        store: String,
        /// What was being done.
        action: &'static str,
        /// Why.
        source: Cause,
    },
    /// The store could not be opened at start.
    #[error("failed to open store `{store}`: check that the folder exists and may be written")]
    Open {
        /// The store's URL, without secrets.
        store: String,
        /// Why.
        source: Cause,
    },
    /// The store's tables could not be brought up to date.
    #[error(
        "failed to bring the tables of store `{store}` up to date: a newer release may have made them"
    )]
    Migrate {
        /// The store's URL, without secrets.
        store: String,
        /// Why.
        source: Cause,
    },
    /// A setting does not fit the other ones.
    #[error("setting `{setting}` {why}")]
    Setting {
        /// The setting, such as `storage.artifacts_access_key`.
        setting: &'static str,
        /// What is wrong with it, and what would be right.
        why: String,
    },
    /// A setting names a store of a kind that there is no adapter for.
    #[error("setting `{setting}` is `{url}`, but it must be {must_be}")]
    UnsupportedUrl {
        /// The setting, such as `storage.relational`.
        setting: &'static str,
        /// Its value, without secrets.
        url: String,
        /// What it may be.
        must_be: &'static str,
    },
}
