//! Who is calling, and what a role may do.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::UserId;

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

/// A caller whose token was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Principal {
    /// The user's id, or the service's name.
    pub id: String,
    /// The user name, for people to read.
    pub name: String,
    /// What it may do.
    pub role: Role,
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
    /// The password's argon2id hash, in PHC form.
    pub password_hash: String,
    /// When the account was made.
    pub created_at: OffsetDateTime,
    /// Who made it: a user name, or `first start`.
    pub created_by: String,
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
