//! An auth service in a folder of its own, and the calls on it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use auth::{Auth, AuthError, DEFAULTS, Deps, Settings};
use contracts::auth::{AUDIENCE, Claims, ISSUER, NewUser, SignIn, Token, UserView};
use contracts::{ApiError, AuthApi, Call};
use domain::{Clock, Principal, Role, User};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use storage::StoreError;
use storage::ports::Accounts;
use time::OffsetDateTime;

pub(crate) const PASSWORD: &str = "correct horse";
/// When the tests begin, seconds since 1970.
pub(crate) const START: i64 = 1_700_000_000;

#[derive(Debug)]
pub(crate) struct FakeClock(pub(crate) AtomicI64);

impl Clock for FakeClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// An engine's data folder, gone at the end of the test.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) clock: Arc<FakeClock>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::new(FakeClock(AtomicI64::new(START))),
        }
    }

    /// A new door to the store.
    pub(crate) async fn accounts(&self) -> Arc<dyn Accounts> {
        let file = self.folder.path().join("data/relational.db");
        let url = format!("sqlite://{}", file.display());
        storage::relational(&url).await.unwrap().accounts
    }

    pub(crate) async fn start(&self, settings: &[(&str, &str)]) -> Result<Arc<Auth>, AuthError> {
        self.start_on(self.accounts().await, settings).await
    }

    pub(crate) async fn start_on(
        &self,
        accounts: Arc<dyn Accounts>,
        settings: &[(&str, &str)],
    ) -> Result<Arc<Auth>, AuthError> {
        #[derive(Deserialize)]
        struct All {
            auth: Settings,
        }
        // Cheap hashes, but where a test asks for others.
        let mut environment = BTreeMap::from([
            ("ENGINE__AUTH__HASH_MEMORY_KIB".to_owned(), "8".to_owned()),
            ("ENGINE__AUTH__HASH_PASSES".to_owned(), "1".to_owned()),
        ]);
        for (key, value) in settings {
            environment.insert(format!("ENGINE__AUTH__{key}"), (*value).to_owned());
        }
        let All { auth: mut settings } =
            runtime::settings::load(&[DEFAULTS], None, environment).unwrap();
        settings.resolve(&self.folder.path().join("data"));
        auth::build(settings, Deps { accounts, clock: Arc::clone(&self.clock) as _ }).await
    }

    /// An engine whose admin has the password [`PASSWORD`].
    pub(crate) async fn started(&self) -> Arc<Auth> {
        let auth = self.start(&[("ADMIN_PASSWORD", PASSWORD)]).await.unwrap();
        auth.first_start().await.unwrap();
        auth
    }
}

/// A store that is down.
pub(crate) struct Down;

impl Down {
    fn error<T>() -> Result<T, StoreError> {
        let (store, source) = ("sqlite://x".to_owned(), "disk on fire".into());
        Err(StoreError::Unavailable { store, action: "read", source })
    }
}

#[async_trait::async_trait]
impl Accounts for Down {
    async fn create_user(&self, _: User) -> Result<(), StoreError> {
        Self::error()
    }
    async fn user_by_name(&self, _: &str) -> Result<Option<User>, StoreError> {
        Self::error()
    }
    async fn users(&self) -> Result<Vec<User>, StoreError> {
        Self::error()
    }
}

pub(crate) fn anonymous() -> Call {
    Call { principal: None, ..Call::service("test", Duration::from_secs(30)) }
}

pub(crate) fn by(role: Role) -> Call {
    let principal = Principal::user("0199", "anna", role);
    Call { principal: Some(principal), ..anonymous() }
}

pub(crate) fn request(username: &str, password: &str) -> SignIn {
    SignIn { username: username.to_owned(), password: password.to_owned() }
}

pub(crate) async fn sign_in(
    auth: &Auth,
    username: &str,
    password: &str,
) -> Result<Token, ApiError> {
    auth.sign_in(anonymous(), request(username, password)).await
}

pub(crate) async fn create(
    auth: &Auth,
    call: Call,
    username: &str,
    password: &str,
    role: Role,
) -> Result<UserView, ApiError> {
    let (username, password) = (username.to_owned(), password.to_owned());
    auth.create_user(call, NewUser { username, password, role }).await
}

pub(crate) fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    // The tests' clock stands in the past.
    validation.validate_exp = false;
    validation
}

/// Verifies as any program would, with nothing but the published keys.
pub(crate) async fn verify(auth: &Auth, token: &Token) -> Claims {
    let header = jsonwebtoken::decode_header(&token.access_token).unwrap();
    assert_eq!((header.alg, header.typ.as_deref()), (Algorithm::EdDSA, Some("JWT")));
    let keys = auth.jwks(anonymous()).await.unwrap().keys;
    let key = keys.iter().find(|key| Some(&key.kid) == header.kid.as_ref()).unwrap();
    let key = DecodingKey::from_ed_components(&key.x).unwrap();
    jsonwebtoken::decode(&token.access_token, &key, &validation()).unwrap().claims
}
