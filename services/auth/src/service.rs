//! Users, tokens, keys: the trait, by way of the files beside this one.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use contracts::auth::{
    AUDIENCE, ApiKeyList, ApiKeyView, AuditPage, AuditQuery, AuditVerdict, ChangePassword, Claims,
    Entries, ISSUER, Jwks, KeySignIn, NewApiKey, NewUser, OidcBegun, OidcFinish, Refresh,
    Revocations, RevokeKey, RotateKey, ServiceSignIn, ShownKey, SignIn, SignOut, Since, Token,
    UserChange, UserList, UserView,
};
use contracts::{ApiError, AuthApi, Call, Done};
use domain::{ApiKey, Credential, CredentialKind, Principal, Role};
use runtime::audit::Change;
use serde_json::json;
use storage::StoreError;
use time::OffsetDateTime;

use crate::keys::{KeyTimes, Keys, ServiceSecret, secret_key};
use crate::known_keys::KnownKeys;
use crate::lockout::Tries;
use crate::oidc::Oidc;
use crate::passwords::Passwords;
use crate::settings::MAX_TOKEN_TTL_S;
use crate::trail::Trail;
use crate::users::NAME_RULE;
use crate::{AuthError, Deps, Settings, random};

/// The name of the user made at the first start.
const ADMIN: &str = "admin";
/// The most characters of a user's or a service's name.
pub(crate) const MAX_NAME: usize = 64;
/// Between two looks at what is due.
const ROUND: Duration = Duration::from_secs(10);
/// What was revoked shortly before a moment is told once more: clocks and commits differ.
const OVERLAP: time::Duration = time::Duration::seconds(30);

/// The auth service.
pub struct Auth {
    pub(crate) settings: Settings,
    pub(crate) deps: Deps,
    keys: ArcSwap<Keys>,
    secret: ServiceSecret,
    pub(crate) passwords: Passwords,
    pub(crate) tries: Tries,
    pub(crate) known_keys: KnownKeys,
    pub(crate) trail: Trail,
    pub(crate) oidc: Option<Oidc>,
}

/// What the first start did.
#[derive(Clone, PartialEq, Eq)]
pub enum FirstStart {
    /// There are users; nothing was done.
    HasUsers,
    /// The admin was made.
    AdminCreated {
        /// What to sign in with.
        username: String,
        /// The password, if it was generated: show it now, it is kept nowhere.
        generated_password: Option<String>,
    },
}

impl FirstStart {
    /// Shows a person a generated password, the one time it is known. Not a log line: logs are kept.
    #[expect(clippy::print_stdout, reason = "meant for the person at the terminal")]
    pub fn announce(&self) {
        if let Self::AdminCreated { username, generated_password: Some(password) } = self {
            println!("first start: user `{username}` with one-time password `{password}`");
        }
    }
}

impl Auth {
    /// Reads the keys and the secret, or makes them. Blocks for the time of one password hash.
    pub(crate) fn open(settings: Settings, deps: Deps) -> Result<Self, AuthError> {
        settings.check()?;
        let times = times(&settings, deps.clock.now());
        let seal = secret_key(&settings.keys_dir, "audit.key")?;
        Ok(Self {
            keys: ArcSwap::from_pointee(Keys::open(&settings.keys_dir, times)?),
            secret: ServiceSecret::open(&settings.service_secret_file)?,
            passwords: Passwords::new(&settings)?,
            tries: Tries::default(),
            known_keys: KnownKeys::default(),
            trail: Trail::new(Arc::clone(&deps.audit), Arc::clone(&deps.clock), seal),
            oidc: Oidc::open(&settings, Arc::clone(&deps.provider))?,
            settings,
            deps,
        })
    }

    /// Makes the user `admin` if there are no users, with the password of the setting
    /// `auth.admin_password` or a generated one. Of several processes that do so at once, one does.
    ///
    /// # Errors
    /// [`AuthError::Store`]; [`AuthError::Busy`] if hashing takes more than a minute;
    /// [`AuthError::Setting`] if the password is one that everybody tries.
    pub async fn first_start(&self) -> Result<FirstStart, AuthError> {
        if !self.deps.accounts.users().await?.is_empty() {
            return Ok(FirstStart::HasUsers);
        }
        let given = self.settings.admin_password.reveal();
        if !given.is_empty()
            && let Some(must_be) = self.passwords.fault(ADMIN, given)
        {
            let (setting, value) = ("auth.admin_password", "[redacted]".to_owned());
            let must_be = format!("another one: it {must_be}");
            return Err(AuthError::Setting { setting, value, must_be });
        }
        let generated_password = given.is_empty().then(random::password).transpose()?;
        let password = generated_password.clone().unwrap_or_else(|| given.to_owned());
        let call = Call::service("first start", Duration::from_secs(60));
        let user = self.user(ADMIN, password, Role::Admin, "first start", call.deadline).await?;
        match self.deps.accounts.create_user(user).await {
            Ok(()) => {
                let target = format!("user:{ADMIN}");
                let change = Change { action: "user.create", target, ..Change::default() };
                self.trail.done(&call, change).await;
                Ok(FirstStart::AdminCreated { username: ADMIN.to_owned(), generated_password })
            }
            Err(StoreError::Conflict { .. }) => Ok(FirstStart::HasUsers),
            Err(error) => Err(error.into()),
        }
    }

    /// A token that is good as long as the setting says, and no longer than `until`.
    pub(crate) fn token(
        &self,
        principal: Principal,
        until: Option<OffsetDateTime>,
    ) -> Result<Token, AuthError> {
        let now = self.deps.clock.now();
        let issued = now.unix_timestamp();
        let longest = issued + i64::from(self.settings.token_ttl_s);
        let expires = until.map_or(longest, |until| until.unix_timestamp().min(longest));
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: principal.id,
            exp: expires,
            nbf: issued,
            iat: issued,
            issued_ms: issued * 1000 + i64::from(now.millisecond()),
            jti: random::token()?,
            sid: principal.session,
            name: principal.name,
            kind: principal.kind,
            role: principal.role,
            scope: principal.scope,
        };
        Ok(Token {
            access_token: self.keys.load().sign(&claims)?,
            token_type: "Bearer".to_owned(),
            expires_in: u64::try_from(expires - issued).unwrap_or_default(),
            role: principal.role,
            refresh_token: None,
            refresh_expires_in: None,
        })
    }

    /// Does what is due, now and then, for ever.
    pub(crate) async fn keep_house(self: Arc<Self>) {
        loop {
            let of_keys = Arc::clone(&self);
            let keys = tokio::task::spawn_blocking(move || of_keys.keep_keys()).await;
            if let Ok(Err(error)) = keys {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "signing keys cannot be kept up: the last ones serve on");
            }
            if let Err(error) = self.write_uses().await {
                tracing::debug!(%error, "the last uses of API keys cannot be written now");
            }
            if let Err(error) = self.deps.credentials.forget(self.deps.clock.now()).await {
                tracing::debug!(%error, "what is over cannot be forgotten now");
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    /// Reads the signing keys anew; makes one and removes others where that is due.
    fn keep_keys(&self) -> Result<(), AuthError> {
        let (folder, times) =
            (&self.settings.keys_dir, times(&self.settings, self.deps.clock.now()));
        let mut keys = Keys::open(folder, times)?;
        let life = i64::from(self.settings.signing_key_days) * 24 * 60 * 60;
        if life > 0 {
            let is_due = keys.newest() + life <= times.now;
            if is_due {
                Keys::rotate(folder, times)?;
            }
            if keys.retire(times)? || is_due {
                keys = Keys::open(folder, times)?;
            }
        }
        self.keys.store(Arc::new(keys));
        Ok(())
    }

    async fn write_uses(&self) -> Result<(), AuthError> {
        for (id, used_at) in self.known_keys.unwritten() {
            let found = self.deps.credentials.get(CredentialKind::ApiKey, &id).await?;
            if let Some(Credential::ApiKey(key)) = found
                && key.last_used_at < Some(used_at)
            {
                let last_used_at = Some(used_at);
                let key = ApiKey { last_used_at, revision: key.revision + 1, ..key };
                match self.deps.credentials.put(Credential::ApiKey(key)).await {
                    // Somebody changed it meanwhile: the next round does it.
                    Err(StoreError::Conflict { .. }) => continue,
                    outcome => outcome?,
                }
            }
            self.known_keys.written(&id, used_at);
        }
        Ok(())
    }

    async fn try_rotate_signing_key(&self, call: &Call) -> Result<Jwks, AuthError> {
        call.require(&[Role::Admin])?;
        let times = times(&self.settings, self.deps.clock.now());
        let folder = self.settings.keys_dir.clone();
        let work = move || Keys::rotate(&folder, times).and_then(|()| Keys::open(&folder, times));
        let keys = tokio::task::spawn_blocking(work).await.map_err(AuthError::BrokenOff)??;
        let (before, public) = (self.keys.load().public.clone(), keys.public.clone());
        self.keys.store(Arc::new(keys));
        let ids =
            |jwks: &Jwks| -> Vec<String> { jwks.keys.iter().map(|key| key.kid.clone()).collect() };
        let (before, after) = (json!(ids(&before)), json!(ids(&public)));
        let target = "signing_keys".to_owned();
        let change =
            Change { action: "signing_key.rotate", target, before, after, ..Change::default() };
        self.trail.done(call, change).await;
        Ok(public)
    }
}

fn times(settings: &Settings, now: OffsetDateTime) -> KeyTimes {
    // What others' clocks may be behind is in it.
    const MARGIN_S: i64 = 3600;
    KeyTimes {
        now: now.unix_timestamp(),
        publish_s: settings.signing_key_publish_s.into(),
        linger_s: i64::from(settings.token_ttl_s) + MARGIN_S,
    }
}

#[async_trait]
impl AuthApi for Auth {
    async fn sign_in(&self, call: Call, request: SignIn) -> Result<Token, ApiError> {
        Ok(self.try_sign_in(&call, request).await?)
    }

    async fn oidc_begin(&self, call: Call) -> Result<OidcBegun, ApiError> {
        Ok(self.try_oidc_begin(&call).await?)
    }

    async fn oidc_finish(&self, call: Call, request: OidcFinish) -> Result<Token, ApiError> {
        Ok(self.try_oidc_finish(&call, request).await?)
    }

    async fn refresh(&self, call: Call, request: Refresh) -> Result<Token, ApiError> {
        Ok(self.try_refresh(&call, request).await?)
    }

    async fn sign_out(&self, call: Call, request: SignOut) -> Result<Done, ApiError> {
        Ok(self.try_sign_out(&call, request).await?)
    }

    async fn change_password(
        &self,
        call: Call,
        request: ChangePassword,
    ) -> Result<Token, ApiError> {
        Ok(self.try_change_password(&call, request).await?)
    }

    async fn exchange_key(&self, _call: Call, request: KeySignIn) -> Result<Token, ApiError> {
        Ok(self.try_exchange_key(request).await?)
    }

    async fn service_token(&self, _call: Call, request: ServiceSignIn) -> Result<Token, ApiError> {
        if !self.secret.is(&request.secret) {
            return Err(AuthError::WrongSecret.into());
        }
        if !is_name(&request.service) {
            return Err(ApiError::at("#/service", NAME_RULE));
        }
        Ok(self.token(Principal::service(&request.service), None)?)
    }

    async fn jwks(&self, _call: Call) -> Result<Jwks, ApiError> {
        Ok(self.keys.load().public.clone())
    }

    async fn rotate_signing_key(&self, call: Call) -> Result<Jwks, ApiError> {
        Ok(self.try_rotate_signing_key(&call).await?)
    }

    async fn revocations(&self, _call: Call, request: Since) -> Result<Revocations, ApiError> {
        // No token lives longer.
        let oldest = self.deps.clock.now() - time::Duration::seconds(MAX_TOKEN_TTL_S.into());
        let since = request.since.max(oldest) - OVERLAP;
        let ended = self.deps.credentials.ended_since(since).await.map_err(AuthError::from)?;
        Ok(Revocations { ended })
    }

    async fn users(&self, call: Call) -> Result<UserList, ApiError> {
        call.require(&[Role::Admin])?;
        let users = self.deps.accounts.users().await.map_err(AuthError::from)?;
        Ok(UserList { users: users.into_iter().map(UserView::from).collect() })
    }

    async fn create_user(&self, call: Call, request: NewUser) -> Result<UserView, ApiError> {
        Ok(self.try_create_user(&call, request).await?)
    }

    async fn change_user(&self, call: Call, request: UserChange) -> Result<UserView, ApiError> {
        Ok(self.try_change_user(&call, request).await?)
    }

    async fn api_keys(&self, call: Call) -> Result<ApiKeyList, ApiError> {
        Ok(self.try_api_keys(&call).await?)
    }

    async fn create_api_key(&self, call: Call, request: NewApiKey) -> Result<ShownKey, ApiError> {
        Ok(self.try_create_api_key(&call, request).await?)
    }

    async fn rotate_api_key(&self, call: Call, request: RotateKey) -> Result<ShownKey, ApiError> {
        Ok(self.try_rotate_api_key(&call, request).await?)
    }

    async fn revoke_api_key(&self, call: Call, request: RevokeKey) -> Result<ApiKeyView, ApiError> {
        Ok(self.try_revoke_api_key(&call, request).await?)
    }

    async fn record(&self, call: Call, request: Entries) -> Result<Done, ApiError> {
        call.require(&[Role::Service])?;
        self.trail.add(request.entries);
        self.trail.flush().await;
        Ok(Done {})
    }

    async fn audit(&self, call: Call, request: AuditQuery) -> Result<AuditPage, ApiError> {
        Ok(self.trail.page(&call, request).await?)
    }

    async fn verify_audit(&self, call: Call) -> Result<AuditVerdict, ApiError> {
        call.require(&[Role::Admin])?;
        Ok(self.trail.verify().await?)
    }
}

pub(crate) fn is_name(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'@' | b'-');
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed)
}
