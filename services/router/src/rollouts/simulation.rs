//! The whole state machine on simulated traffic, as figures of `docs/rollouts.md` have it: seeded, so
//! that it is the same on every machine.

use domain::rollout::{Rollout, RolloutPlan};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::evidence::Evidence;
use super::share;
use super::tests::{PATIENCE, batch, moment, rollout};
use super::verdict::{Verdict, judge};

/// Requests between two looks.
const LOOK: u64 = 250;

#[derive(Debug, PartialEq)]
enum End {
    Promoted,
    RolledBack,
}

/// A rollout from its first step to its end: what it came to, requests of both arms, and those of the
/// canary.
fn run(plan: &RolloutPlan, baseline: f64, canary: f64, seed: u64) -> (End, u64, u64) {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let mut rollout: Rollout = rollout(plan.clone());
    let mut evidence = Evidence::of(&rollout);
    let (mut requests, mut canaries, mut at) = (0, 0, 0);
    loop {
        let now = share(&rollout);
        let (mut of_canary, mut of_baseline) = ((0, 0), (0, 0));
        for _ in 0..LOOK {
            let (arm, rate) = if chance.random::<f64>() < now {
                (&mut of_canary, canary)
            } else {
                (&mut of_baseline, baseline)
            };
            arm.0 += 1;
            arm.1 += u64::from(chance.random::<f64>() < rate);
        }
        (requests, canaries, at) = (requests + LOOK, canaries + of_canary.0, at + 1);
        let id = format!("a-{at}");
        let counted = batch(&id, rollout.step, at, of_canary, of_baseline);
        evidence.take_in(&rollout, &[counted], 100);
        match judge(&rollout, &evidence, PATIENCE, moment(at)) {
            Verdict::Stay { .. } => {}
            Verdict::RollBack { .. } => return (End::RolledBack, requests, canaries),
            Verdict::GoOn { .. } if rollout.step as usize + 2 == plan.steps.len() => {
                return (End::Promoted, requests, canaries);
            }
            Verdict::GoOn { .. } => {
                rollout.step += 1;
                rollout.step_since = moment(at);
                evidence.begin_step();
            }
        }
        assert!(requests < 3_000_000, "no end");
    }
}

/// Runs that were promoted and that were rolled back, and the median of the requests of each.
fn runs(count: u64, plan: &RolloutPlan, baseline: f64, canary: f64) -> [(usize, u64); 2] {
    let ends: Vec<_> = (0..count).map(|seed| run(plan, baseline, canary, seed)).collect();
    [End::Promoted, End::RolledBack].map(|wanted| {
        let mut of: Vec<u64> = ends
            .iter()
            .filter(|(end, ..)| *end == wanted)
            .map(|(_, requests, _)| *requests)
            .collect();
        of.sort_unstable();
        (of.len(), of.get(of.len() / 2).copied().unwrap_or_default())
    })
}

/// The plan of the table: no time has to pass, and no excess is too small.
fn plan(harm_budget: f64) -> RolloutPlan {
    RolloutPlan { harm_budget, minimum_step_s: 0, minimum_excess: 0.0, ..RolloutPlan::default() }
}

#[test]
fn an_equal_canary_is_promoted_after_about_47_000_requests() {
    let [promoted, rolled_back] = runs(40, &plan(0.005), 0.01, 0.01);
    assert!(promoted.0 >= 39, "{promoted:?}, {rolled_back:?}");
    assert!((40_000..55_000).contains(&promoted.1), "{promoted:?}");
}

#[test]
fn a_better_canary_is_promoted_sooner() {
    let [promoted, _] = runs(25, &plan(0.005), 0.01, 0.005);
    assert_eq!(promoted.0, 25);
    assert!((14_000..21_000).contains(&promoted.1), "{promoted:?}");
}

#[test]
fn a_canary_that_fails_three_times_as_often_is_never_promoted() {
    let [promoted, rolled_back] = runs(25, &plan(0.005), 0.01, 0.03);
    assert_eq!(promoted.0, 0);
    assert!((15_000..27_000).contains(&rolled_back.1), "{rolled_back:?}");
}

#[test]
fn a_canary_that_fails_ten_times_as_often_is_gone_soon() {
    let [promoted, rolled_back] = runs(25, &plan(0.005), 0.01, 0.1);
    assert_eq!(promoted.0, 0);
    assert!((3_000..6_500).contains(&rolled_back.1), "{rolled_back:?}");
    let (_, _, exposed) = run(&plan(0.005), 0.01, 1.0, 1);
    assert!(exposed <= 10, "{exposed} requests came to a canary that answers none");
}
