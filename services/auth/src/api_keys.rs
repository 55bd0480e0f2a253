//! API keys: `key_<12 characters>_<43 characters>`. The first part names it, the second is secret.

use contracts::auth::{
    ApiKeyList, ApiKeyView, KeySignIn, NewApiKey, RevokeKey, RotateKey, ShownKey, Token,
};
use contracts::{ApiError, Call, Faults};
use domain::{ApiKey, Credential, CredentialKind, Principal, PrincipalKind, Role};
use runtime::audit::Change;
use serde_json::{Value, json};
use storage::StoreError;
use time::{Duration, OffsetDateTime};

use crate::service::{Auth, is_name};
use crate::users::{NAME_RULE, ROLE_RULE};
use crate::{AuthError, random, secrets};

const PREFIX: &str = "key_";

/// The id and the secret in a key's text.
fn parts(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.split_at_checked(PREFIX.len() + random::ID_LENGTH)?;
    (id.starts_with(PREFIX)).then_some((id, secret.strip_prefix('_')?))
}

impl Auth {
    pub(crate) async fn try_exchange_key(&self, request: KeySignIn) -> Result<Token, AuthError> {
        let (id, secret) = parts(&request.key).ok_or(AuthError::NoKey)?;
        let now = self.deps.clock.now();
        let key = match self.api_key(id).await {
            Ok(key) => key,
            // The store is away: what was known of it last is good for now.
            Err(error @ AuthError::Store(StoreError::Unavailable { .. })) => {
                self.known_keys.get(id).ok_or(error)?
            }
            Err(error) => return Err(error),
        };
        if !secrets::matches(secret, &key.secret)
            || key.revoked_at.is_some()
            || key.expires_at.is_some_and(|at| at <= now)
        {
            return Err(AuthError::NoKey);
        }
        self.known_keys.keep(key.clone(), now);
        let principal = Principal {
            id: key.id.clone(),
            kind: PrincipalKind::ApiKey,
            role: key.role,
            scope: key.scope,
            session: key.id,
            ..Principal::service(&key.name)
        };
        self.token(principal, key.expires_at)
    }

    async fn api_key(&self, id: &str) -> Result<ApiKey, AuthError> {
        match self.deps.credentials.get(CredentialKind::ApiKey, id).await? {
            Some(Credential::ApiKey(key)) => Ok(key),
            _ => Err(AuthError::NoKey),
        }
    }

    /// As [`Self::api_key`], for an admin, who may know what there is.
    async fn existing_key(&self, id: &str) -> Result<ApiKey, AuthError> {
        self.api_key(id).await.map_err(|error| match error {
            AuthError::NoKey => StoreError::NotFound { what: "API key", id: id.to_owned() }.into(),
            error => error,
        })
    }

    pub(crate) async fn try_api_keys(&self, call: &Call) -> Result<ApiKeyList, AuthError> {
        call.require(&[Role::Admin])?;
        let keys = self.deps.credentials.all(CredentialKind::ApiKey).await?;
        let view = |credential| match credential {
            Credential::ApiKey(key) => Some(self.known_keys.with_last_use(key).into()),
            _ => None,
        };
        Ok(ApiKeyList { api_keys: keys.into_iter().filter_map(view).collect() })
    }

    pub(crate) async fn try_create_api_key(
        &self,
        call: &Call,
        request: NewApiKey,
    ) -> Result<ShownKey, AuthError> {
        let admin = call.require(&[Role::Admin])?;
        let NewApiKey { name, role, scope, expires_at } = request;
        let now = self.deps.clock.now();
        let mut faults = Faults::default();
        if !is_name(&name) {
            faults.add("#/name", NAME_RULE);
        }
        if role == Role::Service {
            faults.add("#/role", ROLE_RULE);
        }
        if expires_at.is_some_and(|at| at <= now) {
            faults.add("#/expires_at", "must be in the future");
        }
        faults.check()?;
        let (secret, digest) = secrets::make()?;
        let key = ApiKey {
            id: random::id(PREFIX)?,
            name,
            secret: digest,
            role,
            scope,
            created_at: now,
            created_by: admin.name.clone(),
            expires_at,
            last_used_at: None,
            revoked_at: None,
            replaced_by: None,
            revision: 1,
        };
        self.deps.credentials.put(Credential::ApiKey(key.clone())).await?;
        let (target, after) = (format!("api_key:{}", key.id), told(&key));
        self.trail
            .done(call, Change { action: "api_key.create", target, after, ..Change::default() })
            .await;
        Ok(shown(key, &secret))
    }

    pub(crate) async fn try_rotate_api_key(
        &self,
        call: &Call,
        request: RotateKey,
    ) -> Result<ShownKey, AuthError> {
        let admin = call.require(&[Role::Admin])?;
        let old = self.existing_key(&request.id).await?;
        let now = self.deps.clock.now();
        if old.revoked_at.is_some() || old.replaced_by.is_some() {
            let why = "was revoked or replaced already: make a new one".to_owned();
            return Err(StoreError::Conflict { what: "API key", id: old.id, why }.into());
        }
        let longest = i64::from(crate::settings::YEAR_S);
        let overlap = request.overlap_s.unwrap_or(self.settings.key_overlap_s.into());
        let overlap = i64::try_from(overlap).unwrap_or(i64::MAX);
        if overlap > longest {
            let why = format!("must be 0 to {longest} seconds, got `{overlap}`");
            return Err(ApiError::at("#/overlap_s", why).into());
        }
        let (secret, digest) = secrets::make()?;
        let new = ApiKey {
            id: random::id(PREFIX)?,
            secret: digest,
            created_at: now,
            created_by: admin.name.clone(),
            last_used_at: None,
            revision: 1,
            ..old.clone()
        };
        let until = now + Duration::seconds(overlap);
        let replaced = ApiKey {
            expires_at: Some(old.expires_at.map_or(until, |at| at.min(until))),
            // Tokens are out that do not know of the new end.
            revoked_at: (overlap == 0).then_some(now),
            replaced_by: Some(new.id.clone()),
            revision: old.revision + 1,
            ..old.clone()
        };
        self.deps.credentials.put(Credential::ApiKey(new.clone())).await?;
        self.deps.credentials.put(Credential::ApiKey(replaced.clone())).await?;
        self.known_keys.forget(&old.id);
        let (target, before, after) = (format!("api_key:{}", old.id), told(&old), told(&replaced));
        let change =
            Change { action: "api_key.rotate", target, before, after, ..Change::default() };
        self.trail.done(call, change).await;
        Ok(shown(new, &secret))
    }

    pub(crate) async fn try_revoke_api_key(
        &self,
        call: &Call,
        request: RevokeKey,
    ) -> Result<ApiKeyView, AuthError> {
        call.require(&[Role::Admin])?;
        let old = self.existing_key(&request.id).await?;
        if old.revoked_at.is_some() {
            return Ok(old.into());
        }
        let revoked_at = Some(self.deps.clock.now());
        let key = ApiKey { revoked_at, revision: old.revision + 1, ..old.clone() };
        self.deps.credentials.put(Credential::ApiKey(key.clone())).await?;
        self.known_keys.forget(&key.id);
        let (target, before, after) = (format!("api_key:{}", key.id), told(&old), told(&key));
        let change =
            Change { action: "api_key.revoke", target, before, after, ..Change::default() };
        self.trail.done(call, change).await;
        Ok(key.into())
    }
}

fn shown(key: ApiKey, secret: &str) -> ShownKey {
    ShownKey { key: format!("{}_{secret}", key.id), api_key: key.into() }
}

/// What the audit trail keeps of a key.
fn told(key: &ApiKey) -> Value {
    let moment = |at: Option<OffsetDateTime>| {
        at.and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok())
    };
    json!({
        "name": key.name,
        "role": key.role,
        "scope": key.scope,
        "expires_at": moment(key.expires_at),
        "revoked_at": moment(key.revoked_at),
        "replaced_by": key.replaced_by,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_an_id_and_a_secret() {
        assert_eq!(parts("key_abcdefghijkm_secret"), Some(("key_abcdefghijkm", "secret")));
        for wrong in ["", "key_", "key_abcdefghijkm", "key_abcdefghijkmsecret", "kéy_abcdefghijk_x"]
        {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }
}
