//! Users: made, changed, listed; their own password.

use contracts::auth::{ChangePassword, NewUser, Token, UserChange, UserView};
use contracts::{ApiError, Call, Deadline, Faults};
use domain::{Principal, Role, User};
use runtime::audit::Change;
use serde_json::{Value, json};
use storage::StoreError;

use crate::AuthError;
use crate::service::{Auth, is_name};
use crate::sessions::signed_in;

/// What [`is_name`] takes.
pub(crate) const NAME_RULE: &str = "must be 1 to 64 characters of `A-Z a-z 0-9 . _ @ -`";
pub(crate) const ROLE_RULE: &str = "must not be `service`, which is for the engine's own";

impl Auth {
    pub(crate) async fn user(
        &self,
        username: &str,
        password: String,
        role: Role,
        created_by: &str,
        deadline: Deadline,
    ) -> Result<User, AuthError> {
        let password_hash = self.passwords.hash(password, deadline).await?;
        let new = User::new(username, role, created_by, self.deps.clock.now());
        Ok(User { password_hash, ..new })
    }

    pub(crate) async fn try_create_user(
        &self,
        call: &Call,
        request: NewUser,
    ) -> Result<UserView, AuthError> {
        let admin = call.require(&[Role::Admin])?;
        let NewUser { username, password, role, scope } = request;
        let mut faults = Faults::default();
        if !is_name(&username) {
            faults.add("#/username", NAME_RULE);
        }
        if let Some(why) = self.passwords.fault(&username, &password) {
            faults.add("#/password", why);
        }
        if role == Role::Service {
            faults.add("#/role", ROLE_RULE);
        }
        faults.check()?;
        let user = self.user(&username, password, role, &admin.name, call.deadline).await?;
        let user = User { scope, ..user };
        self.deps.accounts.create_user(user.clone()).await?;
        let (target, after) = (format!("user:{username}"), told(&user));
        self.trail
            .done(call, Change { action: "user.create", target, after, ..Change::default() })
            .await;
        Ok(user.into())
    }

    pub(crate) async fn try_change_user(
        &self,
        call: &Call,
        request: UserChange,
    ) -> Result<UserView, AuthError> {
        call.require(&[Role::Admin])?;
        let UserChange { username, change } = request;
        if change.role == Some(Role::Service) {
            return Err(ApiError::at("#/role", ROLE_RULE).into());
        }
        let Some(before) = self.deps.accounts.user_by_name(&username).await? else {
            return Err(StoreError::NotFound { what: "user", id: username }.into());
        };
        let mut user = before.clone();
        if let Some(password) = change.password {
            if user.identity.is_some() {
                let why = "must be left out: this user signs in through the identity provider";
                return Err(ApiError::at("#/password", why).into());
            }
            if let Some(why) = self.passwords.fault(&username, &password) {
                return Err(ApiError::at("#/password", why).into());
            }
            user.password_hash = self.passwords.hash(password, call.deadline).await?;
        }
        user.role = change.role.unwrap_or(user.role);
        user.scope = change.scope.unwrap_or(user.scope);
        user.disabled = change.disabled.unwrap_or(user.disabled);
        if user == before {
            return Ok(user.into());
        }
        user.tokens_from = self.deps.clock.now();
        user.revision += 1;
        self.deps.accounts.update_user(user.clone()).await?;
        let mut after = told(&user);
        if user.password_hash != before.password_hash
            && let Some(after) = after.as_object_mut()
        {
            after.insert("password".to_owned(), json!("replaced"));
        }
        let (target, before) = (format!("user:{username}"), told(&before));
        let change = Change { action: "user.change", target, before, after, ..Change::default() };
        self.trail.done(call, change).await;
        Ok(user.into())
    }

    pub(crate) async fn try_change_password(
        &self,
        call: &Call,
        request: ChangePassword,
    ) -> Result<Token, AuthError> {
        let caller = signed_in(call)?;
        let ChangePassword { old_password, new_password } = request;
        let user = self.own_account(caller).await?;
        if user.password_hash.is_empty() {
            let why = "this account has none: it signs in through the identity provider";
            return Err(ApiError::at("#/old_password", why).into());
        }
        let (name, target) = (user.username.clone(), format!("user:{}", user.username));
        let user = match self.check_password(call, &name, Some(user), old_password).await {
            Ok(user) => user,
            Err(error) => {
                self.trail.refused(call, "user.password", &target, &error);
                return Err(match error {
                    // 401 would say that the token is no good.
                    AuthError::WrongPassword => ApiError::at("#/old_password", "is wrong").into(),
                    error => error,
                });
            }
        };
        if let Some(why) = self.passwords.fault(&name, &new_password) {
            return Err(ApiError::at("#/new_password", why).into());
        }
        let user = User {
            password_hash: self.passwords.hash(new_password, call.deadline).await?,
            tokens_from: self.deps.clock.now(),
            revision: user.revision + 1,
            ..user
        };
        self.deps.accounts.update_user(user.clone()).await?;
        self.trail
            .done(call, Change { action: "user.password", target, ..Change::default() })
            .await;
        self.begin_session(call, &user).await
    }

    /// The caller's account as it is now.
    pub(crate) async fn own_account(&self, caller: &Principal) -> Result<User, AuthError> {
        let user = self.deps.accounts.user_by_name(&caller.name).await?;
        user.filter(|user| user.id.to_string() == caller.id).ok_or(AuthError::NoSession)
    }
}

/// What the audit trail keeps of a user.
pub(crate) fn told(user: &User) -> Value {
    json!({"role": user.role, "scope": user.scope, "disabled": user.disabled})
}
