//! Who came back from the identity provider: which user, in which role.

use contracts::Call;
use domain::{Credential, CredentialKind, Identity, Principal, Role, User};
use runtime::audit::Change;
use serde_json::Value;
use storage::StoreError;

use super::id_token::{Claims, claim};
use super::settings::Settings;
use crate::service::{Auth, MAX_NAME};
use crate::users::told;
use crate::{AuthError, secrets};

/// What the name of a user begins with who signs in through the provider. The `:` is in no name that
/// an admin gives.
const PREFIX: &str = "oidc:";
/// Who made such a user.
const CREATED_BY: &str = "identity provider";
/// Why somebody is not let in who is known to the provider.
const NO_ROLE: &str = "none of the groups that the provider tells is in `auth.oidc.roles`";
/// How often a change is tried again that another one came before.
const TRIES: usize = 5;

/// What the provider says about a person.
pub(super) struct Person {
    /// The issuer, a space, the subject: for good, whatever the person is called.
    identity: String,
    name: Option<String>,
    /// What the person may do, if anything.
    role: Option<Role>,
}

impl Person {
    /// Of claims that were verified.
    pub(super) fn of(settings: &Settings, subject: &str, claims: &Claims) -> Self {
        let groups: Vec<&str> = match claim(claims, &settings.groups_claim) {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(one)) => vec![one.as_str()],
            _ => Vec::new(),
        };
        let name = claim(claims, &settings.username_claim).and_then(Value::as_str);
        Self {
            identity: format!("{} {subject}", settings.issuer),
            name: name.map(str::to_owned),
            role: settings.role_of(&groups),
        }
    }

    /// What the user is called, if the provider tells a name that can be one.
    fn username(&self, settings: &Settings) -> Result<String, AuthError> {
        let claim = &settings.username_claim;
        let refuse = |who: &str, why: String| AuthError::NotLetIn { who: who.to_owned(), why };
        let Some(name) = &self.name else {
            let why = format!(
                "the provider tells no `{claim}`: an admin can set `auth.oidc.username_claim` and `scopes`"
            );
            return Err(refuse("somebody", why));
        };
        let longest = MAX_NAME - PREFIX.len();
        let of_name = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'@' | b'-' | b'+')
        };
        if !(1..=longest).contains(&name.len()) || !name.bytes().all(of_name) {
            let shown: String =
                name.chars().take(MAX_NAME).flat_map(char::escape_default).collect();
            let why = format!(
                "the claim `{claim}` is `{shown}`, but it must be 1 to {longest} characters of `A-Z a-z 0-9 . _ @ - +`"
            );
            return Err(refuse("somebody", why));
        }
        Ok(format!("{PREFIX}{name}"))
    }
}

impl Auth {
    /// The user that a person is, made at the first time, in the role that the provider's groups give
    /// now.
    pub(super) async fn user_of(
        &self,
        call: &Call,
        settings: &Settings,
        person: &Person,
    ) -> Result<User, AuthError> {
        let refuse = |who, why: &str| AuthError::NotLetIn { who, why: why.to_owned() };
        for _ in 0..TRIES {
            let user = match (self.known_user(&person.identity).await?, person.role) {
                (Some(user), _) if user.disabled => {
                    return Err(refuse(user.username, "the user is disabled"));
                }
                (Some(user), Some(role)) if user.role == role => Some(user),
                (Some(user), Some(role)) => self.change_role(call, user, role).await?,
                (Some(user), None) => {
                    let who = user.username.clone();
                    // Who is in no group any more keeps no session either.
                    self.end_tokens(user).await?;
                    return Err(refuse(who, NO_ROLE));
                }
                (None, Some(role)) => self.make_user(call, settings, person, role).await?,
                (None, None) => return Err(refuse(person.username(settings)?, NO_ROLE)),
            };
            if let Some(user) = user {
                return Ok(user);
            }
        }
        Err(AuthError::Busy)
    }

    async fn known_user(&self, identity: &str) -> Result<Option<User>, AuthError> {
        match self.identity(identity).await? {
            Some(Identity { user, .. }) => Ok(self.deps.accounts.user(user).await?),
            None => Ok(None),
        }
    }

    async fn identity(&self, identity: &str) -> Result<Option<Identity>, AuthError> {
        let id = secrets::digest(identity);
        match self.deps.credentials.get(CredentialKind::Identity, &id).await? {
            Some(Credential::Identity(known)) => Ok(Some(known)),
            _ => Ok(None),
        }
    }

    /// Makes the user. `None` if another replica did so meanwhile.
    async fn make_user(
        &self,
        call: &Call,
        settings: &Settings,
        person: &Person,
        role: Role,
    ) -> Result<Option<User>, AuthError> {
        let username = person.username(settings)?;
        let new = User::new(&username, role, CREATED_BY, self.deps.clock.now());
        // First whose user it is: one whose making was broken off is made under this id later.
        let id = match self.identity(&person.identity).await? {
            Some(known) => known.user,
            None => {
                let id = secrets::digest(&person.identity);
                let identity = Identity { id, user: new.id, revision: 1 };
                match self.deps.credentials.put(Credential::Identity(identity)).await {
                    Err(StoreError::Conflict { .. }) => return Ok(None),
                    outcome => outcome?,
                }
                new.id
            }
        };
        let user = User { id, identity: Some(person.identity.clone()), ..new };
        match self.deps.accounts.create_user(user.clone()).await {
            Ok(()) => {}
            Err(StoreError::Conflict { .. }) => {
                if self.deps.accounts.user(id).await?.is_some() {
                    return Ok(None);
                }
                let why = "somebody else of the provider has this name here".to_owned();
                return Err(AuthError::NotLetIn { who: username, why });
            }
            Err(error) => return Err(error.into()),
        }
        let (target, after) = (format!("user:{username}"), told(&user));
        let change = Change { action: "user.create", target, after, ..Change::default() };
        self.trail.done(&by_themselves(call, &user), change).await;
        Ok(Some(user))
    }

    /// Gives the user another role, and ends what was got with the old one. `None` if the user was
    /// changed meanwhile.
    async fn change_role(
        &self,
        call: &Call,
        user: User,
        role: Role,
    ) -> Result<Option<User>, AuthError> {
        let tokens_from = self.deps.clock.now();
        let changed = User { role, tokens_from, revision: user.revision + 1, ..user.clone() };
        if let Err(error) = self.deps.accounts.update_user(changed.clone()).await {
            // The other conflict is that no admin were left.
            let now = self.deps.accounts.user(user.id).await?;
            let is_changed = now.is_none_or(|now| now.revision != user.revision);
            let is_conflict = matches!(error, StoreError::Conflict { .. });
            return if is_conflict && is_changed { Ok(None) } else { Err(error.into()) };
        }
        let target = format!("user:{}", user.username);
        let (before, after) = (told(&user), told(&changed));
        let change = Change { action: "user.change", target, before, after, ..Change::default() };
        self.trail.done(&by_themselves(call, &changed), change).await;
        Ok(Some(changed))
    }
}

/// The call, as of the user who just proved to be one.
fn by_themselves(call: &Call, user: &User) -> Call {
    let principal = Principal::user(&user.id.to_string(), &user.username, user.role);
    Call { principal: Some(principal), ..call.clone() }
}
