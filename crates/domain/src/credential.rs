//! What proves who somebody is, as the store keeps it: sessions, API keys, who people are elsewhere,
//! and the failures to sign in. No secret is among it: of those only digests are kept.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{Role, Scope, UserId};

/// A sign-in that lasts as long as its refresh tokens are used: each is good once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Session {
    /// Begins with `ses_`.
    pub id: String,
    pub user: UserId,
    /// SHA-256 of the one refresh token that is good now, lower-case hex.
    pub secret: String,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub used_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
    /// Counts the changes; refused unless one more than in the store.
    pub revision: u32,
}

/// A key that a program shows instead of signing in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ApiKey {
    /// Begins with `key_`; the key's own text begins with it, too.
    pub id: String,
    pub name: String,
    /// SHA-256 of the key, lower-case hex.
    pub secret: String,
    pub role: Role,
    pub scope: Scope,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    pub created_by: String,
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
    /// To within the time that a token for it is good.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_used_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub revoked_at: Option<OffsetDateTime>,
    /// The key that takes its place.
    pub replaced_by: Option<String>,
    /// Counts the changes; refused unless one more than in the store.
    pub revision: u32,
}

/// Failures to sign in under a name, whether or not there is such a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIns {
    /// SHA-256 of the name, lower-case hex.
    pub id: String,
    /// Tries since the last one that succeeded, those under way included.
    pub failures: u32,
    /// No try counts before this moment.
    #[serde(with = "time::serde::rfc3339")]
    pub blocked_until: OffsetDateTime,
    /// When it is forgotten.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// Counts the changes; refused unless one more than in the store.
    pub revision: u32,
}

/// Which user a person is who signs in through an identity provider. It stays when the person's name
/// changes there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// SHA-256 of the issuer, a space and the subject, lower-case hex.
    pub id: String,
    /// The user; made right after this is kept.
    pub user: UserId,
    /// Counts the changes; refused unless one more than in the store.
    pub revision: u32,
}

/// A sign-in that came back from an identity provider: none comes back twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedState {
    /// SHA-256 of its `state`, lower-case hex.
    pub id: String,
    /// When it is forgotten: it is too late to come back then.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// Counts the changes; refused unless one more than in the store.
    pub revision: u32,
}

/// Any of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the types say it")]
pub enum Credential {
    Session(Session),
    ApiKey(ApiKey),
    SignIns(SignIns),
    Identity(Identity),
    UsedState(UsedState),
}

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the types say it")]
pub enum CredentialKind {
    Session,
    ApiKey,
    SignIns,
    Identity,
    UsedState,
}

impl CredentialKind {
    /// The name in a store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::ApiKey => "api_key",
            Self::SignIns => "sign_ins",
            Self::Identity => "identity",
            Self::UsedState => "used_state",
        }
    }
}

impl Credential {
    /// Which it is.
    pub fn kind(&self) -> CredentialKind {
        match self {
            Self::Session(_) => CredentialKind::Session,
            Self::ApiKey(_) => CredentialKind::ApiKey,
            Self::SignIns(_) => CredentialKind::SignIns,
            Self::Identity(_) => CredentialKind::Identity,
            Self::UsedState(_) => CredentialKind::UsedState,
        }
    }

    /// Names it among its kind.
    pub fn id(&self) -> &str {
        match self {
            Self::Session(session) => &session.id,
            Self::ApiKey(key) => &key.id,
            Self::SignIns(sign_ins) => &sign_ins.id,
            Self::Identity(identity) => &identity.id,
            Self::UsedState(state) => &state.id,
        }
    }

    /// Counts its changes.
    pub fn revision(&self) -> u32 {
        match self {
            Self::Session(session) => session.revision,
            Self::ApiKey(key) => key.revision,
            Self::SignIns(sign_ins) => sign_ins.revision,
            Self::Identity(identity) => identity.revision,
            Self::UsedState(state) => state.revision,
        }
    }

    /// When tokens got with it ceased to be good.
    pub fn ended_at(&self) -> Option<OffsetDateTime> {
        match self {
            Self::Session(session) => session.ended_at,
            Self::ApiKey(key) => key.revoked_at,
            Self::SignIns(_) | Self::Identity(_) | Self::UsedState(_) => None,
        }
    }

    /// When it may be forgotten. API keys never are: what was done with one keeps its name. Nor are
    /// identities: one who is disabled stays so.
    pub fn forgotten_at(&self) -> Option<OffsetDateTime> {
        match self {
            Self::Session(session) => Some(session.expires_at),
            Self::ApiKey(_) | Self::Identity(_) => None,
            Self::SignIns(sign_ins) => Some(sign_ins.expires_at),
            Self::UsedState(state) => Some(state.expires_at),
        }
    }
}

/// What ceased to be good: all tokens of it that were issued before a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Revocation {
    /// The id of a session, an API key or a user.
    pub id: String,
    /// Tokens issued before are refused; of a session or a key, all.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}
