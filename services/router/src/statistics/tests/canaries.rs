//! Rollback and promotion.

use crate::statistics::canary::{HarmBudget, Loss};
use crate::statistics::rate_ratio::{Batch, RateRatio};

fn after(batches: u64, canary: (u64, u64), baseline: (u64, u64)) -> RateRatio {
    let mut state = RateRatio::default();
    for _ in 0..batches {
        state.update(&Batch::of_requests(canary, baseline));
    }
    state
}

#[test]
fn a_broken_canary_is_gone_after_a_handful_of_requests() {
    // 1 % of traffic, all of it fails; the baseline fails at 1 %.
    let mut state = RateRatio::default();
    let mut requests = 0;
    while !Loss::default().is_lost(&state) {
        state.update(&Batch::of_requests((1, 1), (99, 1)));
        requests += 1;
    }
    assert!(requests <= 4, "{requests}");
}

#[test]
fn a_baseline_without_errors_is_no_trouble() {
    assert!(!Loss::default().is_lost(&after(10, (100, 0), (900, 0))));
    assert!(Loss::default().is_lost(&after(10, (100, 2), (900, 0))));
}

#[test]
fn a_real_but_tiny_difference_is_left_alone() {
    // 1.00 % against 1.05 % on ten million requests.
    let state = after(100, (50_000, 525), (50_000, 500));
    assert!(state.interval(0.01).lower > 1.0);
    assert!(!Loss::default().is_lost(&state));
    assert!(Loss { least_excess: 0.0, ..Loss::default() }.is_lost(&state));
    let tolerant = Loss { tolerated_ratio: 1.25, least_excess: 0.0, ..Loss::default() };
    assert!(!tolerant.is_lost(&state));
}

#[test]
fn nothing_advances_before_there_is_evidence() {
    let budget = HarmBudget::default();
    let nothing = budget.look(&RateRatio::default(), 0.05);
    assert!(!nothing.is_allowed());
    assert_eq!(nothing.requests, 0);
    assert!(nothing.reason().contains("0 of 47 requests"), "{}", nothing.reason());
    // ln(100) 0.05/0.005 = 46.05 requests without an error on a baseline without errors.
    assert!(!budget.look(&after(46, (1, 0), (99, 0)), 0.05).is_allowed());
    assert!(budget.look(&after(47, (1, 0), (99, 0)), 0.05).is_allowed());
    // What costs little may go on sooner than what costs much.
    let some = after(10, (100, 1), (900, 9));
    assert!(budget.look(&some, 0.05).is_allowed());
    let all = budget.look(&some, 1.0);
    assert!(!all.is_allowed() && all.reason().contains("still above 0.500 %"), "{}", all.reason());
}

#[test]
fn an_edge_of_the_grid_bounds_nothing() {
    // The canary fails at 2 %, the baseline never: the grid ends at 30 times next to nothing.
    let state = after(100, (100, 2), (9_900, 0));
    let edge = state.interval(0.01);
    assert!(edge.upper_at_grid_edge);
    let look = HarmBudget::default().look(&state, 1.0);
    assert!(look.worst_harm > 0.019, "{}", look.worst_harm);
}

#[test]
fn a_batch_of_one_arm_says_nothing_about_the_ratio() {
    let mut state = after(5, (10, 1), (90, 1));
    let (before, compared) = (state.log_e_against_1(), *state.compared());
    state.update(&Batch::of_requests((0, 0), (1_000, 500)));
    state.update(&Batch::of_requests((50, 50), (0, 0)));
    assert_eq!((state.log_e_against_1(), *state.compared()), (before, compared));
    assert_eq!(RateRatio::default().excess(), None);
}

#[test]
fn a_long_run_does_not_overflow() {
    let state = after(20_000, (100_000, 90_000), (900_000, 9));
    assert!(state.log_e_against_1() > 1e9 && state.log_e_against_1().is_finite());
    assert_eq!(state.p_value(), 0.0);
    let interval = state.interval(0.01);
    assert_eq!((interval.lower, interval.upper), (30.0, 30.0));
    let none = after(3, (100, 0), (900, 0));
    assert!((none.p_value() - 1.0).abs() < 1e-12);
}

#[test]
fn users_with_many_failures_count_for_less() {
    let batch = Batch::of_requests((100, 20), (900, 20));
    let mut by_request = RateRatio::default();
    by_request.update(&batch);
    assert_eq!(by_request.phi(), 1.0);
    // The same 40 bad events, 20 at each of two users.
    let mut by_user = RateRatio::default();
    by_user.update(&Batch { squared_events: 800, ..batch });
    assert_eq!(by_user.phi(), 20.0);
    assert!(Loss::default().is_lost(&by_request) && !Loss::default().is_lost(&by_user));
}
