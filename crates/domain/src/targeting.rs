//! Whom a rule means: conditions on the unit, the caller, the request's context and headers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::VersionId;
use crate::route::{Arm, Segment};

/// A rule of a route: who meets all its conditions gets its arms. The first rule that fits decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rule {
    /// Names it, within its route.
    pub name: String,
    /// All of them have to hold.
    pub when: Vec<Condition>,
    /// The versions that answer, each with its share.
    pub arms: Vec<Arm>,
    /// Which buckets belong to which arm, under the route's salt.
    #[serde(default)]
    pub segments: Vec<Segment>,
}

/// One condition. Exactly one of its comparisons is given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Condition {
    /// What is looked at: `unit`, `role`, `caller` (its name), `context.<key>` or `header.<name>`.
    /// Left out where `audience` is given.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// It is this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equals: Option<Value>,
    /// It is one of these.
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<Value>>,
    /// It is a number within.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<Range>,
    /// It is a text that begins so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// It is there, or not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
    /// The caller belongs to this audience of the route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The condition holds where it otherwise would not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub not: bool,
}

/// Numbers from `min` to below `max`; an end that is left out is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Range {
    /// The least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The first that is too large.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// A segment of the users, named once and used by many rules: a list of units, or conditions of
/// which all have to hold, or both, of which one suffices.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Audience {
    /// These units belong to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<String>,
    /// Who meets all of these belongs to it. They name no audience.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Condition>,
}

/// What a request says of itself, beside its payload: what rules look at.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Context {
    /// The body's `context`: a flat object of texts, numbers and truth values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Value>,
    /// Headers by their lower-case names; only those that [`is_routing_header`] names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

impl Context {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.headers.is_empty()
    }
}

/// Whether rules may look at this header (lower case): `user-agent`, `accept-language`, and every
/// `x-...` but those that carry secrets, are made by proxies or mean something else here.
pub fn is_routing_header(name: &str) -> bool {
    let not_these =
        ["x-request-id", "x-real-ip", "x-user-id", "x-unit-id", "x-deadline-ms", "x-model-version"];
    let secrets = ["key", "token", "secret", "auth", "authorization", "password", "signature"];
    matches!(name, "user-agent" | "accept-language")
        || (name.starts_with("x-")
            && !name.starts_with("x-forwarded")
            && !not_these.contains(&name)
            && !name.split('-').any(|word| secrets.contains(&word)))
}

/// Another version, in the place of one that cannot answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Fallback {
    /// Tried in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<VersionId>,
    /// Whether then the last good answer to the same input will do.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub last_good: bool,
    /// Answered when nothing else can be: goes into the answer's `prediction`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
}

impl Fallback {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.versions.is_empty() && !self.last_good && self.default.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_carry_secrets_or_come_from_proxies_are_kept_from_rules() {
        for name in ["user-agent", "accept-language", "x-tier", "x-app-version", "x-keyboard"] {
            assert!(is_routing_header(name), "{name}");
        }
        for name in [
            "authorization",
            "cookie",
            "x-api-key",
            "x-auth-token",
            "x-amz-security-token",
            "x-forwarded-for",
            "x-real-ip",
            "x-request-id",
            "x-model-version",
            "accept",
        ] {
            assert!(!is_routing_header(name), "{name}");
        }
    }
}
