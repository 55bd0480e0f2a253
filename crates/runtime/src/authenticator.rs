//! A credential becomes a principal: a token is verified against the auth service's JWKS, an API key
//! is exchanged for a token; both are remembered, and refused as soon as it is heard that they ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use contracts::auth::{AUDIENCE, Claims, ISSUER, KeySignIn};
use contracts::call::AccessToken;
use contracts::{ApiError, AuthApi, Call, ErrorCode};
use domain::{Clock, Principal};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use sha2::{Digest, Sha256};

use crate::settings::Http;

mod revoked;

use revoked::Revoked;

/// After an unknown key id, the keys are asked for again at most this often.
const KEY_REFRESH: Duration = Duration::from_secs(10);
/// How long to wait for the auth service.
const PATIENCE: Duration = Duration::from_secs(5);
/// What an API key begins with, and no token does.
const API_KEY: &str = "key_";

/// Verifies credentials. Keys come from the auth service, near or far; while that is down, the last
/// known ones serve on.
pub struct Authenticator {
    auth: Arc<dyn AuthApi>,
    clock: Arc<dyn Clock>,
    leeway_s: i64,
    cache: usize,
    poll: Duration,
    jwks_refresh: Duration,
    keys: tokio::sync::RwLock<Keys>,
    verified: RwLock<HashMap<[u8; 32], Verified>>,
    exchanged: Mutex<HashMap<[u8; 32], Exchanged>>,
    revoked: Revoked,
}

/// Who somebody proved to be, and the token that proves it to the next hop.
#[derive(Debug, Clone)]
pub struct Proof {
    /// Who.
    pub principal: Arc<Principal>,
    /// The token.
    pub token: AccessToken,
}

#[derive(Default)]
struct Keys {
    by_id: HashMap<String, DecodingKey>,
    asked_at: Option<Instant>,
}

#[derive(Clone)]
struct Verified {
    principal: Arc<Principal>,
    expires_at: i64,
    issued_ms: i64,
}

/// The token that an API key was exchanged for.
#[derive(Clone)]
struct Exchanged {
    verified: Verified,
    token: AccessToken,
    /// When another one is got, so that this one still serves if that fails.
    renew_at: Instant,
    until: Instant,
}

impl Verified {
    fn of(claims: Claims) -> Self {
        let (expires_at, issued_ms) = (claims.exp, claims.issued_ms);
        Self { principal: Arc::new(claims.into()), expires_at, issued_ms }
    }
}

impl Authenticator {
    /// Verifies with the keys of this auth service. Spawn [`Authenticator::watch`], too.
    pub fn new(auth: Arc<dyn AuthApi>, clock: Arc<dyn Clock>, settings: &Http) -> Self {
        Self {
            auth,
            clock,
            leeway_s: settings.token_leeway_s.into(),
            cache: settings.token_cache.max(1),
            poll: Duration::from_millis(settings.revocation_poll_ms.max(10)),
            jwks_refresh: Duration::from_secs(settings.jwks_refresh_s.max(1)),
            keys: tokio::sync::RwLock::default(),
            verified: RwLock::default(),
            exchanged: Mutex::default(),
            revoked: Revoked::default(),
        }
    }

    /// Who a token or an API key proves its bearer to be.
    ///
    /// # Errors
    /// `unauthenticated` that says what is wrong with it; `unavailable` if the auth service is needed
    /// and cannot be reached.
    pub async fn verify(&self, credential: &str) -> Result<Proof, ApiError> {
        if credential.starts_with(API_KEY) {
            return self.verify_key(credential).await;
        }
        let digest = digest(credential);
        let known =
            self.verified.read().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
        let verified = match known {
            Some(known) => known,
            None => self.remember(digest, self.check(credential).await?),
        };
        self.prove(verified, AccessToken::new(credential))
    }

    /// The proof, if it is still good.
    fn prove(&self, verified: Verified, token: AccessToken) -> Result<Proof, ApiError> {
        if verified.expires_at + self.leeway_s <= self.clock.now().unix_timestamp() {
            return Err(expired());
        }
        if self.revoked.is(&verified.principal, verified.issued_ms) {
            return Err(refused("it was revoked: sign in again with `POST /api/v1/auth/token`"));
        }
        Ok(Proof { principal: verified.principal, token })
    }

    async fn verify_key(&self, key: &str) -> Result<Proof, ApiError> {
        let digest = digest(key);
        let now = Instant::now();
        let known = self.exchanged().get(&digest).cloned();
        // What was revoked or is over proves nothing: then the auth service says which answer to
        // give.
        let known = known.and_then(|known| {
            let proof = self.prove(known.verified, known.token).ok()?;
            (now < known.until).then_some((proof, known.renew_at))
        });
        match known {
            Some((proof, renew_at)) if now < renew_at => Ok(proof),
            known => match self.exchange(digest, key, now).await {
                // It is still good, and is tried again with the next request.
                Err(error) if error.code.status() >= 500 => {
                    known.map(|(proof, _)| proof).ok_or(error)
                }
                answer => answer,
            },
        }
    }

    /// Gets a token for an API key, and remembers it.
    async fn exchange(&self, digest: [u8; 32], key: &str, now: Instant) -> Result<Proof, ApiError> {
        let call = Call::service("keys", PATIENCE);
        let answer = self.auth.exchange_key(call, KeySignIn { key: key.to_owned() }).await?;
        let verified = Verified::of(self.check(&answer.access_token).await?);
        let token = AccessToken::new(answer.access_token);
        let good_for = Duration::from_secs(answer.expires_in);
        let (renew_at, until) = (now + good_for / 2, now + good_for);
        let mut exchanged = self.exchanged();
        if exchanged.len() >= self.cache {
            exchanged.retain(|_, known| now < known.until);
        }
        if exchanged.len() < self.cache {
            let (verified, token) = (verified.clone(), token.clone());
            exchanged.insert(digest, Exchanged { verified, token, renew_at, until });
        }
        drop(exchanged);
        self.prove(verified, token)
    }

    fn exchanged(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Exchanged>> {
        self.exchanged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, digest: [u8; 32], claims: Claims) -> Verified {
        let verified = Verified::of(claims);
        let now = self.clock.now().unix_timestamp();
        let mut cache = self.verified.write().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= self.cache {
            cache.retain(|_, verified| verified.expires_at > now);
            if cache.len() >= self.cache {
                cache.clear();
            }
        }
        cache.insert(digest, verified.clone());
        verified
    }

    /// The claims of a token that is well formed, of ours and not from the future.
    async fn check(&self, token: &str) -> Result<Claims, ApiError> {
        let header = jsonwebtoken::decode_header(token)
            .map_err(|_cause| refused("it is not a JWT: get one from `POST /api/v1/auth/token`"))?;
        // The algorithm is ours to choose, never the header's.
        if header.alg != Algorithm::EdDSA {
            return Err(refused("its algorithm is not `EdDSA`"));
        }
        let key_id = header.kid.ok_or_else(|| refused("it names no key (`kid`)"))?;
        let key = self.key(&key_id).await?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        // Times are checked by our own clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation)
            .map_err(|error| {
                refused(match error.kind() {
                    ErrorKind::InvalidSignature => "its signature is wrong",
                    ErrorKind::InvalidIssuer => "another issuer made it",
                    ErrorKind::InvalidAudience => "it is meant for another audience",
                    _ => "it is malformed",
                })
            })?
            .claims;
        if claims.nbf - self.leeway_s > self.clock.now().unix_timestamp() {
            return Err(refused("it is not valid yet: compare the clocks of the machines"));
        }
        Ok(claims)
    }

    async fn key(&self, id: &str) -> Result<DecodingKey, ApiError> {
        if let Some(key) = self.keys.read().await.by_id.get(id) {
            return Ok(key.clone());
        }
        // One at a time: those who wait find what the first one got.
        let mut keys = self.keys.write().await;
        if let Some(key) = keys.by_id.get(id) {
            return Ok(key.clone());
        }
        let unknown = || refused("no key of ours signed it: sign in again");
        if !keys.by_id.is_empty() && keys.asked_at.is_some_and(|at| at.elapsed() < KEY_REFRESH) {
            return Err(unknown());
        }
        match self.published_keys().await {
            Ok(by_id) => *keys = Keys { by_id, asked_at: Some(Instant::now()) },
            Err(error) if keys.by_id.is_empty() => {
                tracing::warn!(%error, "no key to verify tokens with: the auth service cannot be reached");
                return Err(ApiError::new(
                    ErrorCode::Unavailable,
                    "tokens cannot be verified yet: the auth service cannot be reached",
                )
                .retry_after(1));
            }
            Err(_) => return Err(unknown()),
        }
        keys.by_id.get(id).cloned().ok_or_else(unknown)
    }

    async fn published_keys(&self) -> Result<HashMap<String, DecodingKey>, ApiError> {
        let jwks = self.auth.jwks(Call::service("keys", PATIENCE)).await?;
        let ours = jwks.keys.iter().filter(|key| key.alg == "EdDSA" && key.crv == "Ed25519");
        let key = |key: &contracts::auth::Jwk| {
            Some((key.kid.clone(), DecodingKey::from_ed_components(&key.x).ok()?))
        };
        Ok(ours.filter_map(key).collect())
    }

    /// Hears what was revoked and which keys are published, for ever.
    pub async fn watch(self: Arc<Self>) {
        let mut asked_at = Instant::now();
        loop {
            self.revoked.ask(&*self.auth, &*self.clock).await;
            if asked_at.elapsed() >= self.jwks_refresh {
                asked_at = Instant::now();
                if let Ok(by_id) = self.published_keys().await {
                    // What a key signed that is gone must be verified anew, and will fail.
                    let gone = |id: &String| !by_id.contains_key(id);
                    let mut keys = self.keys.write().await;
                    if keys.by_id.keys().any(gone) {
                        self.verified.write().unwrap_or_else(PoisonError::into_inner).clear();
                        self.exchanged().clear();
                    }
                    *keys = Keys { by_id, asked_at: keys.asked_at };
                }
            }
            tokio::time::sleep(self.poll).await;
        }
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn refused(why: &str) -> ApiError {
    ApiError::new(ErrorCode::Unauthenticated, format!("bearer token refused: {why}"))
}

fn expired() -> ApiError {
    refused("it has expired: sign in again with `POST /api/v1/auth/token`")
}
