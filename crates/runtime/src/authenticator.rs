//! A bearer token becomes a principal: verified against the auth service's JWKS, with a cache.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use contracts::auth::{AUDIENCE, Claims, ISSUER};
use contracts::{ApiError, AuthApi, Call, ErrorCode};
use domain::{Clock, Principal};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use sha2::{Digest, Sha256};

/// After an unknown key id, the keys are asked for again at most this often.
const KEY_REFRESH: Duration = Duration::from_secs(10);
/// Clocks of two machines may differ by this much, seconds.
const LEEWAY_S: i64 = 30;
/// Verified tokens that are remembered.
const CACHE_SIZE: usize = 10_000;

/// Verifies tokens. Keys come from the auth service, near or far; while that is down, the last
/// known ones serve on.
pub struct Authenticator {
    auth: Arc<dyn AuthApi>,
    clock: Arc<dyn Clock>,
    keys: tokio::sync::RwLock<Keys>,
    verified: RwLock<HashMap<[u8; 32], Verified>>,
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
}

impl Authenticator {
    /// Verifies with the keys of this auth service.
    pub fn new(auth: Arc<dyn AuthApi>, clock: Arc<dyn Clock>) -> Self {
        Self { auth, clock, keys: tokio::sync::RwLock::default(), verified: RwLock::default() }
    }

    /// The principal that a token proves.
    ///
    /// # Errors
    /// `unauthenticated` that says what is wrong with it; `unavailable` if no key was ever got.
    pub async fn verify(&self, token: &str) -> Result<Arc<Principal>, ApiError> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let now = self.clock.now().unix_timestamp();
        let known =
            self.verified.read().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
        if let Some(known) = known {
            return if known.expires_at + LEEWAY_S > now {
                Ok(known.principal)
            } else {
                Err(expired())
            };
        }
        let claims = self.check(token, now).await?;
        let principal = Arc::new(principal_of(&claims));
        let verified = Verified { principal: Arc::clone(&principal), expires_at: claims.exp };
        let mut cache = self.verified.write().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHE_SIZE {
            cache.retain(|_, verified| verified.expires_at > now);
            if cache.len() >= CACHE_SIZE {
                cache.clear();
            }
        }
        cache.insert(digest, verified);
        Ok(principal)
    }

    async fn check(&self, token: &str, now: i64) -> Result<Claims, ApiError> {
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
        // Times are checked below by our own clock.
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
        if claims.exp + LEEWAY_S <= now {
            return Err(expired());
        }
        if claims.nbf - LEEWAY_S > now {
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
        let jwks = match self.auth.jwks(Call::service("keys", Duration::from_secs(5))).await {
            Ok(jwks) => jwks,
            Err(error) if keys.by_id.is_empty() => {
                tracing::warn!(%error, "no key to verify tokens with: the auth service cannot be reached");
                return Err(ApiError::new(
                    ErrorCode::Unavailable,
                    "tokens cannot be verified yet: the auth service cannot be reached",
                )
                .retry_after(1));
            }
            Err(_) => return Err(unknown()),
        };
        keys.asked_at = Some(Instant::now());
        keys.by_id = jwks
            .keys
            .iter()
            .filter(|key| key.alg == "EdDSA" && key.crv == "Ed25519")
            .filter_map(|key| {
                Some((key.kid.clone(), DecodingKey::from_ed_components(&key.x).ok()?))
            })
            .collect();
        keys.by_id.get(id).cloned().ok_or_else(unknown)
    }
}

fn principal_of(claims: &Claims) -> Principal {
    Principal {
        id: claims.sub.clone(),
        name: claims.name.clone(),
        kind: claims.kind,
        role: claims.role,
        scope: claims.scope.clone(),
    }
}

fn refused(why: &str) -> ApiError {
    ApiError::new(ErrorCode::Unauthenticated, format!("bearer token refused: {why}"))
}

fn expired() -> ApiError {
    refused("it has expired: sign in again with `POST /api/v1/auth/token`")
}
