//! What is to be done with a rollout, by what is known of it.

use domain::rollout::{Rollout, RolloutState};
use time::{Duration, OffsetDateTime};

use super::evidence::{Evidence, Silence};
use super::words::{at_least, percent, seconds};
use super::{next_share, share};
use crate::statistics::canary::{HarmBudget, Loss};
use crate::statistics::rate_ratio::RateRatio;

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// Nothing yet.
    Stay {
        /// What it waits for, in a sentence.
        why: String,
        /// What people should be told of, once.
        notice: Option<Notice>,
    },
    /// Everything back, at once.
    RollBack {
        /// With the figures, in a sentence.
        why: String,
    },
    /// The evidence allows the next step.
    GoOn {
        /// With the figures, in a sentence.
        why: String,
    },
}

/// Something that people should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The canary answers nothing.
    Silent,
    /// A step lasts longer than the plan says.
    Stuck,
}

/// How long the canary may be silent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Until people are told.
    pub(crate) told_after: Duration,
    /// Until it is rolled back.
    pub(crate) ends_after: Duration,
}

/// Judges a rollout as of now. Of a paused one only the guardrails are looked at.
pub(crate) fn judge(
    rollout: &Rollout,
    evidence: &Evidence,
    patience: Patience,
    now: OffsetDateTime,
) -> Verdict {
    if let Some(why) = lost(rollout, evidence) {
        return Verdict::RollBack { why };
    }
    if let Some(silence) = evidence.silence.filter(|silence| silence.unanswered > 0) {
        let lasts = silence.until - silence.since;
        if lasts >= patience.ends_after {
            return Verdict::RollBack { why: silent(&silence) };
        }
        if lasts >= patience.told_after {
            let notice = (!evidence.told_silent).then_some(Notice::Silent);
            return Verdict::Stay { why: silent(&silence), notice };
        }
    }
    if rollout.state == RolloutState::Paused {
        return Verdict::Stay { why: rollout.status.clone(), notice: None };
    }
    match waits_for(rollout, evidence, now) {
        Some(why) => stay(rollout, evidence, why, now),
        None => Verdict::GoOn { why: within_budget(rollout, evidence) },
    }
}

/// Stays, and says so to people where it has lasted too long.
pub(crate) fn stay(
    rollout: &Rollout,
    evidence: &Evidence,
    why: String,
    now: OffsetDateTime,
) -> Verdict {
    let limit = i64::try_from(rollout.plan.step_timeout_s).unwrap_or(i64::MAX);
    let late = (now - rollout.step_since).whole_seconds() >= limit;
    if !late {
        return Verdict::Stay { why, notice: None };
    }
    let why = format!("stuck for more than {}: {why}", seconds(rollout.plan.step_timeout_s));
    let told = evidence.told_stuck == Some(rollout.step);
    Verdict::Stay { why, notice: (!told).then_some(Notice::Stuck) }
}

/// Why a guardrail is lost, if one is.
fn lost(rollout: &Rollout, evidence: &Evidence) -> Option<String> {
    let plan = &rollout.plan;
    let alpha = plan.alpha / plan.guardrails.len().max(1) as f64;
    let loss =
        Loss { alpha, tolerated_ratio: plan.tolerated_ratio, least_excess: plan.minimum_excess };
    let mut watched = plan.guardrails.iter().zip(&evidence.guardrails);
    let (guardrail, watch) = watched.find(|(_, watch)| loss.is_lost(&watch.ratio))?;
    let interval = watch.ratio.interval(alpha);
    Some(format!(
        "{} at the same time, ratio at least {} with {} confidence, after {} canary requests",
        rates(&guardrail.name(), &watch.ratio),
        at_least(interval.lower),
        percent(1.0 - alpha),
        watch.ratio.compared().canary_requests,
    ))
}

fn silent(silence: &Silence) -> String {
    let lasts = (silence.until - silence.since).whole_seconds();
    format!(
        "the canary answered none of its last {} requests, for {}, while the baseline answered {}: they were refused as the clients' fault, or nobody waited for the answer",
        silence.unanswered,
        seconds(u64::try_from(lasts).unwrap_or_default()),
        silence.baseline,
    )
}

/// What the next step waits for.
fn waits_for(rollout: &Rollout, evidence: &Evidence, now: OffsetDateTime) -> Option<String> {
    let plan = &rollout.plan;
    let (budget, next) = (budget(rollout), next_share(rollout));
    for (guardrail, watch) in plan.guardrails.iter().zip(&evidence.guardrails) {
        let look = budget.look(&watch.ratio, next);
        if !look.is_allowed() {
            return Some(format!(
                "waits at {} for evidence for {}: {}: {}",
                percent(share(rollout)),
                percent(next),
                guardrail.name(),
                look.reason()
            ));
        }
    }
    let least = i64::try_from(plan.minimum_step_s).unwrap_or(i64::MAX);
    if (now - rollout.step_since).whole_seconds() < least {
        return Some(format!(
            "the evidence is there for {}: waits at {} until the step has lasted {}",
            percent(next),
            percent(share(rollout)),
            seconds(plan.minimum_step_s)
        ));
    }
    None
}

/// Why the next step may be taken: the guardrail that comes nearest to the budget.
fn within_budget(rollout: &Rollout, evidence: &Evidence) -> String {
    let plan = &rollout.plan;
    let (budget, next) = (budget(rollout), next_share(rollout));
    let looks = plan.guardrails.iter().zip(&evidence.guardrails);
    let looks = looks.map(|(guardrail, watch)| (guardrail, watch, budget.look(&watch.ratio, next)));
    let nearest = looks.max_by(|a, b| a.2.worst_harm.total_cmp(&b.2.worst_harm));
    let Some((guardrail, watch, look)) = nearest else {
        return format!("no guardrail speaks against {}", percent(next));
    };
    format!(
        "at {} of the traffic at most {} of all requests go badly on top, with {} confidence, of the {} allowed: {}, after {} canary requests",
        percent(next),
        percent(look.worst_harm),
        percent(1.0 - budget.alpha),
        percent(budget.harm),
        rates(&guardrail.name(), &watch.ratio),
        look.requests,
    )
}

pub(crate) fn budget(rollout: &Rollout) -> HarmBudget {
    HarmBudget { harm: rollout.plan.harm_budget, alpha: rollout.plan.alpha }
}

fn rates(name: &str, ratio: &RateRatio) -> String {
    let all = ratio.compared();
    let rate = |events: u64, requests: u64| match requests {
        0 => "none".to_owned(),
        _ => percent(events as f64 / requests as f64),
    };
    format!(
        "{name} {} against {}",
        rate(all.canary_events, all.canary_requests),
        rate(all.baseline_events, all.baseline_requests)
    )
}
