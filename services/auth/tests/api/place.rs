//! An auth service in a folder of its own, and the calls on it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use auth::{Auth, AuthError, DEFAULTS, Deps, Settings};
use contracts::auth::{AUDIENCE, Claims, ISSUER, NewUser, SignIn, Since, Token, UserView};
use contracts::{ApiError, AuthApi, Call};
use domain::{Clock, Principal, Role, Scope};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use storage::Relational;
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
    pub(crate) async fn store(&self) -> Relational {
        storage::relational(&self.store_url()).await.unwrap()
    }

    pub(crate) fn store_url(&self) -> String {
        format!("sqlite://{}", self.folder.path().join("data/relational.db").display())
    }

    pub(crate) async fn start(&self, settings: &[(&str, &str)]) -> Result<Arc<Auth>, AuthError> {
        self.start_on(self.store().await, settings).await
    }

    pub(crate) async fn start_on(
        &self,
        store: Relational,
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
            ("ENGINE__AUTH__LOCKOUT_AFTER".to_owned(), "1000".to_owned()),
        ]);
        for (key, value) in settings {
            environment.insert(format!("ENGINE__AUTH__{key}"), (*value).to_owned());
        }
        let All { auth: mut settings } =
            runtime::settings::load(&[DEFAULTS], None, environment).unwrap();
        settings.resolve(&self.folder.path().join("data"));
        let deps = Deps {
            accounts: store.accounts,
            credentials: store.credentials,
            audit: store.audit,
            provider: clients::provider(),
            clock: Arc::clone(&self.clock) as _,
        };
        auth::build(settings, deps).await
    }

    /// An engine whose admin has the password [`PASSWORD`].
    pub(crate) async fn started(&self) -> Arc<Auth> {
        let auth = self.start(&[("ADMIN_PASSWORD", PASSWORD)]).await.unwrap();
        auth.first_start().await.unwrap();
        auth
    }
}

/// A store that is down.
pub(crate) async fn down() -> Relational {
    storage::deferred::relational("postgres://nobody@127.0.0.1:1/none").await.unwrap().0
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
    auth.create_user(call, NewUser { username, password, role, scope: Scope::default() }).await
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

/// A caller as the gateway makes one of a verified token.
pub(crate) async fn caller(auth: &Auth, token: &Token) -> Call {
    let principal = verify(auth, token).await.into();
    Call { principal: Some(principal), ..anonymous() }
}

/// Lets time pass.
pub(crate) fn pass(place: &Place, seconds: i64) {
    place.clock.0.fetch_add(seconds, Ordering::SeqCst);
}

/// The ids that ceased to be good.
pub(crate) async fn revoked(auth: &Auth) -> Vec<String> {
    let since = Since { since: OffsetDateTime::UNIX_EPOCH };
    let answer = auth.revocations(anonymous(), since).await.unwrap();
    answer.ended.into_iter().map(|one| one.id).collect()
}
