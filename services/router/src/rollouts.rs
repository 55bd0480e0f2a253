//! How a rollout is judged: pure, from what was counted to what is to be done.
//!
//! Reading order: [`plan`] (what may be asked for), [`evidence`] (what is known of a rollout, and how
//! batches of counts come into it), [`verdict`] (stay, go on or go back), [`units`] (is the split as
//! configured), [`words`] (the sentences that say why).
//!
//! Invariants: no IO, no clock, no chance. Evidence that went through JSON goes on as if it had not;
//! the order of the counts within a batch, and which router counted them, make no difference.

pub(crate) mod evidence;
pub(crate) mod plan;
pub(crate) mod units;
pub(crate) mod verdict;
pub(crate) mod words;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use domain::VersionId;
use domain::rollout::Rollout;
use domain::route::{Arm, BUCKETS};

/// The arms of a route in which the canary has this share, 0 to 1.
pub(crate) fn arms(baseline: VersionId, canary: VersionId, share: f64) -> Vec<Arm> {
    let canary_ppm = ppm(share);
    let arm = |version, share_ppm: u32| Arm {
        version,
        share_ppm,
        weight: f64::from(share_ppm) / f64::from(BUCKETS) * 100.0,
    };
    vec![arm(baseline, BUCKETS - canary_ppm), arm(canary, canary_ppm)]
}

/// A share in buckets.
pub(crate) fn ppm(share: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to a million")]
    let ppm = (share.clamp(0.0, 1.0) * f64::from(BUCKETS)).round() as u32;
    ppm
}

/// The canary's share at the step the rollout is at, 0 to 1.
pub(crate) fn share(rollout: &Rollout) -> f64 {
    rollout.plan.steps.get(rollout.step as usize).copied().unwrap_or_default()
}

/// The canary's share at the step after.
pub(crate) fn next_share(rollout: &Rollout) -> f64 {
    rollout.plan.steps.get(rollout.step as usize + 1).copied().unwrap_or(1.0)
}
