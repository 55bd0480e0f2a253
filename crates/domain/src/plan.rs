//! What changes routes by itself: experiments, rollouts, and the layers that experiments share.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::ModelName;
use crate::experiment::Experiment;
use crate::ids::InvalidId;
use crate::layer::Layer;
use crate::rollout::Rollout;

/// Names an experiment (`exp_...`), a rollout (`rol_...`) or a layer (`lay_...`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "exp_0199c1d2e3f47abc8def0123456789ab", pattern = "^(exp|rol|lay)_[0-9a-f]{32}$")]
pub struct PlanId(String);

impl PlanId {
    /// A new id, later in order than those before it.
    pub fn new(kind: PlanKind) -> Self {
        Self(format!("{}_{}", kind.prefix(), Uuid::now_v7().simple()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PlanId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let fits = PlanKind::ALL.iter().any(|kind| {
            let rest = text.strip_prefix(kind.prefix()).and_then(|rest| rest.strip_prefix('_'));
            rest.is_some_and(|rest| {
                rest.len() == 32 && rest.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
            })
        });
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId::PlanId(text.chars().take(200).collect()))
        }
    }
}

impl TryFrom<String> for PlanId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<PlanId> for String {
    fn from(id: PlanId) -> Self {
        id.0
    }
}

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which kind of plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the types say it")]
pub enum PlanKind {
    Experiment,
    Rollout,
    Layer,
}

impl PlanKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Experiment, Self::Rollout, Self::Layer];

    /// The name in a store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Experiment => "experiment",
            Self::Rollout => "rollout",
            Self::Layer => "layer",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Experiment => "exp",
            Self::Rollout => "rol",
            Self::Layer => "lay",
        }
    }
}

/// Any of them, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the types say it")]
pub enum Plan {
    Experiment(Box<Experiment>),
    Rollout(Box<Rollout>),
    Layer(Layer),
}

impl Plan {
    /// Which kind.
    pub fn kind(&self) -> PlanKind {
        match self {
            Self::Experiment(_) => PlanKind::Experiment,
            Self::Rollout(_) => PlanKind::Rollout,
            Self::Layer(_) => PlanKind::Layer,
        }
    }

    /// Its id.
    pub fn id(&self) -> &PlanId {
        match self {
            Self::Experiment(experiment) => &experiment.id,
            Self::Rollout(rollout) => &rollout.id,
            Self::Layer(layer) => &layer.id,
        }
    }

    /// The model it concerns; none for a layer, which many share.
    pub fn model(&self) -> Option<&ModelName> {
        match self {
            Self::Experiment(experiment) => Some(&experiment.model),
            Self::Rollout(rollout) => Some(&rollout.model),
            Self::Layer(_) => None,
        }
    }

    /// What there is one of: a name under which no second one of the kind may be kept.
    pub fn unique(&self) -> &str {
        match self {
            Self::Experiment(experiment) => &experiment.name,
            Self::Rollout(rollout) => rollout.id.as_str(),
            Self::Layer(layer) => &layer.name,
        }
    }

    /// Whether something is still to come of it.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Experiment(experiment) => experiment.state.is_open(),
            Self::Rollout(rollout) => rollout.state.is_open(),
            Self::Layer(_) => true,
        }
    }

    /// Counts its changes, from 1.
    pub fn revision(&self) -> u32 {
        match self {
            Self::Experiment(experiment) => experiment.revision,
            Self::Rollout(rollout) => rollout.revision,
            Self::Layer(layer) => layer.revision,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_its_kind_and_nothing_else_is_one() {
        for kind in PlanKind::ALL {
            let id = PlanId::new(kind);
            assert_eq!(id.as_str().parse::<PlanId>().unwrap(), id);
        }
        for bad in ["", "exp_", "exp_0199", "xyz_0199c1d2e3f47abc8def0123456789ab", "rol"] {
            assert!(bad.parse::<PlanId>().is_err(), "{bad}");
        }
    }
}
