//! Who is calling, and what a role may do.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{ModelName, UserId};

/// What a caller may do. A route names the roles it serves; a role may also stand in for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Admin,
    /// Models, routes, experiments; also all that analysts and clients may.
    Engineer,
    /// Reads data and results; writes nothing.
    Analyst,
    /// Asks for predictions and sends feedback.
    Client,
    /// One of the engine's own services; never given to a person.
    Service,
}

impl Role {
    /// Whether a caller with this role may use what asks for `required`.
    pub fn may(self, required: Self) -> bool {
        match self {
            Self::Admin => true,
            Self::Engineer => matches!(required, Self::Engineer | Self::Analyst | Self::Client),
            Self::Analyst | Self::Client | Self::Service => self == required,
        }
    }

    /// The role's name, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Engineer => "engineer",
            Self::Analyst => "analyst",
            Self::Client => "client",
            Self::Service => "service",
        }
    }

    /// The role of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Admin, Self::Engineer, Self::Analyst, Self::Client, Self::Service]
            .into_iter()
            .find(|role| role.as_str() == name)
    }
}

/// What a caller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// A person, or a program that signs in by password.
    User,
    /// A program with an API key.
    ApiKey,
    /// One of the engine's own services.
    Service,
}

/// What a caller may use of what its role allows. Empty lists allow all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The models; those that are not named do not exist for the caller.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<ModelName>)]
    pub models: BTreeSet<ModelName>,
    /// The routes, as the table of routes has them, such as `POST /api/v1/feedback`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub routes: BTreeSet<String>,
}

impl Scope {
    /// Whether the model may be used.
    pub fn has_model(&self, model: &ModelName) -> bool {
        self.models.is_empty() || self.models.contains(model)
    }

    /// Whether the route, `<verb> <path with {names}>`, may be used.
    pub fn has_route(&self, route: &str) -> bool {
        self.routes.is_empty() || self.routes.contains(route)
    }
}

/// A caller whose credential was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Principal {
    /// The id of the user or the API key, or the service's name.
    pub id: String,
    /// The user's, the key's or the service's name, for people to read.
    pub name: String,
    /// What it is.
    pub kind: PrincipalKind,
    /// What it may do.
    pub role: Role,
    /// What of that it may use.
    #[serde(default)]
    pub scope: Scope,
    /// The session or the API key that proved it; empty for services.
    #[serde(skip)]
    pub session: String,
}

impl Principal {
    /// One of the engine's own services.
    pub fn service(name: &str) -> Self {
        Self {
            id: name.to_owned(),
            name: name.to_owned(),
            kind: PrincipalKind::Service,
            role: Role::Service,
            scope: Scope::default(),
            session: String::new(),
        }
    }

    /// A user who may use all that the role allows.
    pub fn user(id: &str, name: &str, role: Role) -> Self {
        Self { kind: PrincipalKind::User, role, id: id.to_owned(), ..Self::service(name) }
    }
}

/// An account, as the store keeps it. The hash never leaves the auth service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Names the user for good.
    pub id: UserId,
    /// What the user types to sign in; unique.
    pub username: String,
    /// What the user may do.
    pub role: Role,
    /// The password's argon2id hash, in PHC form; empty where it has none.
    pub password_hash: String,
    /// When the account was made.
    pub created_at: OffsetDateTime,
    /// Who made it: a user name, or `first start`.
    pub created_by: String,
    /// What of the role it may use.
    pub scope: Scope,
    /// Whether it may not sign in.
    pub disabled: bool,
    /// Tokens that were issued before are no longer good.
    pub tokens_from: OffsetDateTime,
    /// Who vouches for it, if it signs in elsewhere: the issuer, a space, the subject.
    pub identity: Option<String>,
    /// Counts the changes; refused unless one more than in the store.
    pub revision: u32,
}

impl User {
    /// A new user who may use all that the role allows.
    pub fn new(username: &str, role: Role, created_by: &str, now: OffsetDateTime) -> Self {
        Self {
            id: UserId::new(),
            username: username.to_owned(),
            role,
            password_hash: String::new(),
            created_at: now,
            created_by: created_by.to_owned(),
            scope: Scope::default(),
            disabled: false,
            tokens_from: OffsetDateTime::UNIX_EPOCH,
            identity: None,
            revision: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Role;

    #[test]
    fn roles_stand_in_as_documented() {
        assert!(Role::Admin.may(Role::Service));
        assert!(Role::Engineer.may(Role::Client));
        assert!(!Role::Engineer.may(Role::Admin));
        assert!(!Role::Analyst.may(Role::Client));
        assert!(!Role::Client.may(Role::Analyst));
        assert!(!Role::Engineer.may(Role::Service));
    }
}
