//! The auth service: users, tokens, keys.

use async_trait::async_trait;
use domain::{Principal, PrincipalKind, Revocation, Role, Scope, User, UserId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{ApiError, Call, Done, Endpoint};

mod api_keys;
mod audit;
mod oidc;

pub use api_keys::{ApiKeyList, ApiKeyView, KeySignIn, NewApiKey, RevokeKey, RotateKey, ShownKey};
pub use audit::{AuditFault, AuditPage, AuditQuery, AuditVerdict, Entries};
pub use oidc::{OidcBegun, OidcFinish, ProviderAnswer, ProviderHttp, ProviderRequest};

/// The issuer named in every token.
pub const ISSUER: &str = "decision-engine";
/// The audience named in every token.
pub const AUDIENCE: &str = "decision-engine";

/// What the auth service does.
#[async_trait]
pub trait AuthApi: Send + Sync {
    /// Signs a person or program in by password: begins a session. For anyone.
    async fn sign_in(&self, call: Call, request: SignIn) -> Result<Token, ApiError>;
    /// Begins a sign-in through the identity provider. For anyone. `not_found` where none is set up.
    async fn oidc_begin(&self, call: Call) -> Result<OidcBegun, ApiError>;
    /// Ends a sign-in through the identity provider: begins a session. For anyone; good once.
    async fn oidc_finish(&self, call: Call, request: OidcFinish) -> Result<Token, ApiError>;
    /// Gives new tokens for a refresh token, which is good once: shown again, it ends its session.
    /// For anyone.
    async fn refresh(&self, call: Call, request: Refresh) -> Result<Token, ApiError>;
    /// Ends the caller's session, or all of the caller's. For whoever is signed in.
    async fn sign_out(&self, call: Call, request: SignOut) -> Result<Done, ApiError>;
    /// Replaces the caller's own password, ends all of the caller's sessions and begins a new one.
    async fn change_password(&self, call: Call, request: ChangePassword)
    -> Result<Token, ApiError>;
    /// Gives a token for an API key. For anyone.
    async fn exchange_key(&self, call: Call, request: KeySignIn) -> Result<Token, ApiError>;
    /// Gives one of the engine's own services a token, for the secret that they share.
    async fn service_token(&self, call: Call, request: ServiceSignIn) -> Result<Token, ApiError>;
    /// The public keys that tokens are verified with. For anyone.
    async fn jwks(&self, call: Call) -> Result<Jwks, ApiError>;
    /// Makes a new signing key: published at once, it signs a little later. For admins.
    async fn rotate_signing_key(&self, call: Call) -> Result<Jwks, ApiError>;
    /// What ceased to be good of late: ids and moments, no secrets. For anyone.
    async fn revocations(&self, call: Call, request: Since) -> Result<Revocations, ApiError>;
    /// Lists the users. For admins.
    async fn users(&self, call: Call) -> Result<UserList, ApiError>;
    /// Makes a user. For admins. `conflict` if the name is taken.
    async fn create_user(&self, call: Call, request: NewUser) -> Result<UserView, ApiError>;
    /// Changes a user; tokens got before are no longer good. For admins. `conflict` if no admin were
    /// left.
    async fn change_user(&self, call: Call, request: UserChange) -> Result<UserView, ApiError>;
    /// Lists the API keys. For admins.
    async fn api_keys(&self, call: Call) -> Result<ApiKeyList, ApiError>;
    /// Makes an API key, and shows it this once. For admins.
    async fn create_api_key(&self, call: Call, request: NewApiKey) -> Result<ShownKey, ApiError>;
    /// Makes an API key in the place of another, which is good for a while yet. For admins.
    async fn rotate_api_key(&self, call: Call, request: RotateKey) -> Result<ShownKey, ApiError>;
    /// Ends an API key. For admins.
    async fn revoke_api_key(&self, call: Call, request: RevokeKey) -> Result<ApiKeyView, ApiError>;
    /// Adds entries to the audit trail. For the engine's own services.
    async fn record(&self, call: Call, request: Entries) -> Result<Done, ApiError>;
    /// Reads the audit trail. For admins; analysts see what was done to models.
    async fn audit(&self, call: Call, request: AuditQuery) -> Result<AuditPage, ApiError>;
    /// Looks whether each entry of the audit trail is there and as it was written. For admins.
    async fn verify_audit(&self, call: Call) -> Result<AuditVerdict, ApiError>;
}

/// [`AuthApi::sign_in`].
pub const SIGN_IN: Endpoint<SignIn, Token> = Endpoint::new("/internal/auth/sign-in");
/// [`AuthApi::oidc_begin`].
pub const OIDC_BEGIN: Endpoint<(), OidcBegun> = Endpoint::repeatable("/internal/auth/oidc-begin");
/// [`AuthApi::oidc_finish`].
pub const OIDC_FINISH: Endpoint<OidcFinish, Token> = Endpoint::new("/internal/auth/oidc-finish");
/// [`AuthApi::refresh`].
pub const REFRESH: Endpoint<Refresh, Token> = Endpoint::new("/internal/auth/refresh");
/// [`AuthApi::sign_out`].
pub const SIGN_OUT: Endpoint<SignOut, Done> = Endpoint::repeatable("/internal/auth/sign-out");
/// [`AuthApi::change_password`].
pub const CHANGE_PASSWORD: Endpoint<ChangePassword, Token> =
    Endpoint::new("/internal/auth/change-password");
/// [`AuthApi::exchange_key`].
pub const EXCHANGE_KEY: Endpoint<KeySignIn, Token> =
    Endpoint::repeatable("/internal/auth/exchange-key");
/// [`AuthApi::service_token`].
pub const SERVICE_TOKEN: Endpoint<ServiceSignIn, Token> =
    Endpoint::repeatable("/internal/auth/service-token");
/// [`AuthApi::jwks`].
pub const JWKS: Endpoint<(), Jwks> = Endpoint::repeatable("/internal/auth/jwks");
/// [`AuthApi::rotate_signing_key`].
pub const ROTATE_SIGNING_KEY: Endpoint<(), Jwks> =
    Endpoint::new("/internal/auth/rotate-signing-key");
/// [`AuthApi::revocations`].
pub const REVOCATIONS: Endpoint<Since, Revocations> =
    Endpoint::repeatable("/internal/auth/revocations");
/// [`AuthApi::users`].
pub const USERS: Endpoint<(), UserList> = Endpoint::repeatable("/internal/auth/users");
/// [`AuthApi::create_user`].
pub const CREATE_USER: Endpoint<NewUser, UserView> = Endpoint::new("/internal/auth/create-user");
/// [`AuthApi::change_user`].
pub const CHANGE_USER: Endpoint<UserChange, UserView> =
    Endpoint::repeatable("/internal/auth/change-user");
/// [`AuthApi::api_keys`].
pub const API_KEYS: Endpoint<(), ApiKeyList> = Endpoint::repeatable("/internal/auth/api-keys");
/// [`AuthApi::create_api_key`].
pub const CREATE_API_KEY: Endpoint<NewApiKey, ShownKey> =
    Endpoint::new("/internal/auth/create-api-key");
/// [`AuthApi::rotate_api_key`].
pub const ROTATE_API_KEY: Endpoint<RotateKey, ShownKey> =
    Endpoint::new("/internal/auth/rotate-api-key");
/// [`AuthApi::revoke_api_key`].
pub const REVOKE_API_KEY: Endpoint<RevokeKey, ApiKeyView> =
    Endpoint::repeatable("/internal/auth/revoke-api-key");
/// [`AuthApi::record`].
pub const RECORD: Endpoint<Entries, Done> = Endpoint::new("/internal/auth/record");
/// [`AuthApi::audit`].
pub const AUDIT: Endpoint<AuditQuery, AuditPage> = Endpoint::repeatable("/internal/auth/audit");
/// [`AuthApi::verify_audit`].
pub const VERIFY_AUDIT: Endpoint<(), AuditVerdict> =
    Endpoint::repeatable("/internal/auth/verify-audit");

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
    /// Good once, for new tokens at `POST /api/v1/auth/refresh`. Absent where there is no session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// How long the refresh token is good for, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_expires_in: Option<u64>,
}

/// What a token says. `sub` is the user's id or the service's name.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "registered claims of RFC 7519")]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    pub sub: String,
    pub exp: i64,
    pub nbf: i64,
    pub iat: i64,
    pub jti: String,
    /// When it was issued, milliseconds since 1970: what was revoked before does not touch it.
    pub issued_ms: i64,
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

impl From<Claims> for Principal {
    fn from(claims: Claims) -> Self {
        Self {
            id: claims.sub,
            name: claims.name,
            kind: claims.kind,
            role: claims.role,
            scope: claims.scope,
            session: claims.sid,
        }
    }
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
    /// What of the role the user may use; all, if it is left out.
    #[serde(default)]
    pub scope: Scope,
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
    /// What of the role the user may use.
    #[serde(default)]
    pub scope: Scope,
    /// Whether the user may not sign in.
    #[serde(default)]
    pub disabled: bool,
    /// Who vouches for the user, if the user signs in elsewhere: the issuer, a space, the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            username: user.username,
            role: user.role,
            created_at: user.created_at,
            created_by: user.created_by,
            scope: user.scope,
            disabled: user.disabled,
            identity: user.identity,
        }
    }
}

/// All users.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UserList {
    /// By user name.
    pub users: Vec<UserView>,
}

/// A refresh token.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// As it came with the access token.
    pub refresh_token: String,
}

/// How far to sign out.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignOut {
    /// All of the caller's sessions, on all devices.
    #[serde(default)]
    pub everywhere: bool,
}

/// A user's old and new password.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The one in force.
    pub old_password: String,
    /// At least as long as the setting `auth.password_min_length`, and none that many people use.
    pub new_password: String,
}

/// Since when.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Since {
    /// The moment.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// What ceased to be good.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Revocations {
    /// Sessions, API keys, users.
    pub ended: Vec<Revocation>,
}

/// What is to change about a user. What is left out stays.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct UserChange {
    /// Whose.
    pub username: String,
    /// What.
    pub change: UserPatch,
}

/// What is to change about a user. What is left out stays.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    /// Any role but `service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// What of the role the user may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Whether the user may not sign in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// A new password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}
