//! The six services, built in order of dependency, each handed to the next.

use std::path::Path;
use std::sync::Arc;

use auth::FirstStart;
use contracts::auth::ProviderHttp;
use contracts::{AuthApi, InferenceApi, RouterApi};
use runtime::http::App;
use runtime::process::FolderLock;
use runtime::settings::Storage;
use runtime::{Authenticator, Process, Recorder, SystemClock};

use crate::settings::Settings;

/// A running engine, but for its HTTP server.
pub struct Engine {
    /// What the gateway serves.
    pub app: App,
    /// The router, for the demo to register its models with.
    pub router: Arc<dyn RouterApi>,
    /// Whether the admin was made now.
    pub first_start: FirstStart,
    /// Background tasks.
    pub process: Process,
    _lock: FolderLock,
}

impl Engine {
    /// Opens the stores, builds the services and starts their background work. `provider` asks the
    /// identity provider, if the settings name one.
    ///
    /// # Errors
    /// If another engine uses the data folder, or a store or a key cannot be used.
    pub async fn start(
        settings: &Settings,
        provider: Arc<dyn ProviderHttp>,
    ) -> anyhow::Result<Self> {
        let lock = FolderLock::take(&settings.data_dir)?;
        let clock = Arc::new(SystemClock);
        let process = Process::default();
        let relational = storage::relational(&settings.storage.relational).await?;
        let documents = storage::documents(&settings.storage.documents).await?;
        let keys = artifact_keys(&settings.storage);
        let artifacts = storage::artifacts(&settings.storage.artifacts, keys).await?;

        let deps = auth::Deps {
            accounts: Arc::clone(&relational.accounts),
            credentials: Arc::clone(&relational.credentials),
            audit: Arc::clone(&relational.audit),
            provider,
            clock: clock.clone(),
        };
        let auth = auth::build(settings.auth.clone(), deps).await?;
        let first_start = auth.first_start().await?;
        auth::background(&auth, &process);
        let auth: Arc<dyn AuthApi> = auth;

        let candidates = runtime::settings::onnxruntime(&settings.data_dir);
        let deps = inference::Deps { artifacts: Arc::clone(&artifacts), onnxruntime: candidates };
        let inference = inference::build(settings.inference.clone(), deps)?;
        inference::background(&inference, &process);
        let inference: Arc<dyn InferenceApi> = inference;

        let cache = storage::cache(&settings.storage.cache).await?;
        let deps = router::Deps {
            relational,
            documents: documents.clone(),
            cache: cache.clone(),
            artifacts,
            replicas: router::fixed([inference]),
            routers: router::fixed([]),
            clock: clock.clone(),
            recorder: Arc::new(Recorder::new("router", Arc::clone(&auth), clock.clone())),
        };
        let router = router::build(settings.router.clone(), deps).await?;
        router::background(&router, &process);
        let router = router::api(&router);

        let deps = feedback::Deps {
            feedback: documents.feedback,
            predictions: Arc::clone(&documents.predictions),
            clock: clock.clone(),
        };
        let feedback = feedback::build(settings.feedback.clone(), deps);
        let deps = drift::Deps { predictions: documents.predictions, clock: clock.clone() };
        let drift = drift::build(settings.drift.clone(), deps)?;

        let deps = gateway::Deps {
            cache,
            authenticator: Arc::new(Authenticator::new(
                Arc::clone(&auth),
                clock.clone(),
                &settings.http,
            )),
            recorder: Arc::new(Recorder::new("gateway", Arc::clone(&auth), clock)),
            auth,
            router: Arc::clone(&router),
            feedback,
            drift,
        };
        gateway::background(&deps, &process);
        let access_log = settings.telemetry.access_log;
        let app = gateway::app(&settings.gateway, &settings.http, access_log, deps);
        Ok(Self { app, router, first_start, process, _lock: lock })
    }
}

/// The secrets of the store of model files.
pub fn artifact_keys(storage: &Storage) -> storage::Keys<'_> {
    storage::Keys {
        access: storage.artifacts_access_key.reveal(),
        secret: storage.artifacts_secret_key.reveal(),
        encryption: storage.artifacts_encryption_key.reveal(),
        old_encryption: storage.artifacts_old_encryption_keys.reveal(),
    }
}

/// The one screen a person sees at the start.
pub fn greeting(settings: &Settings, first_start: &FirstStart, url: &str) -> String {
    let place = |url: &str| url.split("://").next().unwrap_or_default().to_owned();
    let storage = &settings.storage;
    let sign_in = match first_start {
        FirstStart::AdminCreated { username, generated_password: Some(password) } => {
            format!("user `{username}`, one-time password `{password}` (shown only now)")
        }
        FirstStart::AdminCreated { username, generated_password: None } => {
            format!("user `{username}`, with the password of `auth.admin_password`")
        }
        FirstStart::HasUsers => "as before".to_owned(),
    };
    let explicit = Some(settings.inference.onnxruntime.as_path());
    let explicit = explicit.filter(|path| !path.as_os_str().is_empty());
    let candidates = runtime::settings::onnxruntime(&settings.data_dir);
    let onnx = match models::library::start(explicit, &candidates) {
        Ok(_) => format!("on (ONNX Runtime {})", models::library::VERSION),
        Err(error) => format!("OFF: {error}"),
    };
    format!(
        "AI Decision Engine {version}\n  \
         address   {url}   (docs: {url}/docs)\n  \
         data      {data}\n  \
         stores    relational {relational}, documents {documents}, artifacts {artifacts}\n  \
         on        sign-in, prediction log, metrics at /metrics\n  \
         onnx      {onnx}\n  \
         sign in   {sign_in}\n",
        version = env!("CARGO_PKG_VERSION"),
        data = Path::new(&settings.data_dir).display(),
        relational = place(&storage.relational),
        documents = place(&storage.documents),
        artifacts = place(&storage.artifacts),
    )
}
