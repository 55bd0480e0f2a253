//! Events: every change of state and every decision, for people and machines that follow them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{EventId, ModelName};

/// Something that happened. Made once, never changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Names it.
    pub id: EventId,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: OffsetDateTime,
    /// What.
    pub kind: EventKind,
    /// The model it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// What it is about, such as `model:iris` or `webhook:0199...`.
    #[schema(example = "model:iris")]
    pub subject: String,
    /// Who did it: a user's, key's or service's name.
    pub actor: String,
    /// Why, where that was said or found out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// More, by kind: of a change what was there `before` and is there `after`.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Object)]
    pub data: Value,
}

/// What kind of event: words with dots, such as `route.changed`. What comes before the last dot is the
/// group it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "route.changed", pattern = "^[a-z][a-z0-9_]*([.][a-z0-9_]+)*$")]
pub struct EventKind(Cow<'static, str>);

/// A kind of event, or a pattern of kinds, that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "kind `{0}` must be at most {MOST_CHARS} characters of `a-z 0-9 _`, in words with dots between them, such as `route.changed`; of a pattern the last may be a dot, such as `rollout.`"
)]
pub struct InvalidKind(String);

/// The longest kind.
const MOST_CHARS: usize = 64;

impl EventKind {
    /// A kind that the code names.
    pub const fn of(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The kind as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The kinds that there are. Kinds of things to come are added here, so that all are found in one
/// place.
pub mod kinds {
    use super::EventKind;

    /// A model was registered.
    pub const MODEL_CREATED: EventKind = EventKind::of("model.created");
    /// A version was registered.
    pub const VERSION_REGISTERED: EventKind = EventKind::of("version.registered");
    /// Versions may be served from now on.
    pub const VERSION_LOADED: EventKind = EventKind::of("version.loaded");
    /// Versions may not be served any more.
    pub const VERSION_UNLOADED: EventKind = EventKind::of("version.unloaded");
    /// An alias was set, moved or removed.
    pub const ALIAS_CHANGED: EventKind = EventKind::of("alias.changed");
    /// Another route is in force.
    pub const ROUTE_CHANGED: EventKind = EventKind::of("route.changed");
    /// Another policy is in force.
    pub const POLICY_CHANGED: EventKind = EventKind::of("policy.changed");
    /// A person rolled back.
    pub const ROUTE_ROLLED_BACK: EventKind = EventKind::of("route.rolled_back");
    /// The two sets of a blue-green pair changed places.
    pub const ROUTE_SWITCHED: EventKind = EventKind::of("route.switched");
    /// A blocked version may be routed again.
    pub const VERSION_CLEARED: EventKind = EventKind::of("version.cleared");
    /// An experiment was planned.
    pub const EXPERIMENT_CREATED: EventKind = EventKind::of("experiment.created");
    /// An experiment assigns units from now on.
    pub const EXPERIMENT_STARTED: EventKind = EventKind::of("experiment.started");
    /// An experiment assigns none for now.
    pub const EXPERIMENT_PAUSED: EventKind = EventKind::of("experiment.paused");
    /// An experiment assigns units again.
    pub const EXPERIMENT_RESUMED: EventKind = EventKind::of("experiment.resumed");
    /// An experiment has other weights, by a person or by its bandit.
    pub const EXPERIMENT_WEIGHTS_CHANGED: EventKind = EventKind::of("experiment.weights_changed");
    /// An experiment ended with a version for everybody.
    pub const EXPERIMENT_PROMOTED: EventKind = EventKind::of("experiment.promoted");
    /// An experiment was broken off.
    pub const EXPERIMENT_ABORTED: EventKind = EventKind::of("experiment.aborted");
    /// An experiment gives another advice than before.
    pub const EXPERIMENT_ADVICE_CHANGED: EventKind = EventKind::of("experiment.advice_changed");
    /// A rollout began.
    pub const ROLLOUT_STARTED: EventKind = EventKind::of("rollout.started");
    /// A rollout took its next step.
    pub const ROLLOUT_ADVANCED: EventKind = EventKind::of("rollout.advanced");
    /// The new version has everything.
    pub const ROLLOUT_PROMOTED: EventKind = EventKind::of("rollout.promoted");
    /// The new version did harm, and has nothing.
    pub const ROLLOUT_ROLLED_BACK: EventKind = EventKind::of("rollout.rolled_back");
    /// A person broke a rollout off.
    pub const ROLLOUT_ABORTED: EventKind = EventKind::of("rollout.aborted");
    /// Somebody changed the route of a rollout by other means.
    pub const ROLLOUT_SUPERSEDED: EventKind = EventKind::of("rollout.superseded");
    /// A rollout stays at its step.
    pub const ROLLOUT_PAUSED: EventKind = EventKind::of("rollout.paused");
    /// A rollout goes on.
    pub const ROLLOUT_RESUMED: EventKind = EventKind::of("rollout.resumed");
    /// A person approved the next step.
    pub const ROLLOUT_APPROVED: EventKind = EventKind::of("rollout.approved");
    /// A step lasts longer than it may.
    pub const ROLLOUT_STUCK: EventKind = EventKind::of("rollout.stuck");
    /// The new version answers nothing while the other one does.
    pub const ROLLOUT_SILENT: EventKind = EventKind::of("rollout.silent");
    /// A webhook was made.
    pub const WEBHOOK_CREATED: EventKind = EventKind::of("webhook.created");
    /// A webhook was changed by a person.
    pub const WEBHOOK_CHANGED: EventKind = EventKind::of("webhook.changed");
    /// A webhook was switched off, as its receiver said that it is gone.
    pub const WEBHOOK_DISABLED: EventKind = EventKind::of("webhook.disabled");
    /// A webhook was removed.
    pub const WEBHOOK_REMOVED: EventKind = EventKind::of("webhook.removed");
    /// Sent to one webhook because somebody asked for it; nothing happened, and no log has it.
    pub const WEBHOOK_TEST: EventKind = EventKind::of("webhook.test");

    /// All that are counted from the start.
    pub const ALL: [EventKind; 33] = [
        MODEL_CREATED,
        VERSION_REGISTERED,
        VERSION_LOADED,
        VERSION_UNLOADED,
        ALIAS_CHANGED,
        ROUTE_CHANGED,
        POLICY_CHANGED,
        ROUTE_ROLLED_BACK,
        ROUTE_SWITCHED,
        VERSION_CLEARED,
        EXPERIMENT_CREATED,
        EXPERIMENT_STARTED,
        EXPERIMENT_PAUSED,
        EXPERIMENT_RESUMED,
        EXPERIMENT_WEIGHTS_CHANGED,
        EXPERIMENT_PROMOTED,
        EXPERIMENT_ABORTED,
        EXPERIMENT_ADVICE_CHANGED,
        ROLLOUT_STARTED,
        ROLLOUT_ADVANCED,
        ROLLOUT_PROMOTED,
        ROLLOUT_ROLLED_BACK,
        ROLLOUT_ABORTED,
        ROLLOUT_SUPERSEDED,
        ROLLOUT_PAUSED,
        ROLLOUT_RESUMED,
        ROLLOUT_APPROVED,
        ROLLOUT_STUCK,
        ROLLOUT_SILENT,
        WEBHOOK_CREATED,
        WEBHOOK_CHANGED,
        WEBHOOK_DISABLED,
        WEBHOOK_REMOVED,
    ];
}

fn is_kind(text: &str) -> bool {
    let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase());
    let word = |word: &str| {
        !word.is_empty()
            && word.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
    };
    starts_well && text.len() <= MOST_CHARS && text.split('.').all(word)
}

impl FromStr for EventKind {
    type Err = InvalidKind;

    fn from_str(text: &str) -> Result<Self, InvalidKind> {
        if is_kind(text) {
            Ok(Self(Cow::Owned(text.to_owned())))
        } else {
            Err(InvalidKind(text.chars().take(200).collect()))
        }
    }
}

impl TryFrom<String> for EventKind {
    type Error = InvalidKind;

    fn try_from(text: String) -> Result<Self, InvalidKind> {
        text.parse()
    }
}

impl From<EventKind> for String {
    fn from(kind: EventKind) -> Self {
        kind.0.into_owned()
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Some kinds of events: one, `route.changed`, or all of a group, `rollout.`
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "route.changed", pattern = "^[a-z][a-z0-9_]*([.][a-z0-9_]+)*[.]?$")]
pub struct KindPattern(String);

impl KindPattern {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the kind is one of them.
    pub fn matches(&self, kind: &EventKind) -> bool {
        if self.0.ends_with('.') {
            kind.as_str().starts_with(&self.0)
        } else {
            kind.as_str() == self.0
        }
    }
}

impl FromStr for KindPattern {
    type Err = InvalidKind;

    fn from_str(text: &str) -> Result<Self, InvalidKind> {
        if text.len() <= MOST_CHARS && is_kind(text.strip_suffix('.').unwrap_or(text)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidKind(text.chars().take(200).collect()))
        }
    }
}

impl TryFrom<String> for KindPattern {
    type Error = InvalidKind;

    fn try_from(text: String) -> Result<Self, InvalidKind> {
        text.parse()
    }
}

impl From<KindPattern> for String {
    fn from(pattern: KindPattern) -> Self {
        pattern.0
    }
}

/// An event in its place in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlacedEvent {
    /// Its place: each later one has a higher one, and none comes in between afterwards.
    pub place: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Which events of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct EventFilter {
    /// Only those after this place.
    pub after: u64,
    /// Only those before this place, newest first.
    pub newest_before: Option<u64>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub from: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub to: Option<OffsetDateTime>,
    pub kind: Option<KindPattern>,
    /// Only those about one of these; empty for all.
    pub models: Vec<ModelName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_words_with_dots() {
        for good in ["rollback", "route.changed", "a.b_c.d2"] {
            assert_eq!(good.parse::<EventKind>().unwrap().as_str(), good);
        }
        let long = "a".repeat(65);
        for bad in ["", ".", "a.", ".a", "a..b", "Route.changed", "a b", "é", "2a", &long] {
            assert!(bad.parse::<EventKind>().is_err(), "{bad}");
        }
        for kind in kinds::ALL {
            assert!(is_kind(kind.as_str()), "{kind}");
        }
    }

    #[test]
    fn a_pattern_is_one_kind_or_a_group() {
        let matches = |pattern: &str, kind: &'static str| {
            pattern.parse::<KindPattern>().unwrap().matches(&EventKind::of(kind))
        };
        assert!(matches("route.changed", "route.changed"));
        assert!(matches("rollout.", "rollout.advanced"));
        assert!(!matches("rollout", "rollout.advanced"));
        assert!(!matches("rollout.", "rollout"));
        assert!(!matches("rollout.", "rollouts.advanced"));
        for bad in ["", ".", "..", "rollout..", "*", "rollout.*"] {
            assert!(bad.parse::<KindPattern>().is_err(), "{bad}");
        }
    }
}
