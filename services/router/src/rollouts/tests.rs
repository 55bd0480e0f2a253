use std::collections::BTreeMap;

use domain::counts::{ArmCounts, CountBatch};
use domain::prediction::{Decision, Exposure, Reason};
use domain::rollout::{Guardrail, Rollout, RolloutPlan, RolloutState};
use domain::{PlanId, PlanKind, PredictionId, VersionId};
use time::{Duration, OffsetDateTime};

use super::evidence::Evidence;
use super::units::Units;
use super::verdict::{Notice, Patience, Verdict, judge};

pub(super) const PATIENCE: Patience =
    Patience { told_after: Duration::seconds(4), ends_after: Duration::seconds(300) };

pub(super) fn version(number: u32) -> VersionId {
    VersionId::new(number).unwrap()
}

pub(super) fn moment(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::seconds(seconds)
}

pub(super) fn rollout(plan: RolloutPlan) -> Rollout {
    Rollout {
        id: PlanId::new(PlanKind::Rollout),
        model: "iris".parse().unwrap(),
        canary: version(2),
        baseline: version(1),
        plan,
        state: RolloutState::Running,
        step: 0,
        step_since: moment(0),
        evidence: serde_json::Value::Null,
        status: String::new(),
        moves: Vec::new(),
        approved_by: None,
        created_by: "eve".to_owned(),
        created_at: moment(0),
        ended_at: None,
        revision: 1,
    }
}

fn arm(requests: u64, bad: u64) -> ArmCounts {
    ArmCounts { requests, judged: vec![requests], bad: vec![bad], ..ArmCounts::default() }
}

/// What one router counted: requests and bad events of the canary, and of the baseline.
pub(super) fn batch(
    id: &str,
    step: u32,
    at: i64,
    canary: (u64, u64),
    baseline: (u64, u64),
) -> CountBatch {
    let arms = [(version(2), canary), (version(1), baseline)];
    let arms = arms.into_iter().filter(|(_, (requests, _))| *requests > 0);
    CountBatch {
        id: id.to_owned(),
        plan: PlanId::new(PlanKind::Rollout),
        step,
        at: moment(at),
        arms: arms.map(|(version, (requests, bad))| (version, arm(requests, bad))).collect(),
    }
}

fn with_units(mut batch: CountBatch, of: u32, units: &[(u64, u32)]) -> CountBatch {
    let arm = batch.arms.get_mut(&version(of)).unwrap();
    arm.bad_units = vec![units.iter().copied().collect::<BTreeMap<_, _>>()];
    batch
}

/// The evidence after these batches, taken in some at a time.
fn after(rollout: &Rollout, parts: &[&[CountBatch]]) -> Evidence {
    let mut evidence = Evidence::of(rollout);
    parts.iter().for_each(|part| evidence.take_in(rollout, part, 100));
    evidence
}

fn plain() -> Rollout {
    rollout(RolloutPlan::default())
}

#[test]
fn what_several_routers_counted_is_as_if_one_had() {
    let rollout = plain();
    let one = [batch("a-1", 0, 2, (30, 2), (300, 3))];
    let three = [
        batch("a-1", 0, 2, (30, 2), (0, 0)),
        batch("b-1", 0, 2, (0, 0), (100, 3)),
        batch("c-1", 0, 2, (0, 0), (200, 0)),
    ];
    let alone = after(&rollout, &[&one]);
    assert_eq!(after(&rollout, &[&three]), alone);
    let mut turned = three.clone();
    turned.reverse();
    assert_eq!(after(&rollout, &[&turned]), alone, "in any order");
    // Also if they come one after the other: a batch of one arm waits for the other arm.
    let [a, b, c] = three;
    let spread = after(&rollout, &[&[b], &[c], &[a]]);
    assert_eq!(spread.guardrails[0].ratio, alone.guardrails[0].ratio);
}

#[test]
fn evidence_that_went_through_the_store_goes_on_as_if_it_had_not() {
    let mut rollout = plain();
    let batches: Vec<CountBatch> = (0..40)
        .map(|n| {
            let plain = batch(&format!("a-{n}"), 0, 2 * n, (7 + n as u64, 1), (90, n as u64 % 3));
            with_units(plain, 2, &[(u64::MAX - n as u64 % 5, 1)])
        })
        .collect();
    let straight = after(&rollout, &batches.iter().map(std::slice::from_ref).collect::<Vec<_>>());
    for batch in &batches {
        let mut evidence = Evidence::of(&rollout);
        evidence.take_in(&rollout, std::slice::from_ref(batch), 100);
        // As text: that is how the store keeps it.
        let text = serde_json::to_string(&evidence).unwrap();
        rollout.evidence = serde_json::from_str(&text).unwrap();
    }
    let kept = Evidence::of(&rollout);
    let (kept, straight) = (&kept.guardrails[0].ratio, &straight.guardrails[0].ratio);
    assert_eq!(kept.compared(), straight.compared());
    assert_eq!(kept.phi(), straight.phi());
    assert!((kept.log_e_against_1() - straight.log_e_against_1()).abs() < 1e-9);
    assert_eq!(kept.interval(0.01), straight.interval(0.01));
}

#[test]
fn counts_of_an_earlier_step_are_evidence_by_themselves() {
    let rollout = Rollout { step: 2, ..plain() };
    let (late, now) = (batch("a-1", 1, 2, (5, 1), (95, 1)), batch("b-9", 2, 8, (50, 2), (50, 1)));
    let together = after(&rollout, &[&[late.clone(), now.clone()]]);
    let apart = after(&rollout, &[std::slice::from_ref(&now), std::slice::from_ref(&late)]);
    assert!(
        (together.guardrails[0].ratio.log_e_against_1()
            - apart.guardrails[0].ratio.log_e_against_1())
        .abs()
            < 1e-9
    );
    // The shares were others: one batch of both would say something else.
    let mixed = batch("x", 2, 8, (55, 3), (145, 2));
    let mixed = after(&rollout, &[&[mixed]]);
    assert_eq!(mixed.guardrails[0].ratio.compared(), together.guardrails[0].ratio.compared());
    let (one, other) = (&mixed.guardrails[0].ratio, &together.guardrails[0].ratio);
    assert!((one.log_e_against_1() - other.log_e_against_1()).abs() > 0.1);
    // A late batch does not meet what waits for the other arm at this step.
    let waiting = batch("b-1", 2, 8, (0, 0), (100, 1));
    let both = after(&rollout, &[&[waiting], &[batch("a-1", 1, 2, (5, 1), (0, 0))]]);
    assert_eq!(both.guardrails[0].ratio.compared().canary_requests, 0);
}

#[test]
fn units_that_fail_again_hang_together_over_batches_for_an_hour() {
    let rollout = plain();
    let fails = |at, unit| with_units(batch("a", 0, at, (10, 1), (90, 0)), 2, &[(unit, 1)]);
    let one_unit =
        after(&rollout, &[&[fails(0, 7)], &[fails(2, 7)], &[fails(4, 7)], &[fails(6, 7)]]);
    assert_eq!(one_unit.guardrails[0].ratio.phi(), 4.0);
    let four = after(&rollout, &[&[fails(0, 7)], &[fails(2, 8)], &[fails(4, 9)], &[fails(6, 1)]]);
    assert_eq!(four.guardrails[0].ratio.phi(), 1.0);
    let hours = after(&rollout, &[&[fails(0, 7)], &[fails(3_600, 7)], &[fails(7_200, 7)]]);
    assert_eq!(hours.guardrails[0].ratio.phi(), 1.0);
    // Two routers saw the same unit.
    let two = after(&rollout, &[&[fails(0, 7), fails(0, 7)]]);
    assert_eq!(two.guardrails[0].ratio.phi(), 2.0);
}

#[test]
fn no_more_units_are_told_apart_than_may_be() {
    let rollout = plain();
    let mut evidence = Evidence::of(&rollout);
    for n in 0..20 {
        let fails = batch("a", 0, n, (10, 3), (90, 0));
        let units = [(1, 2), (100 + u64::try_from(n).unwrap(), 1)];
        evidence.take_in(&rollout, &[with_units(fails, 2, &units)], 10);
        assert!(evidence.guardrails[0].units() <= 10);
    }
    // The one that fails again and again is still known: 40 events of its own, and 20 of others.
    assert_eq!(evidence.guardrails[0].ratio.phi(), f64::from(40 * 40 + 20) / 60.0);
}

#[test]
fn a_lost_guardrail_rolls_back_at_once_also_while_paused_and_says_the_figures() {
    let mut rollout = plain();
    let evidence = after(&rollout, &[&[batch("a", 0, 2, (1_000, 31), (9_000, 90))]]);
    let Verdict::RollBack { why } = judge(&rollout, &evidence, PATIENCE, moment(2)) else {
        panic!("{:?}", judge(&rollout, &evidence, PATIENCE, moment(2)));
    };
    let words = "errors 3.1 % against 1 % at the same time, ratio at least 1.3";
    assert!(why.starts_with(words), "{why}");
    assert!(why.ends_with(" with 99 % confidence, after 1000 canary requests"), "{why}");
    rollout.state = RolloutState::Paused;
    assert!(matches!(judge(&rollout, &evidence, PATIENCE, moment(2)), Verdict::RollBack { .. }));
    // Small harm that is tolerated, or too small an excess, is left alone.
    rollout.plan.tolerated_ratio = 3.0;
    assert!(matches!(judge(&rollout, &evidence, PATIENCE, moment(2)), Verdict::Stay { .. }));
    (rollout.plan.tolerated_ratio, rollout.plan.minimum_excess) = (1.0, 0.05);
    assert!(matches!(judge(&rollout, &evidence, PATIENCE, moment(2)), Verdict::Stay { .. }));
}

#[test]
fn more_guardrails_take_more_evidence_each() {
    let few = rollout(RolloutPlan::default());
    let guardrails = (1..=20).map(|n| Guardrail::Slow { over_ms: Some(f64::from(n)) });
    let plan = RolloutPlan { guardrails: guardrails.collect(), ..RolloutPlan::default() };
    let many = rollout(plan);
    let counted = batch("a", 0, 2, (500, 18), (4_500, 45));
    let lost = |rollout: &Rollout| {
        let verdict =
            judge(rollout, &after(rollout, &[std::slice::from_ref(&counted)]), PATIENCE, moment(2));
        matches!(verdict, Verdict::RollBack { .. })
    };
    assert!(lost(&few) && !lost(&many));
}

#[test]
fn a_step_takes_evidence_and_time_and_then_goes_on() {
    let mut rollout = plain();
    let little = after(&rollout, &[&[batch("a", 0, 2, (46, 0), (4_554, 45))]]);
    let Verdict::Stay { why, notice: None } = judge(&rollout, &little, PATIENCE, moment(400))
    else {
        panic!();
    };
    assert!(why.contains("46 of 47 requests") && why.contains("5 %"), "{why}");
    let enough = after(&rollout, &[&[batch("a", 0, 2, (500, 5), (49_500, 495))]]);
    let Verdict::Stay { why, .. } = judge(&rollout, &enough, PATIENCE, moment(299)) else {
        panic!();
    };
    assert!(why.contains("until the step has lasted 5 minutes"), "{why}");
    let Verdict::GoOn { why } = judge(&rollout, &enough, PATIENCE, moment(300)) else { panic!() };
    assert!(why.contains("at 5 % of the traffic at most"), "{why}");
    assert!(why.contains("errors 1 % against 1 %, after 500 canary requests"), "{why}");
    rollout.state = RolloutState::Paused;
    assert!(matches!(judge(&rollout, &enough, PATIENCE, moment(300)), Verdict::Stay { .. }));
    // What is within the budget at 5 % is not yet at 100 %.
    (rollout.state, rollout.step) = (RolloutState::Running, 3);
    assert!(matches!(judge(&rollout, &enough, PATIENCE, moment(300)), Verdict::Stay { .. }));
}

#[test]
fn people_are_told_once_when_a_step_lasts_too_long() {
    let rollout = plain();
    let mut evidence = after(&rollout, &[&[batch("a", 0, 2, (1, 0), (99, 0))]]);
    let day = moment(24 * 3600);
    let Verdict::Stay { why, notice } = judge(&rollout, &evidence, PATIENCE, day) else { panic!() };
    assert_eq!(notice, Some(Notice::Stuck));
    assert!(why.starts_with("stuck for more than 1 day: waits at 1 %"), "{why}");
    evidence.told_stuck = Some(0);
    let again = judge(&rollout, &evidence, PATIENCE, day);
    assert!(matches!(again, Verdict::Stay { notice: None, .. }), "{again:?}");
    // The evidence may still come.
    evidence.take_in(&rollout, &[batch("b", 0, 3, (500, 5), (49_500, 495))], 100);
    assert!(matches!(judge(&rollout, &evidence, PATIENCE, day), Verdict::GoOn { .. }));
}

#[test]
fn a_canary_that_answers_nothing_is_told_of_and_then_rolled_back() {
    let rollout = plain();
    let mut evidence = Evidence::of(&rollout);
    let refuses = |at: i64| {
        let mut refused = batch("a", 0, at, (0, 0), (100, 0));
        let arm = ArmCounts { unanswered: 3, ..ArmCounts::default() };
        refused.arms.insert(version(2), arm);
        refused
    };
    let mut told = Vec::new();
    for at in (0..=300).step_by(2) {
        evidence.take_in(&rollout, &[refuses(at)], 100);
        match judge(&rollout, &evidence, PATIENCE, moment(at)) {
            Verdict::Stay { notice: Some(notice), why } => {
                assert!(
                    why.starts_with("the canary answered none of its last 9 requests"),
                    "{why}"
                );
                evidence.told_silent = true;
                told.push((at, notice));
            }
            Verdict::Stay { .. } => assert!(at < 300),
            Verdict::RollBack { why } => {
                assert_eq!(at, 300);
                assert!(why.contains("none of its last 453 requests, for 5 minutes"), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told, [(4, Notice::Silent)]);
    // One answer, and it is well again.
    evidence.take_in(&rollout, &[batch("a", 0, 302, (1, 0), (99, 0))], 100);
    assert_eq!(evidence.silence, None);
    // Where nobody asked the canary, it is not its fault.
    let mut quiet = Evidence::of(&rollout);
    for at in (0..=600).step_by(2) {
        quiet.take_in(&rollout, &[batch("a", 0, at, (0, 0), (100, 0))], 100);
    }
    let verdict = judge(&rollout, &quiet, PATIENCE, moment(600));
    assert!(matches!(verdict, Verdict::Stay { notice: None, .. }), "{verdict:?}");
    // A canary that takes nothing while the baseline has no traffic is not silent, it is night.
    let mut night = Evidence::of(&rollout);
    let mut alone = refuses(0);
    alone.arms.remove(&version(1));
    night.take_in(&rollout, &[alone], 100);
    assert_eq!(night.silence, None);
}

fn exposure(unit: Option<&str>, of: u32, step: u32, at: i64) -> Exposure {
    let mut decision = Decision::new(1, Reason::Unit, 0.1, unit.map(str::to_owned));
    decision.epoch = Some(step);
    Exposure {
        prediction_id: PredictionId::new(),
        at: moment(at),
        version: version(of),
        decision,
        label: None,
        confidence: None,
        value: None,
        latency_us: 1,
        cached: false,
        degraded: None,
        error: None,
    }
}

#[test]
fn units_count_once_where_they_first_came_and_a_wrong_split_is_found() {
    let steps = RolloutPlan { steps: vec![0.1, 1.0], ..RolloutPlan::default() };
    let rollout = rollout(steps);
    let share = |every: u32| {
        let mut units = Units::default();
        let exposures: Vec<Exposure> = (0..4_000_u32)
            .flat_map(|n| {
                let of = if n % every == 0 { 2 } else { 1 };
                let unit = format!("user-{n}");
                // Heavy users of the canary ask five times as often.
                (0..if of == 2 { 5 } else { 1 }).map(move |_| exposure(Some(&unit), of, 0, 0))
            })
            .collect();
        assert!(units.count(&exposures, version(2), moment(1)));
        assert_eq!(units.len(), 4_000);
        units.mismatch(&rollout)
    };
    assert_eq!(share(10), None);
    let why = share(5).unwrap();
    assert!(why.contains("800 of 4000 units (20 %)"), "{why}");
    // Records that are not settled are left for the next look.
    let mut units = Units::default();
    let two = [exposure(None, 1, 0, 0), exposure(None, 1, 0, 9)];
    assert!(!units.count(&two, version(2), moment(5)));
    assert_eq!((units.len(), units.after), (1, Some(two[0].prediction_id)));
}
