//! Whether stores answer, asked again and again, for the metrics.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use domain::metrics as names;
use opentelemetry::metrics::Gauge;
use opentelemetry::{KeyValue, global};

use crate::StoreError;
use crate::ports::Artifacts;
use crate::stores::{Cache, Check, Documents, Relational};

/// How often stores are asked.
const INTERVAL: Duration = Duration::from_secs(5);
/// A store that takes longer to say that it is there is taken as down.
const LIMIT: Duration = Duration::from_secs(3);

static UP: LazyLock<Gauge<u64>> =
    LazyLock::new(|| global::meter("decision-engine").u64_gauge(names::STORE_UP).build());

/// The stores of a process. Whoever composes it keeps [`Vitals::watch`] going.
#[derive(Default)]
pub struct Vitals(Vec<Vital>);

struct Vital {
    name: &'static str,
    check: Arc<dyn Check>,
    down: AtomicBool,
}

impl Vitals {
    /// Asks this one too.
    #[must_use]
    pub fn relational(self, store: &Relational) -> Self {
        self.with("relational", Arc::clone(&store.check))
    }

    /// Asks this one too.
    #[must_use]
    pub fn documents(self, store: &Documents) -> Self {
        self.with("documents", Arc::clone(&store.check))
    }

    /// Asks this one too.
    #[must_use]
    pub fn cache(self, store: &Cache) -> Self {
        self.with("cache", Arc::clone(&store.check))
    }

    /// Asks this one too.
    #[must_use]
    pub fn artifacts(self, store: &Arc<dyn Artifacts>) -> Self {
        self.with("artifacts", Arc::new(Files(Arc::clone(store))))
    }

    fn with(mut self, name: &'static str, check: Arc<dyn Check>) -> Self {
        self.0.push(Vital { name, check, down: AtomicBool::new(false) });
        self
    }

    /// Whether all answered when they were last asked.
    pub fn all_answer(&self) -> bool {
        !self.0.iter().any(|vital| vital.down.load(Ordering::Relaxed))
    }

    /// Asks all of them again and again, until it is dropped.
    pub async fn watch(self: Arc<Self>) {
        loop {
            let asked = self.0.iter().map(Vital::ask);
            futures_util::future::join_all(asked).await;
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

impl Vital {
    async fn ask(&self) {
        let answered = tokio::time::timeout(LIMIT, self.check.check()).await;
        let up = matches!(answered, Ok(Ok(())));
        self.down.store(!up, Ordering::Relaxed);
        UP.record(u64::from(up), &[KeyValue::new("store", self.name)]);
    }
}

/// Artefacts have no check of their own: that there is none of a digest that nothing has is an
/// answer.
struct Files(Arc<dyn Artifacts>);

#[async_trait]
impl Check for Files {
    async fn check(&self) -> Result<(), StoreError> {
        match self.0.get(&"0".repeat(64)).await {
            Err(StoreError::NotFound { .. }) => Ok(()),
            result => result.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores;

    #[tokio::test]
    async fn a_store_that_is_gone_shows() {
        let folder = tempfile::tempdir().unwrap();
        let url =
            |scheme: &str, name: &str| format!("{scheme}://{}", folder.path().join(name).display());
        let relational = stores::relational(&url("sqlite", "r.db")).await.unwrap();
        let files = stores::artifacts(&url("file", "a"), crate::Keys::default()).await.unwrap();
        let vitals = Vitals::default().relational(&relational).artifacts(&files);
        assert!(vitals.all_answer());
        for vital in &vitals.0 {
            vital.ask().await;
        }
        assert!(vitals.all_answer());
        struct Gone;
        #[async_trait]
        impl Check for Gone {
            async fn check(&self) -> Result<(), StoreError> {
                Err(StoreError::NotFound { what: "store", id: "x".to_owned() })
            }
        }
        let vitals = vitals.with("cache", Arc::new(Gone));
        for vital in &vitals.0 {
            vital.ask().await;
        }
        assert!(!vitals.all_answer());
    }
}
