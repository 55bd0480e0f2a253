//! Artefacts over any place that keeps bytes by name: digests, encryption, the way from one key to
//! the next.

use async_trait::async_trait;
use bytes::Bytes;

use crate::StoreError;
use crate::digest::digest;
use crate::ports::Artifacts;
use crate::sealing::{Opened, Sealing, no_key};

/// A place that keeps bytes under digests. What they are is not its business.
#[async_trait]
pub(crate) trait Objects: Send + Sync {
    /// What lies there; `None` if nothing does, or the name is no digest.
    async fn read(&self, sha256: &str) -> Result<Option<Bytes>, StoreError>;
    /// Writes the whole or nothing of it, in place of what was there.
    async fn write(&self, sha256: &str, bytes: Bytes) -> Result<(), StoreError>;
    /// All digests that something lies under.
    async fn list(&self) -> Result<Vec<String>, StoreError>;
    /// Its URL, without secrets.
    fn url(&self) -> String;
}

/// The port, over such a place.
pub(crate) struct Shelf<O> {
    objects: O,
    sealing: std::sync::Arc<Sealing>,
}

/// How many artefacts were written anew, and how many were as they should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reencrypted {
    /// Written anew.
    pub written: usize,
    /// As they should be.
    pub kept: usize,
}

impl<O: Objects> Shelf<O> {
    pub(crate) fn new(objects: O, sealing: Sealing) -> Self {
        Self { objects, sealing: std::sync::Arc::new(sealing) }
    }

    /// Hashes and ciphers off the asynchronous threads.
    async fn blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Sealing) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let sealing = std::sync::Arc::clone(&self.sealing);
        let done = tokio::task::spawn_blocking(move || work(&sealing)).await;
        done.map_err(|cause| self.failed(action, cause.to_string()))
    }

    fn failed(&self, action: &'static str, cause: String) -> StoreError {
        StoreError::Failed { store: self.objects.url(), action, source: cause.into() }
    }

    async fn write(&self, sha256: &str, bytes: Bytes) -> Result<(), StoreError> {
        let action = "encrypt an artefact";
        let name = sha256.to_owned();
        let stored = if self.sealing.writes() {
            let sealed = self.blocking(action, move |sealing| sealing.seal(&name, &bytes)).await?;
            sealed.map_err(|cause| self.failed(action, cause))?.into()
        } else {
            bytes
        };
        self.objects.write(sha256, stored).await
    }

    /// The plain bytes of what was stored, and whether it lies there as it would be written now.
    async fn open(&self, sha256: &str, stored: Bytes) -> Result<(Bytes, bool), StoreError> {
        let name = sha256.to_owned();
        let opened = self.blocking("read an artefact", move |sealing| {
            let is_plain = |bytes: Bytes| {
                let found = digest(&bytes);
                if found == name {
                    return Ok((bytes, !sealing.writes()));
                }
                Err(StoreError::Tampered { sha256: name.clone(), found })
            };
            match sealing.open(&name, &stored) {
                Opened::Plain => is_plain(stored),
                Opened::Sealed { bytes, with_current_key } => {
                    let (bytes, _) = is_plain(bytes.into())?;
                    Ok((bytes, with_current_key))
                }
                // Or a plain file that happens to begin as an encrypted one does.
                Opened::Damaged => is_plain(stored),
                Opened::NoKey(id) => is_plain(stored).map_err(|_tampered| no_key(&name, &id)),
            }
        });
        opened.await?
    }

    /// Writes anew what lies there in another form than the settings have now.
    pub(crate) async fn reencrypt(&self) -> Result<Reencrypted, StoreError> {
        let mut done = Reencrypted::default();
        for sha256 in self.objects.list().await? {
            let Some(stored) = self.objects.read(&sha256).await? else { continue };
            let (bytes, is_current) = self.open(&sha256, stored).await?;
            if is_current {
                done.kept += 1;
            } else {
                self.write(&sha256, bytes).await?;
                done.written += 1;
            }
        }
        Ok(done)
    }
}

#[async_trait]
impl<O: Objects> Artifacts for Shelf<O> {
    async fn put(&self, bytes: Bytes) -> Result<String, StoreError> {
        let hashed = bytes.clone();
        let sha256 = self.blocking("keep an artefact", move |_| digest(&hashed)).await?;
        // A damaged one is put right: the same upload mends it.
        let known = match self.objects.read(&sha256).await? {
            Some(stored) => self.open(&sha256, stored).await.is_ok(),
            None => false,
        };
        if !known {
            self.write(&sha256, bytes).await?;
        }
        Ok(sha256)
    }

    async fn get(&self, sha256: &str) -> Result<Bytes, StoreError> {
        let not_found = || StoreError::NotFound { what: "artefact", id: sha256.to_owned() };
        let stored = self.objects.read(sha256).await?.ok_or_else(not_found)?;
        Ok(self.open(sha256, stored).await?.0)
    }
}
