//! API keys, as services tell them to each other and to the public.

use domain::{ApiKey, Role, Scope};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// An API key.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct KeySignIn {
    /// As it was shown when it was made.
    pub key: String,
}

/// An API key to be made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiKey {
    /// For people: which program has it. 1 to 64 characters of `a-z A-Z 0-9 . _ @ -`.
    #[schema(example = "shop-frontend")]
    pub name: String,
    /// Any role but `service`.
    pub role: Role,
    /// What of the role it may use; all, if it is left out.
    #[serde(default)]
    pub scope: Scope,
    /// When it ceases to be good; never, if it is left out.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<OffsetDateTime>,
}

/// An API key, without its secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ApiKeyView {
    /// Names it; the key itself begins with it.
    #[schema(example = "key_h5tq8mwx2c7d")]
    pub id: String,
    /// For people.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// What of that it may use.
    pub scope: Scope,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: OffsetDateTime,
    /// Who made it.
    pub created_by: String,
    /// When it ceases to be good.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<OffsetDateTime>,
    /// When it was last used, to within the life of a token.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<OffsetDateTime>,
    /// When it was revoked.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<OffsetDateTime>,
    /// The key that takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
}

impl From<ApiKey> for ApiKeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            role: key.role,
            scope: key.scope,
            created_at: key.created_at,
            created_by: key.created_by,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
            replaced_by: key.replaced_by,
        }
    }
}

/// All API keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ApiKeyList {
    /// By id.
    pub api_keys: Vec<ApiKeyView>,
}

/// A new API key, the one time it is shown.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct ShownKey {
    /// Send it as `X-API-Key: <key>` or `Authorization: Bearer <key>`. It is kept nowhere.
    pub key: String,
    /// What is kept of it.
    pub api_key: ApiKeyView,
}

/// An API key to be replaced.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RotateKey {
    /// Which.
    pub id: String,
    /// How long the old one is good for yet, seconds; default: the setting `auth.key_overlap_s`.
    pub overlap_s: Option<u64>,
}

/// An API key to be ended.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RevokeKey {
    /// Which.
    pub id: String,
}
