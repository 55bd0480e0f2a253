//! The identity provider: what it tells of itself, codes for tokens, and what it knows of a person.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contracts::Deadline;
use contracts::auth::{ProviderAnswer, ProviderHttp, ProviderRequest};
use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;

use super::id_token::Claims;
use super::settings::{Settings, is_safe};
use super::url::encoded;
use crate::AuthError;

/// After a failure, and after a key that was not known, the provider is asked again no sooner.
const PAUSE: Duration = Duration::from_secs(10);

/// What a provider tells of itself (OpenID Connect Discovery 1.0, section 3).
#[derive(Clone, Deserialize)]
pub(super) struct Document {
    issuer: String,
    pub(super) authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
    /// Whether it says who it is where the browser comes back (RFC 9207).
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

/// What is known of the provider.
pub(super) struct Known {
    pub(super) document: Document,
    pub(super) keys: Vec<Jwk>,
    read_at: Instant,
    renew_at: Instant,
}

/// What a code was exchanged for.
#[derive(Deserialize)]
pub(super) struct Tokens {
    pub(super) id_token: String,
    access_token: String,
}

/// The provider of the settings.
pub(super) struct Provider {
    http: Arc<dyn ProviderHttp>,
    known: Mutex<Option<Arc<Known>>>,
}

impl Provider {
    pub(super) fn new(http: Arc<dyn ProviderHttp>) -> Self {
        Self { http, known: Mutex::default() }
    }

    /// What is known of the provider. While it cannot be reached, what was known last.
    pub(super) async fn known(
        &self,
        settings: &Settings,
        deadline: Deadline,
    ) -> Result<Arc<Known>, AuthError> {
        let mut known = self.known.lock().await;
        if let Some(known) = &*known
            && Instant::now() < known.renew_at
        {
            return Ok(Arc::clone(known));
        }
        let fresh = match (self.read(settings, deadline).await, &*known) {
            (Ok(fresh), _) => fresh,
            (Err(error), Some(last)) => {
                tracing::warn!(%error, "what the identity provider told last is used on");
                let (document, keys) = (last.document.clone(), last.keys.clone());
                Known { document, keys, read_at: last.read_at, renew_at: Instant::now() + PAUSE }
            }
            (Err(error), None) => return Err(error),
        };
        Ok(Arc::clone(known.insert(Arc::new(fresh))))
    }

    /// The same, read anew for a key that is not in it, unless that was a moment ago.
    pub(super) async fn with_new_keys(
        &self,
        settings: &Settings,
        deadline: Deadline,
    ) -> Result<Arc<Known>, AuthError> {
        let mut known = self.known.lock().await;
        if let Some(known) = &*known
            && known.read_at.elapsed() < PAUSE
        {
            return Ok(Arc::clone(known));
        }
        Ok(Arc::clone(known.insert(Arc::new(self.read(settings, deadline).await?))))
    }

    async fn read(&self, settings: &Settings, deadline: Deadline) -> Result<Known, AuthError> {
        let base = settings.issuer.trim_end_matches('/');
        let url = format!("{base}/.well-known/openid-configuration");
        let document: Document = self.get(settings, deadline, url, None).await?;
        if document.issuer != settings.issuer {
            let why = format!(
                "it calls itself `{}`, but the setting `auth.oidc.issuer` is `{}`",
                document.issuer, settings.issuer
            );
            return Err(AuthError::Provider(why));
        }
        let urls = [&document.authorization_endpoint, &document.token_endpoint, &document.jwks_uri];
        if let Some(url) =
            urls.into_iter().chain(&document.userinfo_endpoint).find(|url| !is_safe(url))
        {
            return Err(AuthError::Provider(format!(
                "it names `{url}`, where others could listen"
            )));
        }
        #[derive(Deserialize)]
        struct Keys {
            keys: Vec<Value>,
        }
        let url = document.jwks_uri.clone();
        let Keys { keys } = self.get(settings, deadline, url, None).await?;
        // Keys of kinds that are not known here are passed over.
        let keys = keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect();
        let now = Instant::now();
        let renew_at = now + Duration::from_secs(settings.refresh_s.into());
        Ok(Known { document, keys, read_at: now, renew_at })
    }

    /// Exchanges a code (RFC 6749, section 4.1.3).
    pub(super) async fn exchange(
        &self,
        settings: &Settings,
        deadline: Deadline,
        document: &Document,
        code: String,
        verifier: String,
    ) -> Result<Tokens, AuthError> {
        let mut form = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code),
            ("redirect_uri", settings.redirect_url.clone()),
            ("code_verifier", verifier),
        ];
        let (id, secret) = (settings.client_id.clone(), settings.client_secret.reveal());
        let methods = &document.token_endpoint_auth_methods_supported;
        let has = |name: &str| methods.iter().any(|method| method == name);
        let authorization = if has("client_secret_post") && !has("client_secret_basic") {
            form.extend([("client_id", id), ("client_secret", secret.to_owned())]);
            None
        } else {
            let pair = format!("{}:{}", encoded(&id), encoded(secret));
            Some(format!("Basic {}", STANDARD.encode(pair)))
        };
        let url = document.token_endpoint.clone();
        let answer = self.ask(settings, deadline, url.clone(), Some(form), authorization).await?;
        if answer.status == 400 || answer.status == 401 {
            #[derive(Deserialize)]
            struct Refusal {
                error: String,
            }
            let refusal = serde_json::from_slice::<Refusal>(&answer.body).ok();
            return Err(match refusal.as_ref().map(|refusal| refusal.error.as_str()) {
                Some("invalid_grant") => AuthError::NotVouchedFor(
                    "the provider does not take the code: it was used before, or is too old"
                        .to_owned(),
                ),
                other => {
                    let other = super::plain(other.unwrap_or("no reason"));
                    AuthError::Provider(format!(
                        "it does not take this engine for its client ({other}): check `auth.oidc.client_id`, `client_secret` and `redirect_url`"
                    ))
                }
            });
        }
        parse(&url, &answer)
    }

    /// What the provider tells of a person beyond the ID token (OpenID Connect Core 1.0, section 5.3);
    /// nothing, if it has no such endpoint.
    pub(super) async fn userinfo(
        &self,
        settings: &Settings,
        deadline: Deadline,
        document: &Document,
        tokens: &Tokens,
        subject: &str,
    ) -> Result<Claims, AuthError> {
        let Some(url) = document.userinfo_endpoint.clone() else { return Ok(Claims::new()) };
        let bearer = format!("Bearer {}", tokens.access_token);
        let claims: Claims = self.get(settings, deadline, url, Some(bearer)).await?;
        if claims.get("sub").and_then(Value::as_str) != Some(subject) {
            let why = "what the provider's `userinfo` tells is about somebody else (`sub`)";
            return Err(AuthError::NotVouchedFor(why.to_owned()));
        }
        Ok(claims)
    }

    async fn get<T: DeserializeOwned>(
        &self,
        settings: &Settings,
        deadline: Deadline,
        url: String,
        authorization: Option<String>,
    ) -> Result<T, AuthError> {
        let answer = self.ask(settings, deadline, url.clone(), None, authorization).await?;
        parse(&url, &answer)
    }

    async fn ask(
        &self,
        settings: &Settings,
        deadline: Deadline,
        url: String,
        form: Option<Vec<(&'static str, String)>>,
        authorization: Option<String>,
    ) -> Result<ProviderAnswer, AuthError> {
        let patience = Duration::from_millis(settings.timeout_ms.into()).min(deadline.left());
        let max_bytes = settings.max_answer_bytes;
        let request = ProviderRequest { url, form, authorization, patience, max_bytes };
        Ok(self.http.ask(request).await?)
    }
}

fn parse<T: DeserializeOwned>(url: &str, answer: &ProviderAnswer) -> Result<T, AuthError> {
    if answer.status != 200 {
        return Err(AuthError::Provider(format!("`{url}` answers with status {}", answer.status)));
    }
    serde_json::from_slice(&answer.body).map_err(|error| {
        // Where it went wrong, without what was answered: that may hold tokens.
        let (line, column) = (error.line(), error.column());
        AuthError::Provider(format!("`{url}` answers what does not fit, at {line}:{column}"))
    })
}
