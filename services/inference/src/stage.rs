//! A service with models on it, for tests.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use contracts::inference::{Answered, PredictTask, Protocol, Target};
use contracts::{ApiError, Call, Framed, InferenceApi};
use domain::{FileRef, PredictionId, Version};
use models::Package;
use serde_json::Value;
use storage::StoreError;
use storage::ports::Artifacts;
use time::OffsetDateTime;

use crate::settings::tests::defaults;
use crate::{Deps, Service, Settings};

/// Model files in memory. The digest is the file's number.
#[derive(Default)]
pub(crate) struct Shelf(Mutex<HashMap<String, Bytes>>);

#[async_trait]
impl Artifacts for Shelf {
    async fn put(&self, bytes: Bytes) -> Result<String, StoreError> {
        let mut files = self.0.lock().unwrap();
        let digest = files.len().to_string();
        files.insert(digest.clone(), bytes);
        Ok(digest)
    }

    async fn get(&self, sha256: &str) -> Result<Bytes, StoreError> {
        let found = self.0.lock().unwrap().get(sha256).cloned();
        found.ok_or_else(|| StoreError::NotFound { what: "artefact", id: sha256.to_owned() })
    }
}

/// The files of a folder of the repository.
pub(crate) fn files(folder: &str) -> BTreeMap<String, Bytes> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    entries
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, Bytes::from(fs::read(entry.path()).unwrap()))
        })
        .collect()
}

pub(crate) fn target(model: &str, version: u32) -> Target {
    Target { model: model.parse().unwrap(), version: domain::VersionId::new(version).unwrap() }
}

/// Puts a package's files on the shelf and describes it as the registry would.
pub(crate) async fn register(
    shelf: &dyn Artifacts,
    target: Target,
    author: Option<Value>,
    files: BTreeMap<String, Bytes>,
) -> Version {
    let author = author
        .or_else(|| files.get("manifest.json").map(|bytes| serde_json::from_slice(bytes).unwrap()));
    let package = Package::assemble(target.model.as_str(), author, files).unwrap();
    let mut listed = Vec::new();
    for (name, bytes) in package.files {
        let count = bytes.len() as u64;
        let sha256 = shelf.put(bytes).await.unwrap();
        listed.push(FileRef { name, sha256, bytes: count });
    }
    Version {
        model: target.model,
        version: target.version,
        manifest: package.manifest,
        files: listed,
        enabled: true,
        created_by: "test".to_owned(),
        created_at: OffsetDateTime::UNIX_EPOCH,
    }
}

pub(crate) fn call() -> Call {
    Call::service("router", Duration::from_secs(30))
}

/// A service and its shelf.
pub(crate) struct Stage {
    pub(crate) service: Arc<Service>,
    pub(crate) shelf: Arc<Shelf>,
}

impl Stage {
    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = defaults();
        change(&mut settings);
        let shelf = Arc::new(Shelf::default());
        let deps = Deps { artifacts: Arc::clone(&shelf) as _, onnxruntime: Vec::new() };
        Self { service: crate::build(settings, deps).unwrap(), shelf }
    }

    /// A service with the model of a folder as version 1.
    pub(crate) async fn of(model: &str, folder: &str, author: Option<Value>) -> Self {
        let stage = Self::with(|_| {});
        stage.load(model, 1, folder, author).await;
        stage
    }

    pub(crate) async fn load(&self, model: &str, number: u32, folder: &str, author: Option<Value>) {
        let files = files(folder);
        let version = register(self.shelf.as_ref(), target(model, number), author, files).await;
        self.service.load(call(), version).await.unwrap();
    }

    pub(crate) async fn send(
        &self,
        model: &str,
        protocol: Protocol,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Result<Framed<Answered>, ApiError> {
        let task = PredictTask {
            target: target(model, 1),
            prediction_id: PredictionId::new(),
            protocol,
            content_type: content_type.to_owned(),
            show_version: true,
            degraded: false,
            rules: None,
            background: false,
        };
        self.service.predict(call(), Framed { meta: task, body: body.into() }).await
    }

    /// Asks in a natural form, in JSON.
    pub(crate) async fn ask(&self, model: &str, body: &Value) -> Result<Value, ApiError> {
        let answer =
            self.send(model, Protocol::Natural, "application/json", body.to_string()).await?;
        Ok(serde_json::from_slice(&answer.body).unwrap())
    }

    /// Asks over V2, in JSON.
    pub(crate) async fn infer(&self, model: &str, body: &Value) -> Result<Value, ApiError> {
        let protocol = Protocol::V2 { header_length: None };
        let answer = self.send(model, protocol, "application/json", body.to_string()).await?;
        Ok(serde_json::from_slice(&answer.body).unwrap())
    }
}
