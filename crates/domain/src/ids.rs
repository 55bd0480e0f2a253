//! Names and identifiers. Each type proves its own rule, so nobody checks twice.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// An identifier that breaks its rule; the text names the value and the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// A model name.
    #[error(
        "model name `{0}` must be 1 to 128 characters of `A-Z a-z 0-9 . _ -` and start with a letter or digit"
    )]
    ModelName(String),
    /// A version number.
    #[error("version `{0}` must be a whole number from 1, as the registry counts them")]
    VersionId(String),
    /// A prediction id.
    #[error("prediction id `{0}` must be a UUID")]
    PredictionId(String),
    /// An id of an experiment, a rollout or a layer.
    #[error("id `{0}` must be `exp_`, `rol_` or `lay_` and 32 digits of lower-case hex")]
    PlanId(String),
    /// A metric's name.
    #[error(
        "metric name `{0}` must be 1 to 64 characters of `A-Z a-z 0-9 . _ -`, start with a letter or digit, and not be `label` or `value`"
    )]
    MetricName(String),
    /// An id of something else that has a UUID: what it is, and the text.
    #[error("{0} id `{1}` must be a UUID")]
    Uuid(&'static str, String),
}

/// The name of a model, unique in the registry and safe in a path or a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "iris", pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
pub struct ModelName(String);

impl ModelName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ModelName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let goes_on_well =
            text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if starts_well && goes_on_well && text.len() <= 128 {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId::ModelName(text.chars().take(200).collect()))
        }
    }
}

impl TryFrom<String> for ModelName {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<ModelName> for String {
    fn from(name: ModelName) -> Self {
        name.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a version within its model: 1, 2, 3, as the registry counts. JSON shows it as text.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "1", pattern = "^[1-9][0-9]{0,8}$")]
pub struct VersionId(u32);

impl VersionId {
    /// The version with this number; `None` for 0.
    pub fn new(number: u32) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    /// The number, at least 1.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl FromStr for VersionId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        // One way to write each: `+1` and `01` are none.
        let is_number = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = is_number.then(|| text.parse().ok()).flatten();
        number
            .and_then(Self::new)
            .ok_or_else(|| InvalidId::VersionId(text.chars().take(200).collect()))
    }
}

impl TryFrom<String> for VersionId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<VersionId> for String {
    fn from(version: VersionId) -> Self {
        version.0.to_string()
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one prediction, and is enough to send feedback for it. A version 7 UUID: sorts by time.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
#[schema(value_type = String, format = Uuid)]
pub struct PredictionId(Uuid);

impl PredictionId {
    /// A new id, later in order than those before it.
    #[expect(clippy::new_without_default, reason = "each call makes another id")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl FromStr for PredictionId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text.parse() {
            Ok(uuid) => Ok(Self(uuid)),
            Err(_) => Err(InvalidId::PredictionId(text.chars().take(200).collect())),
        }
    }
}

impl fmt::Display for PredictionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one user, for good: a user keeps it when the user name changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = Uuid)]
pub struct UserId(Uuid);

impl UserId {
    /// A new id.
    #[expect(clippy::new_without_default, reason = "each call makes another id")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl From<Uuid> for UserId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Ids that are UUIDs of version 7: they sort by time.
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
        )]
        #[serde(transparent)]
        #[schema(value_type = String, format = Uuid)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, later in order than those before it.
            #[expect(clippy::new_without_default, reason = "each call makes another id")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                match text.parse() {
                    Ok(uuid) => Ok(Self(uuid)),
                    Err(_) => Err(InvalidId::Uuid($what, text.chars().take(200).collect())),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id! {
    /// Names one event, also to those who are sent it more than once.
    EventId, "event"
}
uuid_id! {
    /// Names one webhook.
    WebhookId, "webhook"
}
uuid_id! {
    /// Names one event's way to one webhook.
    DeliveryId, "delivery"
}

/// Names one request on all its hops, in logs and in problem documents.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String)]
pub struct RequestId(String);

impl RequestId {
    /// A new id.
    #[expect(clippy::new_without_default, reason = "each call makes another id")]
    pub fn new() -> Self {
        Self(Uuid::now_v7().simple().to_string())
    }

    /// Takes the id a caller sent: 1 to 128 visible ASCII characters. Anything else gets a new id.
    pub fn accept(text: &str) -> Self {
        let fits = !text.is_empty() && text.len() <= 128;
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Self(text.to_owned())
        } else {
            Self::new()
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_name_keeps_to_safe_characters() {
        assert!("iris".parse::<ModelName>().is_ok());
        assert!("flights-2013_v1.b".parse::<ModelName>().is_ok());
        for bad in ["", "-iris", "../etc", "a b", "é", &"a".repeat(129)] {
            assert!(bad.parse::<ModelName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_version_is_text_in_json_and_never_zero() {
        let version: VersionId = "3".parse().unwrap();
        assert_eq!(serde_json::to_string(&version).unwrap(), "\"3\"");
        assert!("0".parse::<VersionId>().is_err());
        for bad in ["v1", "+1", "01", "", "4294967296"] {
            assert!(bad.parse::<VersionId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_request_id_from_outside_cannot_smuggle_control_characters() {
        assert_eq!(RequestId::accept("abc-1").as_str(), "abc-1");
        assert_ne!(RequestId::accept("a\nb").as_str(), "a\nb");
    }
}
