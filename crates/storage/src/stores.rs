//! Opens stores: the URL's scheme chooses the adapter.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use crate::StoreError;
use crate::artifacts::{Reencrypted, Shelf};
use crate::bucket::{Bucket, Keys, Location};
use crate::folder::Folder;
use crate::memory::{MAX_BYTES, Memory};
use crate::mongo::DocumentsDatabase;
use crate::observed;
use crate::ports::{
    Accounts, Announcements, Artifacts, AuditTrail, Credentials, Events, FeedbackStore,
    Idempotency, Limits, Plans, PredictionLog, Registry, ResponseCache, Routes, Shadows,
};
use crate::postgres::RelationalServer;
use crate::redis::Redis;
use crate::sealing::Sealing;
use crate::sqlite::{DocumentsFile, RelationalFile};

/// Accounts, credentials, the audit trail, registry, routes and events.
#[derive(Clone)]
pub struct Relational {
    /// User accounts.
    pub accounts: Arc<dyn Accounts>,
    /// Sessions, API keys and failures to sign in.
    pub credentials: Arc<dyn Credentials>,
    /// Who did what.
    pub audit: Arc<dyn AuditTrail>,
    /// Models and their versions.
    pub registry: Arc<dyn Registry>,
    /// Routes with their history.
    pub routes: Arc<dyn Routes>,
    /// Experiments, rollouts and layers.
    pub plans: Arc<dyn Plans>,
    /// What happened, and who is told of it.
    pub events: Arc<dyn Events>,
    pub(crate) check: Arc<dyn Check>,
}

impl Relational {
    /// Asks the store for a sign of life, for readiness. Answers within two seconds.
    ///
    /// # Errors
    /// `Unavailable` if none comes.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.check.check().await
    }
}

/// The prediction log and feedback.
#[derive(Clone)]
pub struct Documents {
    /// The log of answered predictions.
    pub predictions: Arc<dyn PredictionLog>,
    /// Ground truth.
    pub feedback: Arc<dyn FeedbackStore>,
    /// What shadow versions would have answered.
    pub shadows: Arc<dyn Shadows>,
    pub(crate) check: Arc<dyn Check>,
}

impl Documents {
    /// Asks the store for a sign of life, for readiness. Answers within two seconds.
    ///
    /// # Errors
    /// `Unavailable` if none comes.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.check.check().await
    }
}

/// What processes share for a while, and tell each other at once.
#[derive(Clone)]
pub struct Cache {
    /// That something changed.
    pub announcements: Arc<dyn Announcements>,
    /// How much was asked for.
    pub limits: Arc<dyn Limits>,
    /// What was answered to requests that are done once.
    pub idempotency: Arc<dyn Idempotency>,
    /// Answers kept for who asks the same again.
    pub responses: Arc<dyn ResponseCache>,
    pub(crate) check: Arc<dyn Check>,
}

impl Cache {
    /// The memory of this process, for itself alone.
    pub fn in_memory() -> Self {
        observed::cache(all_of_cache(Arc::new(Memory::new(MAX_BYTES))))
    }

    /// Asks the store for a sign of life, for readiness. Answers within two seconds.
    ///
    /// # Errors
    /// `Unavailable` if none comes; `Failed` if it refuses us.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.check.check().await
    }
}

/// A store that can be asked whether it is there.
#[async_trait]
pub(crate) trait Check: Send + Sync {
    async fn check(&self) -> Result<(), StoreError>;
}

/// Opens the store named by the setting `storage.relational`, and brings its tables up to date.
///
/// `sqlite://path` is a file, made with its folder if absent.
/// `postgres://user:password@host:port/database` or `postgresql://`, with the parameters of the
/// driver such as `?sslmode=verify-full`, is a server whose database is there already. Several
/// processes may open either at once.
///
/// # Errors
/// `UnsupportedUrl`, `Setting`, `Open`, `Migrate`; `Unavailable` if the file stays locked or the
/// server does not answer, which may be worth waiting for; `Failed` if the server refuses us;
/// `Corrupt` if the file is no database.
pub async fn relational(url: &str) -> Result<Relational, StoreError> {
    open_relational(url).await.map(observed::relational)
}

/// As [`relational`], but not measured.
pub(crate) async fn open_relational(url: &str) -> Result<Relational, StoreError> {
    if let Some(("postgres" | "postgresql", _)) = url.split_once("://") {
        return Ok(all_of(Arc::new(RelationalServer::open(url).await?)));
    }
    let must_be = "`sqlite://<path of a file>` or \
        `postgres://<user>:<password>@<host>:<port>/<database>`";
    let path = path_of(url, "sqlite", "storage.relational", must_be)?;
    Ok(all_of(Arc::new(RelationalFile::open(&path).await?)))
}

pub(crate) fn all_of<T>(store: Arc<T>) -> Relational
where
    T: Accounts + Credentials + AuditTrail + Registry + Routes + Plans + Check + 'static,
    T: Accounts + Credentials + AuditTrail + Registry + Routes + Events + Check + 'static,
{
    Relational {
        accounts: Arc::clone(&store) as _,
        credentials: Arc::clone(&store) as _,
        audit: Arc::clone(&store) as _,
        registry: Arc::clone(&store) as _,
        routes: Arc::clone(&store) as _,
        plans: Arc::clone(&store) as _,
        events: Arc::clone(&store) as _,
        check: store,
    }
}

/// Opens the store named by the setting `storage.documents`, and brings its tables or indexes up to
/// date.
///
/// `sqlite://path` is a file, made with its folder if absent. `mongodb://host/database`, with all that
/// MongoDB's connection strings may hold, or `mongodb+srv://host/database`, is a server or a replica
/// set; users kept in another database need `?authSource=`. Several processes may open either at once.
///
/// # Errors
/// As [`relational`]; `Unavailable` also if the server does not answer.
pub async fn documents(url: &str) -> Result<Documents, StoreError> {
    open_documents(url).await.map(observed::documents)
}

/// As [`documents`], but not measured.
pub(crate) async fn open_documents(url: &str) -> Result<Documents, StoreError> {
    if let Some(("mongodb" | "mongodb+srv", _)) = url.split_once("://") {
        // The options may hold secrets too.
        let shown = without_secrets(url.split_once('?').map_or(url, |(place, _)| place));
        return Ok(all_of_documents(Arc::new(DocumentsDatabase::open(url, shown).await?)));
    }
    let must_be = "`sqlite://<path of a file>` or `mongodb://<host>/<database>`";
    let path = path_of(url, "sqlite", "storage.documents", must_be)?;
    Ok(all_of_documents(Arc::new(DocumentsFile::open(&path).await?)))
}

pub(crate) fn all_of_documents<T>(store: Arc<T>) -> Documents
where
    T: PredictionLog + FeedbackStore + Shadows + Check + 'static,
{
    Documents {
        predictions: Arc::clone(&store) as _,
        feedback: Arc::clone(&store) as _,
        shadows: Arc::clone(&store) as _,
        check: store,
    }
}

/// Opens the store named by the setting `storage.artifacts`.
///
/// `file://path` is a folder, made if absent. `s3://bucket/prefix?endpoint=...&region=...` is a
/// bucket of an S3-compatible server, which need not be there yet; without an endpoint it is the
/// cloud's. Several processes may use either at once.
///
/// # Errors
/// `UnsupportedUrl`, `Setting`, `Open`.
pub async fn artifacts(url: &str, keys: Keys<'_>) -> Result<Arc<dyn Artifacts>, StoreError> {
    let sealing = Sealing::of(keys.encryption, keys.old_encryption)?;
    Ok(observed::artifacts(match objects(url, keys).await? {
        Place::Bucket(bucket) => Arc::new(Shelf::new(bucket, sealing)),
        Place::Folder(folder) => Arc::new(Shelf::new(folder, sealing)),
    }))
}

/// Writes every artefact anew that lies in another form than the settings have now: encrypted with
/// another key, or not at all. Engines may work with them meanwhile, if they know both keys.
///
/// # Errors
/// As [`artifacts`] and its ports; what was written by then stays.
pub async fn reencrypt(url: &str, keys: Keys<'_>) -> Result<Reencrypted, StoreError> {
    let sealing = Sealing::of(keys.encryption, keys.old_encryption)?;
    match objects(url, keys).await? {
        Place::Bucket(bucket) => Shelf::new(bucket, sealing).reencrypt().await,
        Place::Folder(folder) => Shelf::new(folder, sealing).reencrypt().await,
    }
}

enum Place {
    Bucket(Bucket),
    Folder(Folder),
}

async fn objects(url: &str, keys: Keys<'_>) -> Result<Place, StoreError> {
    const SETTING: &str = "storage.artifacts";
    const MUST_BE: &str = "`file://<path of a folder>` or `s3://<bucket>/<prefix>`, with \
        `?endpoint=http://<host>:<port>` for a server of your own and `&region=<region>` for \
        another one than `us-east-1`";
    let unsupported = || StoreError::UnsupportedUrl {
        setting: SETTING,
        url: without_secrets(url),
        must_be: MUST_BE,
    };
    if url.starts_with("s3://") {
        let location = Location::parse(url).ok_or_else(unsupported)?;
        keys.are_a_pair()?;
        return Ok(Place::Bucket(Bucket::open(location, keys, without_secrets(url))?));
    }
    let path = path_of(url, "file", SETTING, MUST_BE)?;
    keys.are_none(url)?;
    Ok(Place::Folder(Folder::open(&path).await?))
}

/// Opens the store named by the setting `storage.cache`.
///
/// `memory://` is the memory of this process; `?max_bytes=` bounds the answers that it keeps (64 MiB). `redis://[:password@]host:port/db`, or `rediss://`
/// with TLS, is a server that processes share; it need not be there yet: the log says so, and
/// [`Cache::check`] as long as it is so.
///
/// # Errors
/// `UnsupportedUrl`.
pub async fn cache(url: &str) -> Result<Cache, StoreError> {
    let shown = without_secrets(url);
    if let Some(max_bytes) = memory_of(url) {
        return Ok(observed::cache(all_of_cache(Arc::new(Memory::new(max_bytes)))));
    }
    let is_redis = url.starts_with("redis://") || url.starts_with("rediss://");
    let redis = is_redis.then(|| Redis::open(url, shown.clone()).ok()).flatten();
    let Some(redis) = redis else {
        return Err(StoreError::UnsupportedUrl {
            setting: "storage.cache",
            url: shown,
            must_be: "`memory://`, or `redis://[:<password>@]<host>:<port>/<database>`, or the \
                      same with `rediss://`, or `memory://?max_bytes=<bytes>`",
        });
    };
    let cache = all_of_cache(Arc::new(redis));
    if let Err(error) = cache.check().await {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::warn!(store = %shown, error = cause, "going on without: {error}");
    }
    Ok(observed::cache(cache))
}

fn all_of_cache<T>(store: Arc<T>) -> Cache
where
    T: Announcements + Limits + Idempotency + ResponseCache + Check + 'static,
{
    Cache {
        announcements: Arc::clone(&store) as _,
        limits: Arc::clone(&store) as _,
        idempotency: Arc::clone(&store) as _,
        responses: Arc::clone(&store) as _,
        check: store,
    }
}

/// The bytes that a `memory://` URL gives to kept answers; `None` for another URL.
fn memory_of(url: &str) -> Option<u64> {
    match url.strip_prefix("memory://")? {
        "" => Some(MAX_BYTES),
        options => {
            let bytes = options.strip_prefix("?max_bytes=")?.parse().ok()?;
            (bytes > 0).then_some(bytes)
        }
    }
}

/// The path in `<scheme>://<path>`, made absolute.
fn path_of(
    url: &str,
    scheme: &str,
    setting: &'static str,
    must_be: &'static str,
) -> Result<PathBuf, StoreError> {
    let path = url.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
    // A `?` is far more likely a driver's parameter, which none of these takes, than a file name.
    let path = path.filter(|path| !path.is_empty() && !path.contains(['?', '\0']));
    let Some(path) = path else {
        return Err(StoreError::UnsupportedUrl { setting, url: without_secrets(url), must_be });
    };
    // Absolute, so that no name is special to the driver (`:memory:`, `file:`).
    std::path::absolute(path)
        .map_err(|cause| StoreError::Open { store: url.to_owned(), source: cause.into() })
}

/// The URL with its password, if it has one, struck out.
fn without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    match rest.rsplit_once('@') {
        Some((_, place)) => format!("{scheme}://***@{place}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_becomes_absolute() {
        let path = path_of("sqlite://./data/a b.db", "sqlite", "s", "m").unwrap();
        assert!(path.is_absolute() && path.ends_with("data/a b.db"), "{path:?}");
        let path = path_of("sqlite://:memory:", "sqlite", "s", "m").unwrap();
        assert!(path.is_absolute(), "{path:?}");
    }

    #[tokio::test]
    async fn a_wrong_scheme_names_the_setting_its_value_and_what_it_may_be() {
        for url in ["mysql://h/db", "sqlite:x.db", "sqlite://", "x.db", "", "sqlite://a?mode=ro"] {
            let text = relational(url).await.err().unwrap().to_string();
            let start = format!("setting `storage.relational` is `{url}`, but it must be `sqlite:");
            assert!(text.starts_with(&start), "{text}");
        }
        for url in ["ftp://h/folder", "s3://a:secret@bucket", "s3://bucket?user=me", "s3://"] {
            let text = artifacts(url, Keys::default()).await.err().unwrap().to_string();
            assert!(text.contains("must be `file://<path of a folder>` or `s3://<b"), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
        for url in ["", "memory://x", "memory:", "redis:h", "redis://", "redis://:secret@h:x/0"] {
            let text = cache(url).await.err().unwrap().to_string();
            assert!(text.starts_with("setting `storage.cache` is `"), "{text}");
            assert!(text.contains("must be `memory://`, or `redis://["), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
        let error = documents("mysql://u:p@h/db").await.err().unwrap();
        assert!(error.to_string().contains("`mysql://***@h/db`"), "{error}");
    }

    #[tokio::test]
    async fn a_mongodb_url_must_name_a_database_and_its_secrets_are_not_told() {
        for url in
            ["mongodb://u:secret@h", "mongodb://u:secret@h/", "mongodb+srv://u:secret@h/?w=1"]
        {
            let error = documents(url).await.err().unwrap();
            let text = error.to_string();
            assert!(matches!(error, StoreError::UnsupportedUrl { .. }), "{text}");
            assert!(text.ends_with("must be `mongodb://<host>/<database>`"), "{text}");
            assert!(text.contains("://***@h") && !text.contains("secret"), "{text}");
        }
        for url in [
            "mongodb://u:secret@h/db?w=secret&no=secret",
            "mongodb://u:secret@@h/db",
            "mongodb://u:sec/ret@h/db",
            "mongodb://u:secret@/db",
            "mongodb://u:secret@h:x/db",
            "mongodb://u:secret@h/d b",
        ] {
            let text = documents(url).await.err().unwrap().to_string();
            let start = "setting `storage.documents` is `mongodb://***@";
            assert!(text.starts_with(start) && !text.contains("secret"), "{text}");
        }
    }

    #[tokio::test]
    async fn keys_are_a_pair_and_for_a_bucket_only() {
        let keys = Keys { access: "me", secret: "hush", ..Keys::default() };
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}", folder.path().display());
        let text = artifacts(&url, keys).await.err().unwrap().to_string();
        let start = "setting `storage.artifacts_access_key` does nothing while `storage.artifacts`";
        assert!(text.starts_with(start), "{text}");

        let url = "s3://bucket?endpoint=http://127.0.0.1:1";
        for keys in [Keys { access: "", ..keys }, Keys { secret: "", ..keys }] {
            let text = artifacts(url, keys).await.err().unwrap().to_string();
            assert!(text.contains("_key` is empty, but `storage.artifacts_"), "{text}");
            assert!(!text.contains("hush"), "{text}");
        }
        assert!(artifacts(url, keys).await.is_ok());
        assert!(artifacts(url, Keys::default()).await.is_ok());
    }
}
