//! Users, tokens, keys.

use async_trait::async_trait;
use contracts::auth::{
    AUDIENCE, Claims, ISSUER, Jwks, NewUser, ServiceSignIn, SignIn, Token, UserList, UserView,
};
use contracts::{ApiError, AuthApi, Call, Deadline, FieldError};
use domain::{Principal, Role, User, UserId};
use storage::StoreError;

use crate::keys::{Keys, ServiceSecret};
use crate::passwords::Passwords;
use crate::{AuthError, Deps, Settings, random};

/// The name of the user made at the first start.
const ADMIN: &str = "admin";
/// The most characters of a user's or a service's name.
const MAX_NAME: usize = 64;
/// The most characters of a password.
const MAX_PASSWORD: usize = 1024;

/// The auth service.
pub struct Auth {
    settings: Settings,
    deps: Deps,
    keys: Keys,
    secret: ServiceSecret,
    passwords: Passwords,
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
        Ok(Self {
            keys: Keys::open(&settings.keys_dir)?,
            secret: ServiceSecret::open(&settings.service_secret_file)?,
            passwords: Passwords::new(&settings)?,
            settings,
            deps,
        })
    }

    /// Makes the user `admin` if there are no users, with the password of the setting
    /// `auth.admin_password` or a generated one. Of several processes that do so at once, one does.
    ///
    /// # Errors
    /// [`AuthError::Store`]; [`AuthError::Busy`] if hashing takes more than a minute.
    pub async fn first_start(&self) -> Result<FirstStart, AuthError> {
        if !self.deps.accounts.users().await?.is_empty() {
            return Ok(FirstStart::HasUsers);
        }
        let given = self.settings.admin_password.reveal();
        let generated_password = given.is_empty().then(random::password).transpose()?;
        let password = generated_password.clone().unwrap_or_else(|| given.to_owned());
        let deadline = Deadline::after(std::time::Duration::from_secs(60));
        let user = self.user(ADMIN, password, Role::Admin, "first start", deadline).await?;
        match self.deps.accounts.create_user(user).await {
            Ok(()) => {
                Ok(FirstStart::AdminCreated { username: ADMIN.to_owned(), generated_password })
            }
            Err(StoreError::Conflict { .. }) => Ok(FirstStart::HasUsers),
            Err(error) => Err(error.into()),
        }
    }

    async fn user(
        &self,
        username: &str,
        password: String,
        role: Role,
        created_by: &str,
        deadline: Deadline,
    ) -> Result<User, AuthError> {
        Ok(User {
            id: UserId::new(),
            username: username.to_owned(),
            role,
            password_hash: self.passwords.hash(password, deadline).await?,
            created_at: self.deps.clock.now(),
            created_by: created_by.to_owned(),
        })
    }

    fn token(&self, sid: String, principal: Principal) -> Result<Token, AuthError> {
        let now = self.deps.clock.now().unix_timestamp();
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: principal.id,
            exp: now + i64::from(self.settings.token_ttl_s),
            nbf: now,
            iat: now,
            jti: random::token()?,
            sid,
            name: principal.name,
            kind: principal.kind,
            role: principal.role,
            scope: principal.scope,
        };
        Ok(Token {
            access_token: self.keys.sign(&claims)?,
            token_type: "Bearer".to_owned(),
            expires_in: self.settings.token_ttl_s.into(),
            role: principal.role,
        })
    }

    async fn try_sign_in(&self, call: Call, request: SignIn) -> Result<Token, AuthError> {
        let user = self.deps.accounts.user_by_name(&request.username).await?;
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        let matches = self.passwords.matches(request.password, hash, call.deadline).await?;
        match user {
            Some(user) if matches => {
                let principal = Principal::user(&user.id.to_string(), &user.username, user.role);
                self.token(String::new(), principal)
            }
            _ => Err(AuthError::WrongPassword),
        }
    }

    async fn try_create_user(&self, call: Call, request: NewUser) -> Result<UserView, AuthError> {
        let admin = call.require(&[Role::Admin])?;
        self.check_new_user(&request)?;
        let NewUser { username, password, role } = request;
        let user = self.user(&username, password, role, &admin.name, call.deadline).await?;
        self.deps.accounts.create_user(user.clone()).await?;
        tracing::info!(
            user.name = username,
            user.role = role.as_str(),
            created_by = admin.name,
            "made user `{username}`"
        );
        Ok(user.into())
    }

    /// Refuses all that is wrong with a new user at once.
    fn check_new_user(&self, request: &NewUser) -> Result<(), ApiError> {
        let mut errors = Vec::new();
        let mut refuse = |pointer: &str, detail: String| {
            errors.push(FieldError { pointer: pointer.to_owned(), detail });
        };
        if !is_name(&request.username) {
            refuse("#/username", "must be 1 to 64 characters of `A-Z a-z 0-9 . _ @ -`".to_owned());
        }
        let least = self.settings.password_min_length;
        if !(least..=MAX_PASSWORD).contains(&request.password.chars().count()) {
            refuse("#/password", format!("must be {least} to {MAX_PASSWORD} characters"));
        }
        if request.role == Role::Service {
            refuse("#/role", "must not be `service`, which is for the engine's own".to_owned());
        }
        if errors.is_empty() { Ok(()) } else { Err(ApiError::fields(errors)) }
    }
}

#[async_trait]
impl AuthApi for Auth {
    async fn sign_in(&self, call: Call, request: SignIn) -> Result<Token, ApiError> {
        Ok(self.try_sign_in(call, request).await?)
    }

    async fn service_token(&self, _call: Call, request: ServiceSignIn) -> Result<Token, ApiError> {
        if !self.secret.is(&request.secret) {
            return Err(AuthError::WrongSecret.into());
        }
        if !is_name(&request.service) {
            let rule = "must be 1 to 64 characters of `A-Z a-z 0-9 . _ @ -`";
            return Err(ApiError::at("#/service", rule));
        }
        Ok(self.token(String::new(), Principal::service(&request.service))?)
    }

    async fn jwks(&self, _call: Call) -> Result<Jwks, ApiError> {
        Ok(self.keys.public.clone())
    }

    async fn users(&self, call: Call) -> Result<UserList, ApiError> {
        call.require(&[Role::Admin])?;
        let users = self.deps.accounts.users().await.map_err(AuthError::from)?;
        Ok(UserList { users: users.into_iter().map(UserView::from).collect() })
    }

    async fn create_user(&self, call: Call, request: NewUser) -> Result<UserView, ApiError> {
        Ok(self.try_create_user(call, request).await?)
    }
}

fn is_name(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'@' | b'-');
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed)
}
