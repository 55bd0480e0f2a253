//! Sign-in of people through an identity provider: OpenID Connect, the authorisation code flow with
//! PKCE. It ends in a session like any other.
//!
//! Reading order: [`settings`], `ticket` (what the browser keeps meanwhile), `provider` (asked over
//! HTTP), `id_token` (verified), `people` (which user, in which role).

use std::sync::Arc;

use contracts::Call;
use contracts::auth::{OidcBegun, OidcFinish, ProviderHttp, Token};
use domain::{Credential, UsedState, User};
use storage::StoreError;
use time::{Duration, OffsetDateTime};

use crate::keys::secret_key;
use crate::service::Auth;
use crate::{AuthError, secrets};

mod id_token;
mod people;
mod provider;
pub mod settings;
mod ticket;
mod url;

pub use settings::Settings;

use id_token::{Claims, Expected, Fault, claim};
use people::Person;
use provider::{Known, Provider};
use ticket::Ticket;

/// The identity provider, if the settings name one.
pub(crate) struct Oidc {
    settings: Settings,
    provider: Provider,
    /// Seals what browsers keep; all replicas have it.
    key: [u8; 32],
}

impl Oidc {
    /// Reads the key, or makes it, where there is a provider.
    pub(crate) fn open(
        settings: &crate::Settings,
        http: Arc<dyn ProviderHttp>,
    ) -> Result<Option<Self>, AuthError> {
        if !settings.oidc.is_on() {
            return Ok(None);
        }
        let key = secret_key(&settings.keys_dir, "sign-in.key")?;
        Ok(Some(Self { settings: settings.oidc.clone(), provider: Provider::new(http), key }))
    }
}

impl Auth {
    fn oidc(&self) -> Result<&Oidc, AuthError> {
        self.oidc.as_ref().ok_or(AuthError::NoProvider)
    }

    pub(crate) async fn try_oidc_begin(&self, call: &Call) -> Result<OidcBegun, AuthError> {
        let Oidc { settings, provider, key } = self.oidc()?;
        let known = provider.known(settings, call.deadline).await?;
        let ticket = Ticket::issue(key, self.deps.clock.now().unix_timestamp())?;
        let location = url::with_query(
            &known.document.authorization_endpoint,
            &[
                ("response_type", "code"),
                ("client_id", &settings.client_id),
                ("redirect_uri", &settings.redirect_url),
                ("scope", &settings.scopes.0.join(" ")),
                ("state", &ticket.state),
                ("nonce", &ticket.nonce),
                ("code_challenge", &ticket.challenge()),
                ("code_challenge_method", "S256"),
            ],
        );
        Ok(OidcBegun {
            location,
            cookie: ticket.cookie,
            max_age_s: settings.sign_in_ttl_s,
            path: settings::path_of(&settings.redirect_url).to_owned(),
            secure: settings.redirect_url.starts_with("https://"),
        })
    }

    pub(crate) async fn try_oidc_finish(
        &self,
        call: &Call,
        request: OidcFinish,
    ) -> Result<Token, AuthError> {
        let error = match self.who_came_back(call, self.oidc()?, request).await {
            Ok(user) => return self.begin_session(call, &user).await,
            Err(error) => error,
        };
        let target = match &error {
            AuthError::NotVouchedFor(_) => Some("user:".to_owned()),
            AuthError::NotLetIn { who, .. } => Some(format!("user:{who}")),
            _ => None,
        };
        if let Some(target) = target {
            self.trail.refused(call, "session.begin", &target, &error);
        }
        Err(error)
    }

    async fn who_came_back(
        &self,
        call: &Call,
        oidc: &Oidc,
        request: OidcFinish,
    ) -> Result<User, AuthError> {
        let Oidc { settings, provider, key } = oidc;
        let ticket = Ticket::read(key, &request.cookie).ok_or_else(|| {
            no("this browser did not begin it, or has lost the cookie of it meanwhile")
        })?;
        self.use_up(settings, &ticket, &request.state).await?;
        if let Some(error) = &request.error {
            return Err(no(&format!("the provider says `{}`", plain(error))));
        }
        let known = provider.known(settings, call.deadline).await?;
        let document = &known.document;
        let is_theirs = match request.issuer.as_deref() {
            Some(issuer) => issuer == settings.issuer,
            None => !document.authorization_response_iss_parameter_supported,
        };
        if !is_theirs {
            return Err(no(
                "another provider than the one that it was begun with came back (`iss`)",
            ));
        }
        if request.code.is_empty() {
            return Err(no("the provider gave no code"));
        }
        let Ticket { nonce, verifier, .. } = ticket;
        let tokens =
            provider.exchange(settings, call.deadline, document, request.code, verifier).await?;
        let mut claims = self.verified(call, oidc, &known, &tokens.id_token, &nonce).await?;
        let subject = claims.get("sub").and_then(|sub| sub.as_str()).unwrap_or_default().to_owned();
        let wanted = [&settings.groups_claim, &settings.username_claim];
        if wanted.iter().any(|name| claim(&claims, name).is_none()) {
            let more =
                provider.userinfo(settings, call.deadline, document, &tokens, &subject).await?;
            // What is signed counts before what is told.
            for (name, value) in more {
                claims.entry(name).or_insert(value);
            }
        }
        let person = Person::of(settings, &subject, &claims);
        self.user_of(call, settings, &person).await
    }

    /// Checks what came back against what was sent away, and sees to it that it comes back once.
    async fn use_up(
        &self,
        settings: &Settings,
        ticket: &Ticket,
        state: &str,
    ) -> Result<(), AuthError> {
        if !secrets::matches(state, &secrets::digest(&ticket.state)) {
            return Err(no("it is not the one that this browser began last (`state`)"));
        }
        let leeway = i64::from(settings.leeway_s);
        let until = ticket.issued_at + i64::from(settings.sign_in_ttl_s);
        let now = self.deps.clock.now().unix_timestamp();
        if !(ticket.issued_at - leeway..until).contains(&now) {
            return Err(no("it took longer than `auth.oidc.sign_in_ttl_s`"));
        }
        // Replicas' clocks differ.
        let expires_at = OffsetDateTime::from_unix_timestamp(until)
            .map_err(|_cause| no("too late"))?
            + Duration::seconds(leeway);
        let used = UsedState { id: secrets::digest(state), expires_at, revision: 1 };
        match self.deps.credentials.put(Credential::UsedState(used)).await {
            Err(StoreError::Conflict { .. }) => Err(no("it came back before")),
            outcome => Ok(outcome?),
        }
    }

    async fn verified(
        &self,
        call: &Call,
        oidc: &Oidc,
        known: &Known,
        token: &str,
        nonce: &str,
    ) -> Result<Claims, AuthError> {
        let Oidc { settings, provider, .. } = oidc;
        let expected = Expected {
            issuer: &settings.issuer,
            client_id: &settings.client_id,
            nonce,
            algorithms: &settings.pinned(),
            leeway_s: settings.leeway_s.into(),
            now: self.deps.clock.now().unix_timestamp(),
        };
        let outcome = match id_token::verify(token, &known.keys, &expected) {
            Err(Fault::UnknownKey) => {
                let known = provider.with_new_keys(settings, call.deadline).await?;
                id_token::verify(token, &known.keys, &expected)
            }
            outcome => outcome,
        };
        outcome.map_err(|fault| {
            let why = match fault {
                Fault::UnknownKey => "no key of the provider is for it",
                Fault::Wrong(why) => why,
            };
            no(&format!("the ID token is refused: {why}"))
        })
    }
}

fn no(why: &str) -> AuthError {
    AuthError::NotVouchedFor(why.to_owned())
}

/// What others wrote, without what could be more than a word.
fn plain(text: &str) -> String {
    let of_word =
        |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | ' ');
    text.chars().filter(of_word).take(60).collect()
}
