//! MongoDB: the prediction log and feedback in one database, which any number of processes share.
//!
//! A document holds the whole record as JSON text, so that it comes back to the letter, and beside it
//! what is searched, ordered and aggregated. What is written is acknowledged once a majority of the
//! replica set has it in its journal; a single server is a majority of one.

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use mongodb::bson::{RawDocument, RawDocumentBuf, doc};
use mongodb::options::{Acknowledgment, ClientOptions, ConnectionString, WriteConcern};
use mongodb::{Client, Collection};
use serde::de::DeserializeOwned;

use crate::stores::Check;
use crate::{StoreError, json};

mod failures;
mod feedback;
mod migrations;
mod predictions;
mod shadows;

/// How long to wait before the store counts as unavailable.
struct Waits {
    /// For a server that takes the work, such as the next primary of a replica set.
    select: Duration,
    /// For a connection to be made.
    connect: Duration,
    /// For an answer, the wait for a server and a second try included.
    answer: Duration,
    /// For a sign of life.
    check: Duration,
    /// For an index to be built over all that is there.
    build: Duration,
}

const WAITS: Waits = Waits {
    select: Duration::from_secs(3),
    connect: Duration::from_secs(3),
    answer: Duration::from_secs(10),
    check: Duration::from_millis(1900),
    build: Duration::from_secs(600),
};

/// What a document may take: MongoDB's own limit, which no setting of it moves.
const DOCUMENT_BYTES: usize = 16 * 1024 * 1024;

/// Ids per query.
const IDS_PER_QUERY: usize = 5_000;

/// The database that serves [`PredictionLog`](crate::ports::PredictionLog) and
/// [`FeedbackStore`](crate::ports::FeedbackStore).
pub(crate) struct DocumentsDatabase {
    /// The URL, without secrets.
    shown: String,
    database: mongodb::Database,
}

impl DocumentsDatabase {
    /// Opens the database that the URL names, and makes the indexes that are missing. `shown` is the
    /// URL without secrets.
    ///
    /// A server that does not answer is `Unavailable`; whether to wait for it is the caller's choice.
    pub(crate) async fn open(url: &str, shown: String) -> Result<Self, StoreError> {
        const SETTING: &str = "storage.documents";
        let url = ConnectionString::parse(url).map_err(|cause| StoreError::Setting {
            setting: SETTING,
            why: format!("is `{shown}`, but the driver refuses it: {}", cause.kind),
        })?;
        let Some(name) = url.default_database.clone() else {
            let must_be = "`mongodb://<host>/<database>`";
            return Err(StoreError::UnsupportedUrl { setting: SETTING, url: shown, must_be });
        };
        let action = "open the database";
        let failed = |cause| failures::failure(&shown, action, &cause);
        // With `mongodb+srv` this asks the name server.
        let mut options =
            match tokio::time::timeout(WAITS.answer, async { ClientOptions::parse(url).await })
                .await
            {
                Ok(parsed) => parsed.map_err(failed)?,
                Err(cause) => return Err(failures::late(&shown, action, cause)),
            };
        options.app_name.get_or_insert_with(|| "decision-engine".to_owned());
        options.server_selection_timeout.get_or_insert(WAITS.select);
        options.connect_timeout.get_or_insert(WAITS.connect);
        options.write_concern.get_or_insert_with(|| {
            WriteConcern::builder()
                .w(Acknowledgment::Majority)
                .journal(true)
                .w_timeout(WAITS.answer)
                .build()
        });
        let database = Client::with_options(options).map_err(failed)?.database(&name);
        let store = Self { shown, database };
        // A server that is down is told by this one, at once; an index may take its time.
        store.ask(action, || store.ping()).await?;
        migrations::bring_up_to_date(&store).await?;
        Ok(store)
    }

    fn collection(&self, name: &str) -> Collection<RawDocumentBuf> {
        self.database.collection(name)
    }

    async fn ping(&self) -> mongodb::error::Result<()> {
        self.database.run_command(doc! { "ping": 1 }).await.map(drop)
    }

    /// Does the work; and once more if the connection was dead, as all are that a restarted server
    /// left in the pool. So the work must be such that twice is the same as once.
    ///
    /// The driver tries again by itself only with replica sets, and never the rest of a result.
    async fn ask<T, F>(&self, action: &'static str, work: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = mongodb::error::Result<T>>,
    {
        let work = async {
            match work().await {
                Err(cause) if failures::is_gone(&cause) => work().await,
                done => done,
            }
        };
        match tokio::time::timeout(WAITS.answer, work).await {
            Ok(done) => done.map_err(|cause| failures::failure(&self.shown, action, &cause)),
            Err(cause) => Err(failures::late(&self.shown, action, cause)),
        }
    }
}

#[async_trait]
impl Check for DocumentsDatabase {
    async fn check(&self) -> Result<(), StoreError> {
        let action = "answer a check";
        match tokio::time::timeout(WAITS.check, self.ask(action, || self.ping())).await {
            Ok(done) => done,
            Err(cause) => Err(failures::late(&self.shown, action, cause)),
        }
    }
}

/// The record in a document. `Corrupt` if there is none.
fn read<T: DeserializeOwned>(
    what: &'static str,
    id: &str,
    document: &RawDocument,
) -> Result<T, StoreError> {
    let text = document.get_str("record").map_err(|cause| StoreError::Corrupt {
        what,
        id: id.to_owned(),
        source: cause.into(),
    })?;
    json::read(what, id, text)
}

/// Refuses what MongoDB would.
fn fitting(
    what: &'static str,
    id: &str,
    document: RawDocumentBuf,
) -> Result<RawDocumentBuf, StoreError> {
    let bytes = document.as_bytes().len();
    if bytes <= DOCUMENT_BYTES {
        return Ok(document);
    }
    let why = format!(
        "it takes {bytes} bytes with its index fields, but MongoDB keeps {DOCUMENT_BYTES} at most"
    );
    Err(StoreError::Invalid { what, id: id.to_owned(), why })
}
