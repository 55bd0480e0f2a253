//! Artefacts in a bucket of an S3-compatible server: an object per digest, `ab/ab...`, never
//! changed once it is there.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, Error, MultipartUpload as _, ObjectStoreExt as _, RetryConfig,
};

use crate::StoreError;
use crate::digest::{digest, place};
use crate::ports::Artifacts;

mod location;

pub use location::Keys;
pub(crate) use location::Location;

/// A bucket, or what lies under a prefix of it.
pub(crate) struct Bucket {
    store: AmazonS3,
    prefix: Path,
    url: String,
}

/// For a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// Without a byte of an answer. An upload's answer comes only after all of [`PART`] is sent.
const SILENCE: Duration = Duration::from_secs(10);
/// Tries after the first, and the time after which there is no other one.
const RETRIES: (usize, Duration) = (3, Duration::from_secs(10));
/// Larger artefacts are sent in parts of so many bytes.
const PART: usize = 8 * 1024 * 1024;

impl Bucket {
    /// The server need not be there yet.
    pub(crate) fn open(
        location: Location<'_>,
        keys: Keys<'_>,
        url: String,
    ) -> Result<Self, StoreError> {
        // All is given here: the process's environment has no say.
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(location.bucket)
            .with_region(location.region)
            .with_client_options(
                ClientOptions::new()
                    .with_connect_timeout(CONNECT)
                    .with_read_timeout(SILENCE)
                    .with_timeout_disabled()
                    .with_allow_http(location.endpoint.is_some_and(|e| e.starts_with("http:"))),
            )
            .with_retry(RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: Duration::from_millis(100),
                    max_backoff: Duration::from_secs(1),
                    base: 2.0,
                },
                max_retries: RETRIES.0,
                retry_timeout: RETRIES.1,
            });
        if let Some(endpoint) = location.endpoint {
            // Without a key, a server of one's own is spoken to as anybody; the cloud's is spoken
            // to in the role of the machine.
            builder = builder.with_endpoint(endpoint).with_skip_signature(keys.access.is_empty());
        }
        if !keys.access.is_empty() {
            builder = builder.with_access_key_id(keys.access).with_secret_access_key(keys.secret);
        }
        match builder.build() {
            Ok(store) => Ok(Self { store, prefix: location.prefix, url }),
            Err(cause) => Err(StoreError::Open { store: url, source: cause.into() }),
        }
    }

    fn path(&self, sha256: &str) -> Option<Path> {
        let (folder, _) = place(sha256)?;
        Some(self.prefix.clone().join(folder).join(sha256))
    }

    async fn read(&self, path: &Path, action: &'static str) -> Result<Option<Bytes>, StoreError> {
        let read = async { self.store.get(path).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::NotFound { source, .. }) if !is_no_bucket(&source.to_string()) => Ok(None),
            Err(cause) => Err(self.failure(action, cause)),
        }
    }

    /// Writes the whole object or none of it. Of two at once, the last one stays: both wrote the
    /// same.
    async fn write(&self, path: &Path, bytes: Bytes) -> object_store::Result<()> {
        if bytes.len() <= PART {
            return self.store.put(path, bytes.into()).await.map(drop);
        }
        let mut upload = self.store.put_multipart(path).await?;
        let sent = async {
            for from in (0..bytes.len()).step_by(PART) {
                let part = bytes.slice(from..bytes.len().min(from + PART));
                upload.put_part(part.into()).await?;
            }
            upload.complete().await.map(drop)
        };
        let sent = sent.await;
        if sent.is_err() {
            // What remains is under no name; the first failure is the one to tell.
            upload.abort().await.ok();
        }
        sent
    }

    /// Sorts a driver's error by what a caller would do about it.
    fn failure(&self, action: &'static str, cause: Error) -> StoreError {
        let store = self.url.clone();
        match cause {
            // No connection, no answer in time, or one that says that the server is not well.
            Error::Generic { .. } | Error::JoinError { .. } => {
                StoreError::Unavailable { store, action, source: cause.into() }
            }
            _ => StoreError::Failed { store, action, source: cause.into() },
        }
    }

    /// Hashes off the asynchronous threads.
    async fn digest(&self, action: &'static str, bytes: &Bytes) -> Result<String, StoreError> {
        let bytes = bytes.clone();
        let hashed = tokio::task::spawn_blocking(move || digest(&bytes)).await;
        hashed.map_err(|cause| StoreError::Unavailable {
            store: self.url.clone(),
            action,
            source: cause.into(),
        })
    }
}

/// Whether an answer 404 means the bucket, not the object.
fn is_no_bucket(answer: &str) -> bool {
    answer.contains("NoSuchBucket")
}

#[async_trait]
impl Artifacts for Bucket {
    async fn put(&self, bytes: Bytes) -> Result<String, StoreError> {
        let action = "keep an artefact";
        let sha256 = self.digest(action, &bytes).await?;
        let Some(path) = self.path(&sha256) else {
            let cause = format!("digest `{sha256}` has no place");
            return Err(StoreError::Failed {
                store: self.url.clone(),
                action,
                source: cause.into(),
            });
        };
        // A damaged object is put right: the same upload mends it.
        if self.read(&path, action).await?.is_none_or(|found| found != bytes) {
            self.write(&path, bytes).await.map_err(|cause| self.failure(action, cause))?;
        }
        Ok(sha256)
    }

    async fn get(&self, sha256: &str) -> Result<Bytes, StoreError> {
        let action = "read an artefact";
        let not_found = || StoreError::NotFound { what: "artefact", id: sha256.to_owned() };
        let path = self.path(sha256).ok_or_else(not_found)?;
        let bytes = self.read(&path, action).await?.ok_or_else(not_found)?;
        let found = self.digest(action, &bytes).await?;
        if found != sha256 {
            return Err(StoreError::Tampered { sha256: sha256.to_owned(), found });
        }
        Ok(bytes)
    }
}
