//! Artefacts in a bucket of an S3-compatible server: an object per digest, `ab/ab...`, never
//! changed once it is there.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, Error, MultipartUpload as _, ObjectStore as _,
    ObjectStoreExt as _, RetryConfig,
};

use crate::StoreError;
use crate::artifacts::Objects;
use crate::digest::place;

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

    /// Writes the whole object or none of it. Of two at once, the last one stays: both wrote the
    /// same.
    async fn send(&self, path: &Path, bytes: Bytes) -> object_store::Result<()> {
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
}

/// Whether an answer 404 means the bucket, not the object.
fn is_no_bucket(answer: &str) -> bool {
    answer.contains("NoSuchBucket")
}

#[async_trait]
impl Objects for Bucket {
    async fn read(&self, sha256: &str) -> Result<Option<Bytes>, StoreError> {
        let Some(path) = self.path(sha256) else { return Ok(None) };
        let read = async { self.store.get(&path).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::NotFound { source, .. }) if !is_no_bucket(&source.to_string()) => Ok(None),
            Err(cause) => Err(self.failure("read an artefact", cause)),
        }
    }

    async fn write(&self, sha256: &str, bytes: Bytes) -> Result<(), StoreError> {
        let action = "keep an artefact";
        let Some(path) = self.path(sha256) else {
            let source = format!("digest `{sha256}` has no place").into();
            return Err(StoreError::Failed { store: self.url.clone(), action, source });
        };
        self.send(&path, bytes).await.map_err(|cause| self.failure(action, cause))
    }

    async fn list(&self) -> Result<Vec<String>, StoreError> {
        let listed = self.store.list(Some(&self.prefix)).map_ok(|found| {
            found.location.filename().filter(|name| place(name).is_some()).map(str::to_owned)
        });
        let names: Vec<Option<String>> = listed
            .try_collect()
            .await
            .map_err(|cause| self.failure("list the artefacts", cause))?;
        Ok(names.into_iter().flatten().collect())
    }

    fn url(&self) -> String {
        self.url.clone()
    }
}
