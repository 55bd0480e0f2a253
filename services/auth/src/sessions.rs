//! Sessions: begun by a password, carried on by refresh tokens that are good once each.

use contracts::auth::{Refresh, SignIn, SignOut, Token};
use contracts::{Call, Done};
use domain::{Credential, CredentialKind, Principal, Session, User};
use runtime::audit::Change;
use serde_json::json;
use storage::StoreError;
use time::Duration;

use crate::service::Auth;
use crate::{AuthError, random, secrets};

/// What a session's id begins with.
const PREFIX: &str = "ses_";

impl Auth {
    pub(crate) async fn try_sign_in(
        &self,
        call: &Call,
        request: SignIn,
    ) -> Result<Token, AuthError> {
        let SignIn { username, password } = request;
        let user = self.deps.accounts.user_by_name(&username).await?;
        match self.check_password(call, &username, user, password).await {
            Ok(user) => self.begin_session(call, &user).await,
            Err(error) => {
                let action = "session.begin";
                if matches!(error, AuthError::WrongPassword | AuthError::LockedOut { .. }) {
                    self.trail.refused(call, action, &format!("user:{username}"), &error);
                }
                Err(error)
            }
        }
    }

    pub(crate) async fn begin_session(&self, call: &Call, user: &User) -> Result<Token, AuthError> {
        let now = self.deps.clock.now();
        let (token, secret) = secrets::make()?;
        let session = Session {
            id: random::id(PREFIX)?,
            user: user.id,
            secret,
            created_at: now,
            used_at: now,
            expires_at: now + self.longest(user),
            ended_at: None,
            revision: 1,
        };
        self.deps.credentials.put(Credential::Session(session.clone())).await?;
        let principal = principal_of(user, &session);
        let call = Call { principal: Some(principal.clone()), ..call.clone() };
        let target = format!("user:{}", user.username);
        let after = json!({"session": session.id});
        self.trail
            .done(&call, Change { action: "session.begin", target, after, ..Change::default() })
            .await;
        self.tokens_of(principal, &session, &token)
    }

    pub(crate) async fn try_refresh(
        &self,
        call: &Call,
        request: Refresh,
    ) -> Result<Token, AuthError> {
        let (id, secret) = request.refresh_token.split_once('.').ok_or(AuthError::NoSession)?;
        let kind = CredentialKind::Session;
        let Some(Credential::Session(session)) = self.deps.credentials.get(kind, id).await? else {
            return Err(AuthError::NoSession);
        };
        let now = self.deps.clock.now();
        let idle = Duration::seconds(self.settings.refresh_ttl_s.into());
        if session.ended_at.is_some() || now >= session.expires_at || now >= session.used_at + idle
        {
            return Err(AuthError::NoSession);
        }
        if !secrets::matches(secret, &session.secret) {
            return Err(self.replayed(call, session).await);
        }
        let user = self.deps.accounts.user(session.user).await?;
        let user = user.filter(|user| !user.disabled && user.tokens_from <= session.created_at);
        let user = user.ok_or(AuthError::NoSession)?;
        let (token, secret) = secrets::make()?;
        let next =
            Session { secret, used_at: now, revision: session.revision + 1, ..session.clone() };
        match self.deps.credentials.put(Credential::Session(next.clone())).await {
            Ok(()) => self.tokens_of(principal_of(&user, &next), &next, &token),
            // Another one was quicker with the same token.
            Err(StoreError::Conflict { .. }) => Err(self.replayed(call, session).await),
            Err(error) => Err(error.into()),
        }
    }

    /// A refresh token came a second time: somebody has it who should not, and nobody knows who.
    async fn replayed(&self, call: &Call, session: Session) -> AuthError {
        let target = format!("session:{}", session.id);
        if let Err(error) = self.end_session(&session.id).await {
            return error;
        }
        self.trail.refused(call, "session.refresh", &target, &AuthError::Replayed);
        AuthError::Replayed
    }

    /// Ends a session, whatever else happens to it.
    async fn end_session(&self, id: &str) -> Result<(), AuthError> {
        loop {
            let found = self.deps.credentials.get(CredentialKind::Session, id).await?;
            let Some(Credential::Session(session)) = found else { return Ok(()) };
            if session.ended_at.is_some() {
                return Ok(());
            }
            let ended_at = Some(self.deps.clock.now());
            let ended = Session { ended_at, revision: session.revision + 1, ..session };
            match self.deps.credentials.put(Credential::Session(ended)).await {
                Err(StoreError::Conflict { .. }) => {}
                outcome => return Ok(outcome?),
            }
        }
    }

    pub(crate) async fn try_sign_out(
        &self,
        call: &Call,
        request: SignOut,
    ) -> Result<Done, AuthError> {
        let caller = signed_in(call)?;
        let target = format!("user:{}", caller.name);
        let action = if request.everywhere {
            let user = self.own_account(caller).await?;
            self.end_tokens(user).await?;
            "session.end_all"
        } else {
            self.end_session(&caller.session).await?;
            "session.end"
        };
        self.trail.done(call, Change { action, target, ..Change::default() }).await;
        Ok(Done {})
    }

    /// Ends all that was got so far for a user.
    pub(crate) async fn end_tokens(&self, user: User) -> Result<(), AuthError> {
        let tokens_from = self.deps.clock.now();
        let changed = User { tokens_from, revision: user.revision + 1, ..user };
        Ok(self.deps.accounts.update_user(changed).await?)
    }

    fn longest(&self, user: &User) -> Duration {
        let settings = &self.settings;
        let longest = settings.session_ttl_s;
        // What is taken away elsewhere counts from the next sign-in.
        let there = user.identity.is_some().then_some(settings.oidc.session_ttl_s);
        Duration::seconds(there.map_or(longest, |there| there.min(longest)).into())
    }

    fn tokens_of(
        &self,
        principal: Principal,
        session: &Session,
        refresh: &str,
    ) -> Result<Token, AuthError> {
        let mut token = self.token(principal, None)?;
        let left = session.expires_at - session.used_at;
        let left = u64::try_from(left.whole_seconds()).unwrap_or_default();
        token.refresh_token = Some(format!("{}.{refresh}", session.id));
        token.refresh_expires_in = Some(left.min(self.settings.refresh_ttl_s.into()));
        Ok(token)
    }
}

/// The caller, if it is a person or program that signed in.
pub(crate) fn signed_in(call: &Call) -> Result<&Principal, AuthError> {
    use domain::Role;

    let caller = call.require(&[Role::Client, Role::Analyst])?;
    if caller.session.starts_with(PREFIX) { Ok(caller) } else { Err(AuthError::NotASession) }
}

fn principal_of(user: &User, session: &Session) -> Principal {
    Principal {
        scope: user.scope.clone(),
        session: session.id.clone(),
        ..Principal::user(&user.id.to_string(), &user.username, user.role)
    }
}
