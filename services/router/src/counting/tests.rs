use domain::prediction::Reason;
use domain::{PlanKind, Route};
use time::Duration as Span;

use super::*;

fn version(number: u32) -> VersionId {
    VersionId::new(number).unwrap()
}

fn moment(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Span::seconds(seconds)
}

/// Version 2 against version 1; one guardrail of each kind that requests are judged by.
fn ramp() -> Ramp {
    Ramp {
        id: PlanId::new(PlanKind::Rollout),
        step: 0,
        since: moment(0),
        canary: version(2),
        baseline: version(1),
        guardrails: vec![
            Guardrail::Errors {},
            Guardrail::Slow { over_ms: Some(100.0) },
            Guardrail::LowConfidence { below: 0.6 },
            Guardrail::Degraded {},
            Guardrail::OutputRule {},
            Guardrail::Feedback { metric: "thumb".to_owned(), at_most: 0.0, within_s: 60 },
        ],
        warm_up_requests: 2,
        warm_up_s: 10,
    }
}

fn answer(confidence: f64) -> Answered {
    Answered {
        content_type: String::new(),
        header_length: None,
        rows: 1,
        label: None,
        confidence: Some(confidence),
        value: None,
        compute_us: 1,
        output_rule: false,
        cache: None,
    }
}

fn answered(answer: &Answered, ms: u64) -> Ending<'_> {
    Ending::Answered { answer, latency: Duration::from_millis(ms), degraded: false }
}

/// Judged and bad of each guardrail after one request of the baseline, at a time when all is warm.
fn of(outcome: Ending<'_>) -> (ArmCounts, Vec<Option<bool>>) {
    let (counting, ramp) = (Counting::new("r", 10, 10), ramp());
    counting.count(&ramp, 0, version(1), None, outcome, moment(60));
    counting.close(moment(61), |_, _| true);
    let arm = counting.waiting.lock().unwrap()[0].arms[&version(1)].clone();
    let judged = arm.judged.iter().zip(&arm.bad);
    let judged = judged.map(|(judged, bad)| (*judged > 0).then_some(*bad > 0)).collect();
    (arm, judged)
}

#[test]
fn each_guardrail_judges_what_concerns_it() {
    let (good, doubtful) = (answer(0.9), answer(0.5));
    let (yes, no, not) = (Some(true), Some(false), None);
    let fine = of(answered(&good, 50));
    assert_eq!((fine.0.requests, fine.0.latency_us, fine.0.unanswered), (1, 50_000, 0));
    assert_eq!(fine.1, [no, no, no, no, no, not]);
    assert_eq!(of(answered(&doubtful, 101)).1, [no, yes, yes, no, no, not]);
    let found = Answered { output_rule: true, ..answer(0.9) };
    assert_eq!(of(answered(&found, 50)).1, [no, no, no, no, yes, not]);
    let stood_in = Ending::Answered { answer: &good, latency: Duration::ZERO, degraded: true };
    assert_eq!(of(stood_in).1, [yes, no, not, yes, not, not]);
    let timed_out = ApiError::new(ErrorCode::Timeout, "too late");
    assert_eq!(of(Ending::Failed(&timed_out)).1, [yes, yes, not, yes, not, not]);
    assert_eq!(of(Ending::Failed(&ApiError::internal())).1, [yes, not, not, yes, not, not]);
    let withheld = ApiError::new(ErrorCode::Unprocessable, format!("{WITHHELD} `secrets`"));
    let withheld = of(Ending::Failed(&withheld));
    assert_eq!((withheld.0.requests, withheld.0.unanswered), (1, 0));
    assert_eq!(withheld.1, [no, not, not, no, yes, not]);
}

#[test]
fn what_the_client_is_at_fault_for_is_no_request_of_the_arm() {
    let refused = ApiError::at("#/features", "must be a list");
    let (arm, judged) = of(Ending::Failed(&refused));
    assert_eq!((arm.requests, arm.unanswered, judged.len()), (0, 1, 0));
    // Whoever gave up late enough waited for too long, whatever else would have come.
    let soon = of(Ending::BrokenOff { latency: Duration::from_millis(99) });
    assert_eq!((soon.0.requests, soon.0.unanswered), (0, 1));
    assert_eq!(soon.1, [None; 6]);
    let late = of(Ending::BrokenOff { latency: Duration::from_millis(101) });
    assert_eq!(late.1, [None, Some(true), None, None, None, None]);
}

#[test]
fn a_kept_answer_is_judged_by_nothing() {
    let kept = Answered { cache: Some(CacheUse::Hit), ..answer(0.1) };
    let (arm, judged) = of(answered(&kept, 500));
    assert_eq!((arm.requests, arm.latency_us), (1, 0));
    assert_eq!(judged, [None; 6]);
    let miss = Answered { cache: Some(CacheUse::Miss), ..answer(0.9) };
    assert_eq!(of(answered(&miss, 500)).1.first(), Some(&Some(false)));
}

#[test]
fn a_cold_canary_is_not_judged_by_its_latency() {
    let (counting, ramp) = (Counting::new("r", 10, 10), ramp());
    let (good, slow_judged) = (answer(0.9), |counting: &Counting, number: u32| {
        counting.close(moment(100), |_, _| true);
        let batches = std::mem::take(&mut *counting.waiting.lock().unwrap());
        let arms = batches.iter().filter_map(|batch| batch.arms.get(&version(number)));
        arms.map(|arm| arm.judged[1]).sum::<u64>()
    });
    // In the first seconds nobody is.
    counting.count(&ramp, 0, version(1), None, answered(&good, 500), moment(9));
    counting.count(&ramp, 0, version(2), None, answered(&good, 500), moment(9));
    assert_eq!((slow_judged(&counting, 1), slow_judged(&counting, 2)), (0, 0));
    // Then the canary's first requests are not, of which there was one; batches make no difference.
    counting.count(&ramp, 0, version(1), None, answered(&good, 500), moment(10));
    counting.count(&ramp, 0, version(2), None, answered(&good, 500), moment(10));
    assert_eq!(slow_judged(&counting, 2), 0);
    counting.count(&ramp, 0, version(2), None, answered(&good, 500), moment(10));
    assert_eq!(slow_judged(&counting, 2), 1);
    // A new step begins cold.
    let next = Ramp { step: 1, since: moment(20), ..ramp };
    counting.count(&next, 1, version(2), None, answered(&good, 500), moment(40));
    assert_eq!(slow_judged(&counting, 2), 0);
}

#[test]
fn batches_have_numbers_units_and_the_step_they_were_decided_at() {
    let (counting, ramp) = (Counting::new("r", 2, 10), ramp());
    let failed = ApiError::internal();
    for unit in ["a", "a", "b", "c"] {
        let outcome = Ending::Failed(&failed);
        counting.count(&ramp, 0, version(2), Some(unit), outcome, moment(60));
    }
    // One that was decided before the step began, and ended after it.
    let next = Ramp { step: 1, ..ramp.clone() };
    counting.count(&next, 0, version(1), None, Ending::Failed(&failed), moment(61));
    counting.count(&next, 1, version(1), None, Ending::Failed(&failed), moment(61));
    counting.close(moment(62), |_, step| step == 1);
    counting.close(moment(64), |_, step| step == 1);
    counting.count(&next, 1, version(1), None, Ending::Failed(&failed), moment(65));
    counting.close(moment(66), |_, step| step == 1);
    let waiting = counting.waiting.lock().unwrap();
    let seen: Vec<_> = waiting.iter().map(|batch| (batch.id.as_str(), batch.step)).collect();
    assert_eq!(seen, [("r-1", 0), ("r-2", 1), ("r-3", 1)]);
    let arm = &waiting[0].arms[&version(2)];
    assert_eq!((arm.requests, arm.bad[0]), (4, 4));
    let units = &arm.bad_units[0];
    // No more units than are told apart; the events are all there.
    assert_eq!(units.len(), 2);
    assert_eq!(units[&unit_key("a")], 2);
    assert_eq!(waiting[0].arms[&version(1)].bad_units.len(), 0);
}

#[test]
fn a_unit_has_the_key_that_its_sha256_begins_with() {
    // printf a | sha256sum
    assert_eq!(unit_key("a"), 0xca97_8112_ca1b_bdca);
}

#[test]
fn what_nobody_takes_waits_and_the_oldest_is_lost_at_last() {
    let (counting, ramp) = (Counting::new("r", 2, 3), ramp());
    for second in 0..5 {
        let failed = ApiError::internal();
        let outcome = Ending::Failed(&failed);
        counting.count(&ramp, 0, version(1), None, outcome, moment(second));
        counting.close(moment(second), |_, _| true);
    }
    let waiting = counting.waiting.lock().unwrap();
    let ids: Vec<_> = waiting.iter().map(|batch| batch.id.as_str()).collect();
    assert_eq!(ids, ["r-3", "r-4", "r-5"]);
}

/// The time of the tests.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> OffsetDateTime {
        moment(60)
    }
}

#[test]
fn a_request_counts_once_for_the_version_that_was_chosen_however_it_ends() {
    let (counting, ramp) = (Counting::new("r", 2, 3), ramp());
    let arms = crate::rollouts::arms(version(1), version(2), 0.5);
    let segments = crate::assignment::reassign(&[], &arms);
    let model = "iris".parse().unwrap();
    let mut route = Route::first(model, arms, segments, "s".to_owned(), "t", moment(0));
    route.rollout = Some(ramp.clone());
    let route = Arc::new(Ready::new(route));
    let decision = |plan: Option<&PlanId>| {
        let mut decision = Decision::new(1, Reason::Request, 0.5, None);
        (decision.plan, decision.epoch) = (plan.cloned(), Some(0));
        decision.chosen = Some(version(2));
        decision
    };
    let counted = |decision: &Decision, route: Option<&Arc<Ready>>| {
        Counted::new(&counting, &Still, Instant::now(), route, version(1), decision)
    };
    let good = answer(0.9);
    let mut ended = counted(&decision(Some(&ramp.id)), Some(&route));
    ended.ended(answered(&good, 1));
    drop(ended);
    drop(counted(&decision(Some(&ramp.id)), Some(&route)));
    // Of no rollout, or of one that is over.
    drop(counted(&decision(None), Some(&route)));
    drop(counted(&decision(Some(&PlanId::new(PlanKind::Rollout))), Some(&route)));
    drop(counted(&decision(Some(&ramp.id)), None));
    counting.close(moment(61), |_, _| true);
    let waiting = counting.waiting.lock().unwrap();
    let arm = &waiting[0].arms[&version(2)];
    assert_eq!((waiting.len(), waiting[0].arms.len()), (1, 1));
    assert_eq!((arm.requests, arm.unanswered), (1, 1));
}
