//! What is loaded: load, verify, warm, swap, drain, free.
//!
//! A prediction reads a map behind an atomic pointer and never waits for a load. Loads run one at a
//! time: two at once would measure each other, and count the same memory twice.

mod warm;

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use contracts::inference::{Loaded, LoadedList, Target};
use domain::manifest::Format;
use domain::{Manifest, Version};
use models::preprocess::text::Tokenizer;
use models::{Package, library, onnx};
use runtime::telemetry::metrics::ComputeMetrics;
use storage::ports::Artifacts;
use tokio::sync::{Mutex, Notify};

use crate::InferenceError;
use crate::executor::Runnable;

/// A version that is loaded, with all that a prediction needs.
pub(crate) struct Held {
    /// Which.
    pub(crate) target: Target,
    /// What is known of it.
    pub(crate) manifest: Manifest,
    /// Class names as keys of an answer: a name that stands twice goes with its number.
    pub(crate) keys: Vec<String>,
    /// Its tokenizer, if it has one.
    pub(crate) tokenizer: Option<Tokenizer>,
    /// The model.
    pub(crate) model: Arc<Runnable>,
    files: Vec<domain::FileRef>,
    memory_bytes: u64,
    requests: AtomicU64,
    /// Milliseconds from the residency's start to the last use.
    last_used: AtomicU64,
    in_use: AtomicUsize,
    unused: Notify,
}

/// A version in use: while one is held, the version counts as busy.
pub(crate) struct InUse(Arc<Held>);

impl Deref for InUse {
    type Target = Held;

    fn deref(&self) -> &Held {
        &self.0
    }
}

impl Clone for InUse {
    fn clone(&self) -> Self {
        self.0.in_use.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(&self.0))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        if self.0.in_use.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.unused.notify_waiters();
        }
    }
}

impl Held {
    /// Waits until no request uses it.
    async fn drained(&self) {
        loop {
            let mut unused = std::pin::pin!(self.unused.notified());
            unused.as_mut().enable();
            if self.in_use.load(Ordering::Acquire) == 0 {
                return;
            }
            unused.await;
        }
    }

    fn facts(&self) -> Loaded {
        Loaded {
            target: self.target.clone(),
            memory_bytes: self.memory_bytes,
            row_us: self.model.row_us,
            requests: self.requests.load(Ordering::Relaxed),
        }
    }
}

type Map = HashMap<Target, Arc<Held>>;

/// The versions of this replica.
pub(crate) struct Residency {
    map: ArcSwap<Map>,
    /// Held by whoever changes the map.
    changing: Mutex<()>,
    artifacts: Arc<dyn Artifacts>,
    started: Instant,
    limits: Limits,
}

/// Limits of a residency.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Memory for all versions, bytes.
    pub(crate) memory_bytes: u64,
    /// Sessions per version.
    pub(crate) sessions: usize,
    /// The longest one run may take.
    pub(crate) run: Duration,
    /// Unused so long, a version is unloaded. Zero: never.
    pub(crate) idle: Duration,
    /// The library's path, if it is set.
    pub(crate) library: Option<PathBuf>,
    /// Where the library may be otherwise.
    pub(crate) candidates: Vec<PathBuf>,
}

impl Residency {
    pub(crate) fn new(artifacts: Arc<dyn Artifacts>, limits: Limits) -> Self {
        let (map, changing, started) = (ArcSwap::default(), Mutex::default(), Instant::now());
        Self { map, changing, artifacts, started, limits }
    }

    /// The version, counted as used now.
    pub(crate) fn get(&self, target: &Target) -> Result<InUse, InferenceError> {
        let map = self.map.load();
        let Some(held) = map.get(target) else {
            return Err(InferenceError::NotLoaded(target.clone()));
        };
        held.in_use.fetch_add(1, Ordering::AcqRel);
        held.requests.fetch_add(1, Ordering::Relaxed);
        held.last_used.store(self.millis(Instant::now()), Ordering::Relaxed);
        Ok(InUse(Arc::clone(held)))
    }

    /// Loads, verifies and warms a version, then frees it. Nothing makes room for it: what serves
    /// comes first.
    pub(crate) async fn check(&self, version: Version) -> Result<Loaded, InferenceError> {
        let _changing = self.changing.lock().await;
        self.fits_at_all(self.estimate(&version))?;
        let target = Target { model: version.model.clone(), version: version.version };
        let files = self.fetch(&version).await?;
        Ok(self.prepare(target, version, files).await?.facts())
    }

    /// Loads, verifies and warms a version, then puts it in the place of what is there. Loaded
    /// already with the same files, it only counts as used.
    pub(crate) async fn load(&self, version: Version) -> Result<Loaded, InferenceError> {
        let _changing = self.changing.lock().await;
        let target = Target { model: version.model.clone(), version: version.version };
        let same =
            |held: &&Arc<Held>| held.files == version.files && held.manifest == version.manifest;
        if let Some(held) = self.map.load().get(&target).filter(same) {
            held.last_used.store(self.millis(Instant::now()), Ordering::Relaxed);
            return Ok(held.facts());
        }
        self.make_room(&target, self.estimate(&version))?;
        let files = self.fetch(&version).await?;
        let held = self.prepare(target.clone(), version, files).await?;
        self.make_room(&target, held.memory_bytes)?;
        let facts = held.facts();
        let mut map = Map::clone(&self.map.load());
        map.insert(target, Arc::new(held));
        // The old one, if there was one, is freed by the last request that still uses it.
        self.map.store(Arc::new(map));
        Ok(facts)
    }

    /// Takes a version out of service and waits until no request uses it any more.
    pub(crate) async fn unload(&self, target: &Target) {
        let changing = self.changing.lock().await;
        let gone = self.remove(target);
        drop(changing);
        if let Some(gone) = gone {
            gone.drained().await;
        }
    }

    /// Unloads what was not used for long, as of `now`.
    pub(crate) async fn unload_idle(&self, now: Instant) -> Vec<Target> {
        if self.limits.idle.is_zero() {
            return Vec::new();
        }
        let _changing = self.changing.lock().await;
        let limit = u64::try_from(self.limits.idle.as_millis()).unwrap_or(u64::MAX);
        let now = self.millis(now);
        let idle = |held: &Held| {
            let unused_ms = now.saturating_sub(held.last_used.load(Ordering::Relaxed));
            held.in_use.load(Ordering::Acquire) == 0 && unused_ms >= limit
        };
        let map = self.map.load();
        let gone: Vec<_> =
            map.values().filter(|held| idle(held)).map(|held| held.target.clone()).collect();
        gone.iter().for_each(|target| drop(self.remove(target)));
        gone
    }

    /// What is loaded, by model and version.
    pub(crate) fn list(&self) -> LoadedList {
        let mut versions: Vec<_> = self.map.load().values().map(|held| held.facts()).collect();
        versions.sort_by(|one, two| {
            let key = |loaded: &Loaded| (loaded.target.model.clone(), loaded.target.version);
            key(one).cmp(&key(two))
        });
        LoadedList {
            memory_bytes: versions.iter().map(|loaded| loaded.memory_bytes).sum(),
            memory_limit_bytes: self.limits.memory_bytes,
            versions,
        }
    }

    fn millis(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.started);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn remove(&self, target: &Target) -> Option<Arc<Held>> {
        let mut map = Map::clone(&self.map.load());
        let gone = map.remove(target);
        if gone.is_some() {
            self.map.store(Arc::new(map));
        }
        gone
    }

    fn estimate(&self, version: &Version) -> u64 {
        let file = models::package::model_file(version.manifest.format);
        let bytes =
            version.files.iter().find(|ours| ours.name == file).map_or(0, |ours| ours.bytes);
        match version.manifest.format {
            Format::Onnx => onnx::memory_estimate(bytes, self.limits.sessions),
            Format::Linfa => bytes,
        }
    }

    /// Unloads the versions not used for longest until `needed` bytes fit. Busy ones stay, and so
    /// does the one that is about to be replaced: it serves until then.
    fn make_room(&self, coming: &Target, needed: u64) -> Result<(), InferenceError> {
        self.fits_at_all(needed)?;
        let limit = self.limits.memory_bytes;
        loop {
            let map = self.map.load_full();
            let used: u64 = map.values().map(|held| held.memory_bytes).sum();
            if used.saturating_add(needed) <= limit {
                return Ok(());
            }
            let oldest = map
                .values()
                .filter(|held| held.target != *coming)
                .filter(|held| held.in_use.load(Ordering::Acquire) == 0)
                .min_by_key(|held| held.last_used.load(Ordering::Relaxed));
            let Some(oldest) = oldest else {
                let (needed_mb, limit_mb) = (to_mb(needed), to_mb(limit));
                return Err(InferenceError::NoRoom { needed_mb, limit_mb });
            };
            tracing::info!(
                model.id = %oldest.target.model,
                model.version = %oldest.target.version,
                "unloaded version `{}` of `{}` to make room",
                oldest.target.version,
                oldest.target.model,
            );
            self.remove(&oldest.target);
        }
    }

    fn fits_at_all(&self, needed: u64) -> Result<(), InferenceError> {
        let limit = self.limits.memory_bytes;
        if needed <= limit {
            return Ok(());
        }
        Err(InferenceError::TooBig { needed_mb: to_mb(needed), limit_mb: to_mb(limit) })
    }

    /// The files, each verified by the store against its digest.
    async fn fetch(&self, version: &Version) -> Result<BTreeMap<String, Bytes>, InferenceError> {
        let mut files = BTreeMap::new();
        for file in &version.files {
            let bytes = self.artifacts.get(&file.sha256).await?;
            let (name, found) = (file.name.clone(), bytes.len() as u64);
            if found != file.bytes {
                return Err(InferenceError::Size { name, found, told: file.bytes });
            }
            files.insert(name, bytes);
        }
        Ok(files)
    }

    async fn prepare(
        &self,
        target: Target,
        version: Version,
        files: BTreeMap<String, Bytes>,
    ) -> Result<Held, InferenceError> {
        let limits = self.limits.clone();
        let last_used = AtomicU64::new(self.millis(Instant::now()));
        let building = tokio::task::spawn_blocking(move || {
            let package = Package { manifest: version.manifest, files };
            if package.manifest.format == Format::Onnx
                && let Some(path) = library::start(limits.library.as_deref(), &limits.candidates)?
            {
                tracing::info!(path = %path.display(), "started ONNX Runtime {}", library::VERSION);
            }
            let tokenizer = package.tokenizer()?;
            let predictor = package.predictor(limits.sessions, limits.run)?;
            let (manifest, memory_bytes) = (package.manifest, predictor.memory_bytes());
            let row_us = warm::warm(&manifest, tokenizer.as_ref(), predictor.as_ref())?;
            let first = |input: &domain::manifest::TensorSpec| input.shape.first().copied();
            let splittable =
                manifest.inputs.iter().all(|input| matches!(first(input), Some(-1 | 1)));
            let (batchable, requests) = (manifest.batchable, AtomicU64::default());
            let counted = ComputeMetrics::new(&target);
            Ok(Held {
                target,
                keys: unique(&manifest.labels),
                manifest,
                tokenizer,
                model: Arc::new(Runnable { predictor, batchable, splittable, row_us, counted }),
                files: version.files,
                memory_bytes,
                requests,
                last_used,
                in_use: AtomicUsize::new(0),
                unused: Notify::new(),
            })
        });
        building.await.map_err(InferenceError::BrokenOff)?
    }
}

fn to_mb(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// Names as keys: ImageNet has two cranes.
fn unique(labels: &[String]) -> Vec<String> {
    let mut count: HashMap<&str, usize> = HashMap::new();
    labels.iter().for_each(|label| *count.entry(label).or_default() += 1);
    let key = |(class, label): (usize, &String)| match count.get(label.as_str()) {
        Some(2..) => format!("{label} ({class})"),
        _ => label.clone(),
    };
    labels.iter().enumerate().map(key).collect()
}

#[cfg(test)]
mod tests;
