//! How the router follows the store, and what it does while there is none.

use std::time::Duration;

use contracts::ApiError;
use storage::StoreError;
use storage::ports::{Heard, Listener};

use super::Service;
use crate::error::RouterError;
use crate::saved;

/// What routers announce, followed by the id of the one that does.
const CHANGED: &str = "models and routes by ";
/// Changes that come within this time are looked at once.
const BURST: Duration = Duration::from_millis(5);

impl Service {
    /// The table to begin with: the store's, or, while that does not answer, the last known one.
    pub(super) async fn first_table(&self) -> Result<(), RouterError> {
        let source = match self.refresh().await {
            Err(RouterError::Store(error @ StoreError::Unavailable { .. })) => error,
            result => return result,
        };
        let path = self.settings.saved_table.clone();
        let read = tokio::task::spawn_blocking(move || saved::read(&path)).await;
        let saved = self.settings.saved_table.display().to_string();
        let read = read.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let known = read.unwrap_or_else(|error| {
            tracing::error!(path = saved, %error, "the last known models and routes cannot be read");
            None
        });
        let Some(known) = known else { return Err(RouterError::NoTable { saved, source }) };
        tracing::warn!(
            path = saved,
            error = %source,
            "the relational store does not answer: the last known models and routes serve"
        );
        self.back.pasts.put(known.pasts.clone());
        self.table.put(known);
        Ok(())
    }

    /// Follows the store. Runs until it is dropped.
    pub(crate) async fn follow_store(&self) {
        let interval = Duration::from_secs(self.settings.poll_interval_s.max(1));
        let mut failing = false;
        let mut changes = self.deps.cache.announcements.listen();
        loop {
            // Until somebody else says that something changed, or it is time to look.
            if tokio::time::timeout(interval, self.told(&mut changes)).await.is_ok() {
                let more = async {
                    loop {
                        changes.next().await;
                    }
                };
                tokio::time::timeout(BURST, more).await.ok();
            }
            match self.refresh().await {
                Ok(()) if failing => {
                    failing = false;
                    tracing::info!("models and routes can be read again");
                }
                Ok(()) => {}
                Err(error) => {
                    if !failing {
                        let error = ApiError::from(error);
                        tracing::warn!(%error, "models and routes cannot be read: the last known ones serve on");
                    }
                    failing = true;
                }
            }
        }
    }

    /// Waits until another router announced a change, or may have.
    async fn told(&self, changes: &mut Listener) {
        loop {
            match changes.next().await {
                Heard::Missed => return,
                Heard::Topic(topic) => match topic.strip_prefix(CHANGED) {
                    Some(by) if by != self.id => return,
                    _ => {}
                },
            }
        }
    }

    /// Puts a change of the store in force, here and in every other router that can be reached.
    pub(super) async fn changed(&self) -> Result<(), RouterError> {
        // The store has it, whatever comes of reading it here or telling others.
        let (refreshed, (), ()) = tokio::join!(self.refresh(), self.tell_others(), self.announce());
        refreshed
    }

    /// Tells routers that are not found where they should be.
    pub(super) async fn announce(&self) {
        let topic = format!("{CHANGED}{}", self.id);
        if let Err(error) = self.deps.cache.announcements.announce(&topic).await {
            tracing::warn!(%error, "a change was not announced: routers that cannot be called find it by polling");
        }
    }

    /// Reads models and routes from the store, puts them in force, and keeps them in a file.
    pub(crate) async fn refresh(&self) -> Result<(), RouterError> {
        let relational = &self.deps.relational;
        {
            // One after the other: what was read earlier must not be put in force later.
            let _turn = self.refreshing.lock().await;
            self.table.refresh(&*relational.registry, &*relational.routes).await?;
        }
        self.remember().await;
        self.keep_table().await;
        Ok(())
    }

    /// Keeps the table in a file, if it is another one than that holds.
    pub(super) async fn keep_table(&self) {
        // Held to the end, so that writers come one after the other, each with the newest table.
        let mut kept = self.kept.lock().await;
        let mut saved = self.table.saved();
        saved.pasts = self.back.pasts.all();
        let Ok(bytes) = serde_json::to_vec(&saved) else { return };
        if *kept == bytes {
            return;
        }
        let (path, to_write) = (self.settings.saved_table.clone(), bytes.clone());
        let written = tokio::task::spawn_blocking(move || saved::write(&path, &to_write)).await;
        match written.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            Ok(()) => *kept = bytes,
            Err(error) => {
                let path = self.settings.saved_table.display();
                tracing::error!(%path, %error, "models and routes cannot be kept for a start without the store (`router.saved_table`)");
            }
        }
    }
}
