//! Routes: put, explained, rolled back, switched, looked up in their history.

use domain::route::{Cause, HashKind, Shadow};
use domain::targeting::{Audience, Condition, Fallback};
use domain::{ModelName, PlanId, Role, Route, VersionId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use utoipa::ToSchema;

use domain::prediction::Decision;

/// A route to be put in place.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PutRoute {
    /// The model.
    pub model: ModelName,
    /// What is asked for.
    pub route: NewRoute,
}

/// What of a route a person decides. What is left out is as without it: no rules, no shadows, no
/// fallback, no standby; only the hash stays as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRoute {
    /// Versions with their weights, in any unit: only the ratio counts.
    pub arms: Vec<NewArm>,
    /// How units are hashed. Left out: as it is. It cannot change while the route splits units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<HashKind>,
    /// Looked at in this order; the first that fits decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<NewRule>,
    /// What rules call by a name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub audiences: BTreeMap<String, Audience>,
    /// The versions that are also asked, after the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadows: Vec<Shadow>,
    /// What answers in the place of a version that cannot.
    #[serde(default, skip_serializing_if = "Fallback::is_none")]
    pub fallback: Fallback,
    /// The other set of a blue-green pair: loaded, and one switch away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standby: Vec<NewArm>,
    /// Why; kept in the history.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The generation this change is based on; refused if another change came first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// A version with its weight.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewArm {
    /// The version.
    pub version: VersionId,
    /// Zero or more.
    pub weight: f64,
}

/// A rule of a route to be put in place.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRule {
    /// Names it, within the route.
    pub name: String,
    /// All of them have to hold.
    pub when: Vec<Condition>,
    /// Versions with their weights.
    pub arms: Vec<NewArm>,
}

/// Which version a request would get, and why, with nothing served.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Explain {
    /// The model.
    pub model: ModelName,
    /// What the request would say of itself.
    pub asked: Asked,
}

/// What a request would say of itself. What is left out would not be there.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Asked {
    /// The unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The body's `context`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub context: BTreeMap<String, Value>,
    /// Headers by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The version that it would name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionId>,
    /// The caller's role; else that of who asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The caller's name; else that of who asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
}

/// Which version a request would get.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explained {
    /// The version.
    pub version: VersionId,
    /// What would be logged.
    pub decision: Decision,
    /// The unit's bucket, 0 to 999,999; absent where chance decides anew each time.
    pub bucket: Option<u32>,
    /// How it came about, a sentence for each step.
    pub steps: Vec<String>,
}

/// A rollback asked for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Rollback {
    /// The model.
    pub model: ModelName,
    /// What is asked for.
    pub rollback: NewRollback,
    /// When it was asked for. A rollback that came into force since then is what was asked for: so two
    /// at once, or one that is sent again, lead one step back.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub asked_at: Option<OffsetDateTime>,
}

/// To which version, and why.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewRollback {
    /// The version that is to have everything. Left out: the last stable one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<VersionId>,
    /// Why; kept in the history and in the audit trail.
    pub reason: String,
}

/// What a rollback did. No request that begins after this answer reaches a version it took away.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolledBack {
    /// The model.
    pub model: ModelName,
    /// The version that has everything now.
    pub version: VersionId,
    /// Whether it was stable: had everything for `router.stable_after_s`, and is not blocked.
    pub stable: bool,
    /// The versions that are blocked now.
    pub blocked: Vec<VersionId>,
    /// The route's generation now.
    pub generation: u64,
    /// The routers that have it in force.
    pub acknowledged: Vec<String>,
    /// Those that did not confirm it: they are taken to be dead, and follow when they are not.
    pub unconfirmed: Vec<String>,
    /// Whether the store has it. If not, it is in force all the same, and stored when the store is
    /// back.
    pub stored: bool,
    /// What it ended: rollouts and experiments.
    pub ended: Vec<PlanId>,
    /// Whether another rollback had done it a moment before (`router.rollback.repeat_s`), so that this
    /// one changed nothing. Name the version in `to` to go further back.
    #[serde(default)]
    pub repeated: bool,
    /// From the call to this answer, milliseconds.
    pub took_ms: f64,
}

/// A blocked version that a person clears.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ClearBlock {
    /// The model.
    pub model: ModelName,
    /// The version.
    pub version: VersionId,
    /// Why.
    pub reason: String,
}

/// The two sets of a blue-green pair are to change places.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Switch {
    /// The model.
    pub model: ModelName,
    /// What is asked for.
    pub switch: NewSwitch,
}

/// Why, and based on what.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewSwitch {
    /// Why; kept in the history.
    pub reason: String,
    /// The generation this change is based on; refused if another change came first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// A route that another router put in force.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Imposed {
    /// The route.
    pub route: Route,
    /// Whether the store has it. If not, whoever takes it over keeps it until the store does.
    pub stored: bool,
}

/// What a router says of a route that was imposed on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Acknowledged {
    /// The router's own name.
    pub router: String,
    /// The generation that it has in force now.
    pub generation: u64,
    /// Whether that is the imposed route, or one that came after it.
    pub taken: bool,
}

/// Which routes of a model are asked for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HistoryQuery {
    /// The model.
    pub model: ModelName,
    /// The one that served at this moment; else the newest.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<OffsetDateTime>,
    /// Only those before this generation.
    #[serde(default)]
    pub before: Option<u64>,
    /// How many at most.
    pub limit: u32,
}

/// A model's routes, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// Each route as it was put in force.
    pub routes: Vec<Served>,
}

/// A route and when it served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Served {
    /// The route.
    pub route: Route,
    /// What kind of change made it so.
    pub cause: Cause,
    /// Until when it served; absent for the one in force.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<OffsetDateTime>,
}
