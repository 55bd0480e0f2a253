//! What an engineer rules for one model: who sees its versions, whether answers are kept, what may
//! go in and what may come out.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Role;

/// A model's policy. What is left out is as it is for a model without one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelPolicy {
    /// Counts up by one with every change. In a change: the one that it is based on, refused if
    /// another change came first; 0, or left out, replaces whatever is there.
    pub revision: u64,
    /// The roles that are told which version answered, and of versions and routes at all.
    pub version_shown_to: Vec<Role>,
    /// Whether answers are kept for who asks the same again. Left out: they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CachePolicy>,
    /// What may go in.
    pub input: InputRules,
    /// What may come out.
    pub output: OutputRules,
}

impl ModelPolicy {
    /// Whether callers of this role are told of versions.
    pub fn shows_version_to(&self, role: Role) -> bool {
        role == Role::Service || self.version_shown_to.contains(&role)
    }
}

/// The roles that people and their programs have.
pub const ROLES: [Role; 4] = [Role::Admin, Role::Engineer, Role::Analyst, Role::Client];

impl Default for ModelPolicy {
    fn default() -> Self {
        Self {
            revision: 0,
            version_shown_to: ROLES.to_vec(),
            cache: None,
            input: InputRules::default(),
            output: OutputRules::default(),
        }
    }
}

/// How answers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CachePolicy {
    /// For how long, seconds.
    pub ttl_s: u32,
    /// Whether one caller may get the answer that was made for another.
    #[serde(default)]
    pub shared: bool,
}

/// What may go in. Input that breaks a rule is refused, never changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InputRules {
    /// Characters in a text, or in a feature that is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_chars: Option<u32>,
    /// Rows in one request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<u32>,
    /// What no text, and no feature that is one, may hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forbidden: Vec<Forbidden>,
    /// Of pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageRules>,
}

/// A pattern that must not be found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Forbidden {
    /// What the caller is told that it is.
    pub name: String,
    /// A regular expression (of the crate `regex`: linear time, no look-around).
    pub pattern: String,
}

/// What pictures may be. Judged by their first bytes, before they are decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ImageRules {
    /// Width times height.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pixels: Option<u64>,
    /// The formats; empty for all that the engine reads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<PictureFormat>,
}

/// A format of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PictureFormat {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// WebP.
    Webp,
}

/// What may come out. All texts of an answer are looked through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OutputRules {
    /// US social security numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssn: Option<Action>,
    /// Numbers of payment cards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<Action>,
    /// E-mail addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<Action>,
    /// Telephone numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<Action>,
    /// Patterns of one's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<OutputPattern>,
}

/// A pattern of one's own, and what is done where it is found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputPattern {
    /// What masks, refusals and metrics call it.
    pub name: String,
    /// A regular expression (of the crate `regex`: linear time, no look-around).
    pub pattern: String,
    /// What is done.
    pub action: Action,
}

/// What is done with an answer that a rule of the output finds something in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// What was found is replaced by the rule's name in brackets.
    Mask,
    /// The whole answer is withheld.
    Block,
    /// The answer goes out as it is, and says which rules found something.
    Flag,
}

impl Action {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mask => "mask",
            Self::Block => "block",
            Self::Flag => "flag",
        }
    }
}

/// The rules that whoever runs the model has to keep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Rules {
    /// What may go in.
    pub input: InputRules,
    /// What may come out.
    pub output: OutputRules,
}

impl Rules {
    /// The rules of a policy; `None` if it has none.
    pub fn of(policy: &ModelPolicy) -> Option<Self> {
        let rules = Self { input: policy.input.clone(), output: policy.output.clone() };
        (rules != Self::default()).then_some(rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_as_without_a_policy_and_unknown_words_are_refused() {
        let none: ModelPolicy = serde_json::from_str("{}").unwrap();
        assert_eq!(none, ModelPolicy::default());
        assert!(ROLES.iter().all(|role| none.shows_version_to(*role)));
        assert_eq!(Rules::of(&none), None);
        let some = r#"{"cache": {"ttl_s": 5}, "output": {"card": "mask"}}"#;
        let some: ModelPolicy = serde_json::from_str(some).unwrap();
        assert_eq!(some.cache, Some(CachePolicy { ttl_s: 5, shared: false }));
        assert_eq!(Rules::of(&some).unwrap().output.card, Some(Action::Mask));
        for bad in [r#"{"ttl": 5}"#, r#"{"output": {"card": "drop"}}"#, r#"{"cache": {}}"#] {
            assert!(serde_json::from_str::<ModelPolicy>(bad).is_err(), "{bad}");
        }
    }
}
