//! What is said, and why.

use crate::statistics::difference::{Difference, Plan, difference};
use crate::statistics::moments::Moments;
use crate::statistics::verdict::{
    Better, Decision, Evidence, Guardrail, LostWhen, State, decide, guardrail,
};

/// `control` and `treatment` of 10,000 units each.
fn found(control: u64, treatment: u64) -> Difference {
    let arm = |events: u64| Moments::of_events(10_000, events).unwrap();
    difference(&arm(control), &arm(treatment), &Plan::new(0.05, 5_000.0).unwrap()).unwrap()
}

fn evidence(primary: Difference) -> Evidence<'static> {
    Evidence {
        metric: "conversion",
        primary: Some(primary),
        better: Better::Higher,
        alpha: 0.05,
        corrected_p: None,
        least_effect: Some(0.02),
        guardrails: &[],
        is_split_wrong: false,
        has_units: true,
        has_cycle: true,
        is_over: false,
    }
}

#[track_caller]
fn says(evidence: &Evidence<'_>, decision: Decision, reason: &str) {
    let verdict = decide(evidence);
    assert_eq!(verdict.decision, decision, "{}", verdict.reason);
    assert!(verdict.reason.contains(reason), "{}", verdict.reason);
}

#[test]
fn what_is_shown_is_shipped_or_rolled_back() {
    let (better, worse) = (evidence(found(1_000, 1_300)), evidence(found(1_300, 1_000)));
    says(&better, Decision::Ship, "`conversion` differs by 0.03 (95 % interval 0.0");
    says(&worse, Decision::RollBack, "the treatment is worse: `conversion` differs by -0.03");
    let turned = |evidence: Evidence<'static>| Evidence { better: Better::Lower, ..evidence };
    says(&turned(better), Decision::RollBack, "worse");
    says(&turned(worse), Decision::Ship, "better");
}

#[test]
fn shipping_waits_and_rolling_back_does_not() {
    let (better, worse) = (evidence(found(1_000, 1_300)), evidence(found(1_300, 1_000)));
    let early = |evidence: &Evidence<'static>| Evidence { has_cycle: false, ..evidence.clone() };
    let few = Evidence { has_units: false, ..better.clone() };
    says(&early(&better), Decision::KeepGoing, "a full cycle has not gone by");
    says(&few, Decision::KeepGoing, "the least number of units is not reached");
    says(&early(&worse), Decision::RollBack, "worse");
    let corrected = Evidence { corrected_p: Some(0.08), ..better.clone() };
    says(&corrected, Decision::KeepGoing, "not after correction");
    let waiting = [Guardrail { name: "latency", state: State::NotYet, must_pass: true }];
    let waits = Evidence { guardrails: &waiting, ..better.clone() };
    says(&waits, Decision::KeepGoing, "the guardrail `latency` has not passed yet");
    let optional = [Guardrail { name: "latency", state: State::NotYet, must_pass: false }];
    says(&Evidence { guardrails: &optional, ..better }, Decision::Ship, "no guardrail is lost");
}

#[test]
fn harm_comes_before_a_wrong_split_and_that_before_success() {
    let better = Evidence { is_split_wrong: true, ..evidence(found(1_000, 1_300)) };
    says(&better, Decision::Invalid, "not split as configured");
    let worse = Evidence { is_split_wrong: true, ..evidence(found(1_300, 1_000)) };
    says(&worse, Decision::RollBack, "worse");
    let lost = [Guardrail { name: "errors", state: State::Lost, must_pass: false }];
    says(
        &Evidence { guardrails: &lost, ..better },
        Decision::RollBack,
        "the guardrail `errors` is lost",
    );
}

#[test]
fn the_end_is_no_difference_or_inconclusive() {
    let equal = evidence(found(1_000, 1_003));
    says(&equal, Decision::NoDifference, "no difference worth having (less than 0.02 either way)");
    let demanding = Evidence { least_effect: Some(0.001), ..equal.clone() };
    says(&demanding, Decision::KeepGoing, "nothing is shown yet");
    let over = Evidence { is_over: true, ..demanding };
    says(&over, Decision::Inconclusive, "the time is over, so the control stays");
    let empty = Evidence { primary: None, ..equal };
    says(&empty, Decision::KeepGoing, "cannot be compared yet");
    says(&Evidence { is_over: true, ..empty }, Decision::Inconclusive, "the control stays");
}

#[test]
fn a_guardrail_has_three_states() {
    let state = |control, treatment, margin, lost_when| {
        guardrail(Some(&found(control, treatment)), Better::Lower, margin, lost_when)
    };
    // Errors, so lower is better: equal within 2 points, and worse by 5.
    assert_eq!(state(500, 500, 0.02, LostWhen::BeyondMargin), State::Passed);
    assert_eq!(state(500, 500, 0.001, LostWhen::BeyondMargin), State::NotYet);
    assert_eq!(state(500, 1_000, 0.02, LostWhen::BeyondMargin), State::Lost);
    // Worse by 3 points, of which 5 are put up with: passed, unless any harm is a loss.
    assert_eq!(state(500, 800, 0.05, LostWhen::BeyondMargin), State::Passed);
    assert_eq!(state(500, 800, 0.05, LostWhen::Deteriorated), State::Lost);
    let higher = guardrail(Some(&found(1_000, 500)), Better::Higher, 0.02, LostWhen::BeyondMargin);
    assert_eq!(higher, State::Lost);
    assert_eq!(guardrail(None, Better::Higher, 0.02, LostWhen::Deteriorated), State::NotYet);
}
