//! What to do with an experiment, and why, in one sentence that a person can repeat.

use serde::{Deserialize, Serialize};

use super::difference::Difference;

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Conversions, revenue, accuracy.
    Higher,
    /// Errors, latency, loss.
    Lower,
}

impl Better {
    /// Bounds of the benefit from bounds of the difference.
    fn benefit(self, lower: f64, upper: f64) -> (f64, f64) {
        match self {
            Self::Higher => (lower, upper),
            Self::Lower => (-upper, -lower),
        }
    }
}

/// What a guardrail has come to. Three states: not having lost is not having passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Worse by less than the margin, with error alpha.
    Passed,
    /// Worse, as [`LostWhen`] says, with error alpha.
    Lost,
    /// Neither is shown.
    NotYet,
}

/// When a guardrail is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostWhen {
    /// Worse by more than the margin.
    BeyondMargin,
    /// Worse at all. It may then be lost although it is within the margin: lost comes first.
    Deteriorated,
}

/// A non-inferiority guardrail: passed when the one-sided lower bound of the benefit is above -`margin`, lost when the
/// upper one is below -`margin` (or below 0). `None` is not yet.
pub fn guardrail(
    difference: Option<&Difference>,
    better: Better,
    margin: f64,
    lost_when: LostWhen,
) -> State {
    let Some(difference) = difference else { return State::NotYet };
    let (lower, upper) = better.benefit(difference.one_sided_lower, difference.one_sided_upper);
    let limit = match lost_when {
        LostWhen::BeyondMargin => -margin,
        LostWhen::Deteriorated => 0.0,
    };
    if upper < limit {
        State::Lost
    } else if lower > -margin {
        State::Passed
    } else {
        State::NotYet
    }
}

/// A guardrail by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guardrail<'a> {
    /// As people call it.
    pub name: &'a str,
    /// What it has come to.
    pub state: State,
    /// Whether shipping waits until it has passed; else it is enough that it is not lost.
    pub must_pass: bool,
}

/// All that a decision rests on.
#[derive(Debug, Clone)]
pub struct Evidence<'a> {
    /// The primary metric, as people call it.
    pub metric: &'a str,
    /// Its latest difference; `None` as long as it is undefined.
    pub primary: Option<Difference>,
    /// Which way is better.
    pub better: Better,
    /// The error of the interval, as planned.
    pub alpha: f64,
    /// The p-value of the primary metric after correction over arms and success metrics, if there are several.
    pub corrected_p: Option<f64>,
    /// The least difference worth having, above 0; without one, nothing is called no difference.
    pub least_effect: Option<f64>,
    /// The guardrails.
    pub guardrails: &'a [Guardrail<'a>],
    /// Whether units are split otherwise than configured, or too many were seen in two arms.
    pub is_split_wrong: bool,
    /// Whether every arm has its least number of units.
    pub has_units: bool,
    /// Whether a full week, or the configured cycle, has gone by.
    pub has_cycle: bool,
    /// Whether the longest duration has gone by.
    pub is_over: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Give the treatment everything.
    Ship,
    /// Give the control everything.
    RollBack,
    /// Whatever difference there is, is not worth having: keep the cheaper arm.
    NoDifference,
    /// Wait.
    KeepGoing,
    /// The time is over and nothing is shown: keep the control.
    Inconclusive,
    /// The split is wrong, so nothing but a rollback can be based on the numbers.
    Invalid,
}

/// What to do, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What to do.
    pub decision: Decision,
    /// One sentence.
    pub reason: String,
}

/// Decides. Harm comes first, then whether the numbers can be trusted, then success, then giving up. It never decides
/// on the point alone.
pub fn decide(evidence: &Evidence<'_>) -> Verdict {
    let verdict = |decision, reason| Verdict { decision, reason };
    let Evidence { metric, better, .. } = evidence;
    let named = |state: State| evidence.guardrails.iter().filter(move |rail| rail.state == state);

    if let Some(lost) = named(State::Lost).next() {
        let reason = format!("the guardrail `{}` is lost: the treatment is worse", lost.name);
        return verdict(Decision::RollBack, reason);
    }
    let bounds = evidence.primary.as_ref().map(|primary| {
        let (lower, upper) = better.benefit(primary.lower, primary.upper);
        (lower, upper, measured(metric, primary, evidence.alpha))
    });
    if let Some((_, upper, measured)) = &bounds
        && *upper < 0.0
    {
        return verdict(Decision::RollBack, format!("the treatment is worse: {measured}"));
    }
    if evidence.is_split_wrong {
        let reason = "the units are not split as configured, so the arms cannot be compared until the cause is found";
        return verdict(Decision::Invalid, reason.to_owned());
    }
    let Some((lower, upper, measured)) = bounds else {
        let (decision, end) = over(evidence);
        let reason = format!(
            "`{metric}` cannot be compared yet: each arm needs two units and something must vary"
        );
        return verdict(decision, reason + end);
    };
    let is_shown = lower > 0.0 && evidence.corrected_p.is_none_or(|p| p <= evidence.alpha);
    let waits = waiting_for(evidence);
    if is_shown && waits.is_none() {
        let reason = format!("the treatment is better and no guardrail is lost: {measured}");
        return verdict(Decision::Ship, reason);
    }
    if let Some(least) = evidence.least_effect
        && evidence.has_units
        && evidence.has_cycle
        && lower > -least
        && upper < least
        && !is_shown
    {
        let least = short(least);
        let reason =
            format!("no difference worth having (less than {least} either way): {measured}");
        return verdict(Decision::NoDifference, reason);
    }
    let (decision, end) = over(evidence);
    let reason = match waits {
        Some(waits) if is_shown => format!("the treatment is better, but {waits}: {measured}"),
        _ if lower > 0.0 => {
            format!(
                "better by itself, but not after correction for all arms and metrics: {measured}"
            )
        }
        _ => format!("nothing is shown yet: {measured}"),
    };
    verdict(decision, reason + end)
}

fn over(evidence: &Evidence<'_>) -> (Decision, &'static str) {
    if evidence.is_over {
        (Decision::Inconclusive, "; the time is over, so the control stays")
    } else {
        (Decision::KeepGoing, "")
    }
}

/// What shipping still waits for.
fn waiting_for(evidence: &Evidence<'_>) -> Option<String> {
    if !evidence.has_units {
        return Some("the least number of units is not reached".to_owned());
    }
    if !evidence.has_cycle {
        return Some("a full cycle has not gone by".to_owned());
    }
    let mut rails = evidence.guardrails.iter();
    let rail = rails.find(|rail| rail.must_pass && rail.state == State::NotYet)?;
    Some(format!("the guardrail `{}` has not passed yet", rail.name))
}

/// "`conversion` differs by 0.021 (95 % interval 0.004 to 0.038)".
fn measured(metric: &str, primary: &Difference, alpha: f64) -> String {
    let (point, lower, upper) =
        (short(primary.difference), short(primary.lower), short(primary.upper));
    let level = short(100.0 * (1.0 - alpha));
    format!("`{metric}` differs by {point} ({level} % interval {lower} to {upper})")
}

/// Three digits that count.
fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    #[expect(clippy::cast_possible_truncation, reason = "an exponent of a double is at most 308")]
    let digits = 2 - value.abs().log10().floor() as i32;
    let text = format!("{value:.*}", usize::try_from(digits).unwrap_or(0).min(12));
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}
