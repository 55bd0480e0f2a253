//! What to do: one piece of advice out of what is said of each version.

use contracts::router::{Advice, Recommendation};
use domain::VersionId;

use crate::statistics::verdict::{Decision, Verdict};

/// What is said of one version.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// The version.
    pub version: VersionId,
    /// How much better it is than the control by the primary metric, so far.
    pub benefit: f64,
    /// What follows for it alone.
    pub verdict: Verdict,
}

/// Something to ship comes first, as it ends the experiment, and any harm with it; then harm; then whether the numbers
/// can be trusted. There is no difference, and no answer, only if that is so of every version.
pub fn recommend(all: &[Said]) -> Recommendation {
    let of = |decision: Decision| all.iter().filter(move |said| said.verdict.decision == decision);
    let by_benefit = |a: &&Said, b: &&Said| a.benefit.total_cmp(&b.benefit);
    let first = [
        (Advice::Ship, of(Decision::Ship).max_by(by_benefit)),
        (Advice::RollBack, of(Decision::RollBack).min_by(by_benefit)),
        (Advice::Invalid, of(Decision::Invalid).next()),
        (Advice::KeepGoing, of(Decision::KeepGoing).max_by(by_benefit)),
        (Advice::Inconclusive, of(Decision::Inconclusive).max_by(by_benefit)),
        (Advice::NoDifference, of(Decision::NoDifference).max_by(by_benefit)),
    ];
    for (action, said) in first {
        if let Some(said) = said {
            let version = (action != Advice::Invalid).then_some(said.version);
            return Recommendation { action, version, reason: sentence(said) };
        }
    }
    let reason = "there is no version to compare with the control".to_owned();
    Recommendation { action: Advice::KeepGoing, version: None, reason }
}

/// The reason with the version in it, as a sentence.
fn sentence(said: &Said) -> String {
    let version = format!("version {}", said.version);
    let reason = &said.verdict.reason;
    let named = if reason.contains("the treatment") {
        reason.replace("the treatment", &version)
    } else if said.verdict.decision == Decision::Invalid {
        reason.clone()
    } else {
        format!("{version}: {reason}")
    };
    let mut letters = named.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}
