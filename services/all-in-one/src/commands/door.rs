//! The way to users, keys and the trail: a running engine, or its stores.

use std::sync::Arc;

pub(super) use clients::Engine;
use contracts::auth::{
    ApiKeyList, ApiKeyView, AuditPage, AuditQuery, AuditVerdict, NewApiKey, NewUser, RevokeKey,
    RotateKey, ShownKey, UserChange, UserList, UserPatch, UserView,
};
use contracts::{AuthApi, Call};
use domain::{AuditFilter, Principal, Role};
use runtime::SystemClock;
use runtime::service::SettingsFile;
use serde_json::json;

use crate::settings::{DEFAULTS, Settings};

/// How long one command may take.
pub(super) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Either way.
pub(super) enum Door {
    Engine(Engine),
    Stores(Arc<dyn AuthApi>),
}

impl Door {
    pub(super) fn engine(url: &str, token: &str) -> anyhow::Result<Self> {
        Ok(Self::Engine(Engine::new(url, token, PATIENCE)?))
    }

    pub(super) async fn stores(file: &SettingsFile) -> anyhow::Result<Self> {
        let settings = file.read(&DEFAULTS, Settings::read)?;
        let relational = storage::relational(&settings.storage.relational).await?;
        let deps = auth::Deps {
            accounts: relational.accounts,
            credentials: relational.credentials,
            audit: relational.audit,
            provider: clients::provider(),
            clock: Arc::new(SystemClock),
        };
        Ok(Self::Stores(auth::build(settings.auth.clone(), deps).await?))
    }

    pub(super) async fn users(&self) -> anyhow::Result<UserList> {
        Ok(match self {
            Self::Engine(engine) => engine.get("/api/v1/users", &[]).await?,
            Self::Stores(auth) => auth.users(call()).await?,
        })
    }

    pub(super) async fn create_user(&self, new: NewUser) -> anyhow::Result<UserView> {
        Ok(match self {
            Self::Engine(engine) => engine.post("/api/v1/users", &new).await?,
            Self::Stores(auth) => auth.create_user(call(), new).await?,
        })
    }

    pub(super) async fn change_user(
        &self,
        username: String,
        change: UserPatch,
    ) -> anyhow::Result<UserView> {
        Ok(match self {
            Self::Engine(engine) => {
                engine.patch(&["api", "v1", "users", &username], &change).await?
            }
            Self::Stores(auth) => auth.change_user(call(), UserChange { username, change }).await?,
        })
    }

    pub(super) async fn api_keys(&self) -> anyhow::Result<ApiKeyList> {
        Ok(match self {
            Self::Engine(engine) => engine.get("/api/v1/api-keys", &[]).await?,
            Self::Stores(auth) => auth.api_keys(call()).await?,
        })
    }

    pub(super) async fn create_api_key(&self, new: NewApiKey) -> anyhow::Result<ShownKey> {
        Ok(match self {
            Self::Engine(engine) => engine.post("/api/v1/api-keys", &new).await?,
            Self::Stores(auth) => auth.create_api_key(call(), new).await?,
        })
    }

    pub(super) async fn rotate_api_key(
        &self,
        id: String,
        overlap_s: Option<u64>,
    ) -> anyhow::Result<ShownKey> {
        Ok(match self {
            Self::Engine(engine) => {
                let path = format!("/api/v1/api-keys/{id}/rotate");
                engine.post(&path, &json!({"overlap_s": overlap_s})).await?
            }
            Self::Stores(auth) => auth.rotate_api_key(call(), RotateKey { id, overlap_s }).await?,
        })
    }

    pub(super) async fn revoke_api_key(&self, id: String) -> anyhow::Result<ApiKeyView> {
        Ok(match self {
            Self::Engine(engine) => engine.delete(&["api", "v1", "api-keys", &id]).await?,
            Self::Stores(auth) => auth.revoke_api_key(call(), RevokeKey { id }).await?,
        })
    }

    /// Entries after a place, or else the newest.
    pub(super) async fn audit(
        &self,
        after: Option<u64>,
        limit: u32,
        actor: Option<String>,
        action: Option<String>,
        target: Option<String>,
    ) -> anyhow::Result<AuditPage> {
        Ok(match self {
            Self::Engine(engine) => {
                let texts = [("actor", actor), ("action", action), ("target", target)];
                let mut query: Vec<(&str, String)> =
                    texts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect();
                query.push(("limit", limit.to_string()));
                query.extend(after.map(|after| ("after", after.to_string())));
                engine.get("/api/v1/audit", &query).await?
            }
            Self::Stores(auth) => {
                let newest_before = after.is_none().then_some(u64::MAX);
                let after = after.unwrap_or_default();
                let filter = AuditFilter {
                    after,
                    newest_before,
                    actor,
                    action,
                    target,
                    ..Default::default()
                };
                let query = AuditQuery { filter, limit };
                auth.audit(call(), query).await?
            }
        })
    }

    pub(super) async fn verify_audit(&self) -> anyhow::Result<AuditVerdict> {
        Ok(match self {
            Self::Engine(engine) => engine.get("/api/v1/audit/verify", &[]).await?,
            Self::Stores(auth) => auth.verify_audit(call()).await?,
        })
    }
}

/// Whoever may open the stores may do everything: the trail names the command line.
fn call() -> Call {
    let mut call = Call::service("command line", PATIENCE);
    call.principal = Some(Principal::user("command-line", "command line", Role::Admin));
    call
}
