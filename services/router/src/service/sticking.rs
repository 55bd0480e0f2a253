//! The units of strict experiments keep the arms that they got first, although weights change.
//!
//! The cache store has each unit's first arm. It is asked within its time; when it does not answer,
//! the hash decides alone, and a metric counts that.

use bytes::Bytes;
use domain::prediction::Chance;
use domain::route::Trial;
use domain::{VersionId, hex};
use runtime::telemetry::{label, metrics};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Service;
use crate::table::{Choice, Served};

/// A unit's first arm, with the chances of then: what the unit is analysed by.
#[derive(Debug, Serialize, Deserialize)]
struct First {
    version: VersionId,
    epoch: u32,
    propensity: f64,
    #[serde(default)]
    chances: Vec<Chance>,
}

impl Service {
    /// Gives a unit of a strict experiment the arm that it had first; notes the arm, if this is the
    /// first. An arm that is not there any more, or whose version may not be asked, is forgotten.
    pub(super) async fn keep_first_arm(&self, choice: &mut Choice) {
        let route = choice.route.clone();
        let trial = choice.strict.and_then(|index| route.as_ref()?.trials.get(index));
        let (Some(trial), Some(unit)) = (trial, choice.decision.unit.as_deref()) else { return };
        let name = name(trial, unit);
        let outcome = match self.answers.recall(&name).await {
            Err(_resting) => "unavailable",
            Ok(kept) => {
                let first = kept.and_then(|bytes| serde_json::from_slice::<First>(&bytes).ok());
                let known = first.is_some();
                match first
                    .and_then(|first| Some((self.still_served(trial, &first, choice)?, first)))
                {
                    Some((served, first)) => {
                        take_over(choice, served, first);
                        "kept"
                    }
                    None => {
                        self.note_first(&name, trial, choice).await;
                        if known { "replaced" } else { "new" }
                    }
                }
            }
        };
        metrics().sticky_assignments.add(1, &[label("outcome", outcome)]);
    }

    fn still_served(&self, trial: &Trial, first: &First, choice: &Choice) -> Option<Served> {
        let has = |arm: &domain::route::Arm| arm.version == first.version && arm.share_ppm > 0;
        trial.arms.iter().any(has).then_some(())?;
        self.table.stand_in(&choice.version.model, first.version)
    }

    async fn note_first(&self, name: &str, trial: &Trial, choice: &Choice) {
        let first = First {
            version: choice.version.version,
            epoch: trial.epoch,
            propensity: choice.decision.propensity,
            chances: choice.decision.chances.clone(),
        };
        if let Ok(bytes) = serde_json::to_vec(&first) {
            let ttl = std::time::Duration::from_secs(self.settings.sticky.ttl_s);
            self.answers.remember(name, Bytes::from(bytes), ttl).await;
        }
    }
}

fn take_over(choice: &mut Choice, served: Served, first: First) {
    let Served { version, counted } = served;
    choice.refused = None;
    choice.version = version;
    choice.counted = counted;
    let decision = &mut choice.decision;
    decision.sticky = true;
    decision.epoch = Some(first.epoch);
    decision.propensity = first.propensity;
    decision.chances = first.chances;
}

/// The key of a unit's first arm in an experiment.
fn name(trial: &Trial, unit: &str) -> String {
    format!("first-arm:{}:{}", trial.experiment, hex(&Sha256::digest(unit)))
}
