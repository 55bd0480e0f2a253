//! The auth service: users, tokens, keys.

use async_trait::async_trait;
use domain::{PrincipalKind, Role, Scope, User, UserId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{ApiError, Call, Endpoint};

/// The issuer named in every token.
pub const ISSUER: &str = "decision-engine";
/// The audience named in every token.
pub const AUDIENCE: &str = "decision-engine";

/// What the auth service does.
#[async_trait]
pub trait AuthApi: Send + Sync {
    /// Signs a person or program in by password. For anyone.
    async fn sign_in(&self, call: Call, request: SignIn) -> Result<Token, ApiError>;
    /// Gives one of the engine's own services a token, for the secret that they share.
    async fn service_token(&self, call: Call, request: ServiceSignIn) -> Result<Token, ApiError>;
    /// The public keys that tokens are verified with. For anyone.
    async fn jwks(&self, call: Call) -> Result<Jwks, ApiError>;
    /// Lists the users. For admins.
    async fn users(&self, call: Call) -> Result<UserList, ApiError>;
    /// Makes a user. For admins. `conflict` if the name is taken.
    async fn create_user(&self, call: Call, request: NewUser) -> Result<UserView, ApiError>;
}

/// [`AuthApi::sign_in`].
pub const SIGN_IN: Endpoint<SignIn, Token> = Endpoint::new("/internal/auth/sign-in");
/// [`AuthApi::service_token`].
pub const SERVICE_TOKEN: Endpoint<ServiceSignIn, Token> =
    Endpoint::repeatable("/internal/auth/service-token");
/// [`AuthApi::jwks`].
pub const JWKS: Endpoint<(), Jwks> = Endpoint::repeatable("/internal/auth/jwks");
/// [`AuthApi::users`].
pub const USERS: Endpoint<(), UserList> = Endpoint::repeatable("/internal/auth/users");
/// [`AuthApi::create_user`].
pub const CREATE_USER: Endpoint<NewUser, UserView> = Endpoint::new("/internal/auth/create-user");

/// A user name with its password.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The user name.
    #[schema(example = "admin")]
    pub username: String,
    /// The password.
    pub password: String,
}

/// A service's name with the secret that the services share.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceSignIn {
    /// Which service.
    pub service: String,
    /// The shared secret.
    pub secret: String,
}

/// An access token.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// A JWT, signed with EdDSA. Send it as `Authorization: Bearer <token>`.
    pub access_token: String,
    /// Always `Bearer`.
    #[schema(example = "Bearer")]
    pub token_type: String,
    /// How long it is good for, in seconds.
    pub expires_in: u64,
    /// What it lets its bearer do.
    pub role: Role,
}

/// What a token says. `sub` is the user's id or the service's name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "registered claims of RFC 7519")]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    pub sub: String,
    pub exp: i64,
    pub nbf: i64,
    pub iat: i64,
    pub jti: String,
    /// The session or the API key that it was got with: when that ends, so does the token.
    pub sid: String,
    /// The name of the user, the key or the service.
    pub name: String,
    pub kind: PrincipalKind,
    /// What the bearer may do.
    pub role: Role,
    /// What of that it may use.
    #[serde(default)]
    pub scope: Scope,
}

/// Public keys, as RFC 7517 has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Jwks {
    /// The keys.
    pub keys: Vec<Jwk>,
}

/// One Ed25519 public key (RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Jwk {
    /// Always `OKP`.
    pub kty: String,
    /// Always `Ed25519`.
    pub crv: String,
    /// Always `EdDSA`.
    pub alg: String,
    /// Always `sig`.
    #[serde(rename = "use")]
    pub usage: String,
    /// Names the key.
    pub kid: String,
    /// The public key, 32 bytes in base64url.
    pub x: String,
}

/// A user to be made.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// 1 to 64 characters of `a-z A-Z 0-9 . _ @ -`.
    pub username: String,
    /// At least as long as the setting `auth.password_min_length`.
    pub password: String,
    /// Any role but `service`.
    pub role: Role,
}

/// A user, without secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UserView {
    /// Names the user for good.
    pub id: UserId,
    /// What the user signs in with.
    pub username: String,
    /// What the user may do.
    pub role: Role,
    /// When the account was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Who made it.
    pub created_by: String,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            username: user.username,
            role: user.role,
            created_at: user.created_at,
            created_by: user.created_by,
        }
    }
}

/// All users.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UserList {
    /// By user name.
    pub users: Vec<UserView>,
}
