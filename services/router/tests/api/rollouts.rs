//! Rollouts of a router with replicas that a test can break.

use std::sync::atomic::Ordering;
use std::time::Duration;

use contracts::router::{ActOnRollout, NewRollout, RolloutAction, RolloutQuery, RolloutView};
use contracts::{ApiError, ErrorCode};
use domain::counts::{ArmCounts, CountBatch};
use domain::rollout::{Gate, Guardrail, RolloutPlan, RolloutState};
use domain::{Clock as _, PlanId, Role, Route, VersionId};

use super::{Test, call, start_with};

fn version(number: u32) -> VersionId {
    VersionId::new(number).unwrap()
}

/// As short as it can be.
fn quick() -> RolloutPlan {
    RolloutPlan {
        steps: vec![0.3, 0.6, 1.0],
        harm_budget: 0.2,
        minimum_step_s: 0,
        step_timeout_s: 1_000,
        ..RolloutPlan::default()
    }
}

impl Test {
    /// A model with two versions.
    async fn with_two() -> Self {
        let test = Self::new(1).await;
        test.upload().await.unwrap();
        test.upload().await.unwrap();
        test
    }

    async fn roll_out(&self, plan: RolloutPlan) -> Result<RolloutView, ApiError> {
        let model = "iris".parse().unwrap();
        let reason = "it is better".to_owned();
        let new = NewRollout { model, canary: version(2), baseline: None, plan, reason };
        self.router.create_rollout(call(Role::Engineer), new).await
    }

    async fn do_to(&self, id: &PlanId, action: RolloutAction) -> Result<RolloutView, ApiError> {
        let request = ActOnRollout { id: id.clone(), action };
        self.router.act_on_rollout(call(Role::Engineer), request).await
    }

    async fn see(&self, id: &PlanId) -> RolloutView {
        self.router.rollout(call(Role::Analyst), id.clone()).await.unwrap()
    }

    async fn iris_route(&self) -> Route {
        self.router.route(call(Role::Engineer), "iris".parse().unwrap()).await.unwrap()
    }

    /// Asks until the rollout is as it is waited for; each request is assigned by itself.
    async fn ask_until(
        &self,
        id: &PlanId,
        what: &str,
        mut is_so: impl FnMut(&RolloutView) -> bool,
    ) -> RolloutView {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        loop {
            for _ in 0..50 {
                self.predict(None).await.ok();
            }
            let view = self.see(id).await;
            if is_so(&view) {
                return view;
            }
            assert!(std::time::Instant::now() < deadline, "{what}: {view:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn promote() -> RolloutAction {
    RolloutAction::Promote { reason: "seen enough".to_owned() }
}

fn abort() -> RolloutAction {
    RolloutAction::Abort { reason: String::new() }
}

#[tokio::test]
async fn a_good_canary_goes_from_step_to_step_and_is_promoted() {
    let test = Test::with_two().await;
    let begun = test.roll_out(quick()).await.unwrap();
    let route = test.iris_route().await;
    let shares: Vec<_> = route.arms.iter().map(|arm| arm.share_ppm).collect();
    assert_eq!((shares, route.generation), (vec![700_000, 300_000], 2));
    assert_eq!(route.rollout.as_ref().map(|ramp| &ramp.id), Some(&begun.rollout.id));
    assert_eq!((begun.rollout.moves.len(), begun.rollout.state), (1, RolloutState::Running));
    let mut grown = vec![route];
    let ended =
        test.ask_until(&begun.rollout.id, "promoted", |view| !view.rollout.state.is_open()).await;
    assert_eq!(ended.rollout.state, RolloutState::Promoted, "{}", ended.rollout.status);
    grown.push(test.iris_route().await);
    let moves: Vec<_> = ended.rollout.moves.iter().map(|step| step.share).collect();
    assert_eq!(moves, [0.3, 0.6, 1.0]);
    let generations: Vec<_> = ended.rollout.moves.iter().map(|step| step.generation).collect();
    assert_eq!(generations, [2, 3, 4]);
    assert!(ended.rollout.status.contains("with 99 % confidence"), "{}", ended.rollout.status);
    assert_eq!((grown[1].whole(), grown[1].rollout.is_none()), (Some(version(2)), true));
    assert_eq!(grown[1].updated_by, begun.rollout.id.as_str());
    let asked = test.replicas[0].answers.load(Ordering::Relaxed);
    let counted = ended.canary_requests + ended.baseline_requests;
    assert!(counted > 100 && counted <= asked, "{counted} counted of {asked}");
    // It is over.
    let again = test.do_to(&begun.rollout.id, promote()).await.unwrap_err();
    assert_eq!(again.code, ErrorCode::Conflict);
    assert!(again.message.contains("is over: promoted"), "{}", again.message);
    let whole = test.roll_out(quick()).await.unwrap_err();
    assert!(whole.message.contains("has everything already"), "{}", whole.message);
}

#[tokio::test]
async fn a_bad_canary_is_rolled_back_and_stays_blocked() {
    let test = Test::with_two().await;
    *test.replicas[0].bad.lock().unwrap() = Some((2, 3, ErrorCode::Internal));
    let plan = RolloutPlan { harm_budget: 0.001, ..quick() };
    let begun = test.roll_out(plan).await.unwrap();
    let id = begun.rollout.id;
    let ended = test.ask_until(&id, "rolled back", |view| !view.rollout.state.is_open()).await;
    assert_eq!(ended.rollout.state, RolloutState::RolledBack);
    let why = &ended.rollout.status;
    assert!(why.starts_with("rolled back: errors ") && why.contains(" against 0 % "), "{why}");
    let route = test.iris_route().await;
    assert_eq!((route.whole(), route.rollout.is_none()), (Some(version(1)), true));
    assert_eq!(route.blocks(version(2)).unwrap().by, id.as_str());
    for _ in 0..50 {
        test.predict(None).await.unwrap();
    }
    let again = test.roll_out(quick()).await.unwrap_err();
    assert_eq!(again.code, ErrorCode::Conflict);
    assert!(again.message.contains("is blocked since"), "{}", again.message);
    assert_eq!(ended.guardrails[0].name, "errors");
    assert!(ended.guardrails[0].ratio_lower.unwrap() > 1.0, "{:?}", ended.guardrails);
}

#[tokio::test]
async fn a_canary_that_refuses_all_is_told_of_and_then_rolled_back() {
    let test = Test::with_two().await;
    *test.replicas[0].bad.lock().unwrap() = Some((2, 1, ErrorCode::Unprocessable));
    let begun = test.roll_out(quick()).await.unwrap();
    let id = begun.rollout.id;
    let silent =
        test.ask_until(&id, "silence", |view| view.rollout.status.contains("answered none")).await;
    assert_eq!((silent.canary_requests, silent.rollout.step), (0, 0));
    let ended = test.ask_until(&id, "rolled back", |view| !view.rollout.state.is_open()).await;
    assert_eq!(ended.rollout.state, RolloutState::RolledBack);
    assert!(ended.rollout.status.contains("refused as the clients' fault"));
}

#[tokio::test]
async fn one_rollout_at_a_time_and_each_value_is_checked() {
    let test = Test::with_two().await;
    let bad = RolloutPlan { steps: vec![0.5], alpha: 0.0, ..quick() };
    let error = test.roll_out(bad).await.unwrap_err();
    let pointers: Vec<_> = error.errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(pointers, ["#/plan/steps", "#/plan/alpha"]);
    let gate = |url: &str| Gate { name: "ci".to_owned(), url: url.to_owned() };
    let inside = RolloutPlan { gates: vec![gate("http://169.254.169.254/latest")], ..quick() };
    let error = test.roll_out(inside).await.unwrap_err();
    assert_eq!(error.errors[0].pointer, "#/plan/gates/0/url", "{error}");
    let both = tokio::join!(test.roll_out(quick()), test.roll_out(quick()));
    let outcomes = [both.0, both.1];
    let (began, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((began.len(), refused.len()), (1, 1));
    let begun = began.into_iter().next().unwrap().unwrap();
    let error = refused.into_iter().next().unwrap().unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict, "{error}");
    let third = test.roll_out(quick()).await.unwrap_err();
    assert!(third.message.contains(begun.rollout.id.as_str()), "{}", third.message);
    // Not all that was refused is still open.
    let query = RolloutQuery { model: None, open: true };
    let open = test.router.rollouts(call(Role::Analyst), query).await.unwrap();
    assert_eq!(open.rollouts.len(), 1, "{open:#?}");
}

#[tokio::test]
async fn people_hold_go_on_end_and_promote_by_hand() {
    let test = Test::with_two().await;
    let slow = RolloutPlan { minimum_step_s: 900, ..quick() };
    let id = test.roll_out(slow.clone()).await.unwrap().rollout.id;
    let none = test.do_to(&id, RolloutAction::Resume).await.unwrap_err();
    assert!(none.message.contains("is not paused"), "{}", none.message);
    let reason = "lunch".to_owned();
    let paused = test.do_to(&id, RolloutAction::Pause { reason }).await.unwrap();
    assert_eq!(paused.rollout.status, "paused by t: lunch");
    test.ask_until(&id, "counts while paused", |view| view.canary_requests > 50).await;
    assert_eq!(test.see(&id).await.rollout.state, RolloutState::Paused);
    test.do_to(&id, RolloutAction::Resume).await.unwrap();
    let none = test.do_to(&id, RolloutAction::Approve).await.unwrap_err();
    assert!(none.message.contains("waits for nobody's approval"), "{}", none.message);
    let ended = test.do_to(&id, abort()).await.unwrap();
    assert_eq!(ended.rollout.state, RolloutState::Aborted);
    let route = test.iris_route().await;
    assert_eq!((route.whole(), route.blocked.len()), (Some(version(1)), 0));
    // Nothing is blocked: another one begins, and is promoted while counts come in.
    let id = test.roll_out(slow).await.unwrap().rollout.id;
    test.ask_until(&id, "counts", |view| view.canary_requests > 10).await;
    let ended = test.do_to(&id, promote()).await.unwrap();
    assert_eq!(ended.rollout.status, "promoted by t: seen enough");
    assert_eq!(test.iris_route().await.whole(), Some(version(2)));
}

#[tokio::test]
async fn a_step_waits_for_approval_where_it_is_asked_for() {
    let test = Test::with_two().await;
    let plan = RolloutPlan { approve: vec![1.0], ..quick() };
    let id = test.roll_out(plan).await.unwrap().rollout.id;
    let early = test.do_to(&id, RolloutAction::Approve).await.unwrap_err();
    assert!(early.message.contains("60 %"), "the next step is another: {}", early.message);
    let waits = |view: &RolloutView| view.rollout.status.contains("waits for a person");
    let view = test.ask_until(&id, "it waits", waits).await;
    assert_eq!((view.rollout.step, view.rollout.state), (1, RolloutState::Running));
    test.do_to(&id, RolloutAction::Approve).await.unwrap();
    let ended = test.ask_until(&id, "promoted", |view| !view.rollout.state.is_open()).await;
    assert_eq!(ended.rollout.state, RolloutState::Promoted);
}

#[tokio::test]
async fn a_route_that_somebody_else_changes_ends_the_rollout() {
    let test = Test::with_two().await;
    let plan = RolloutPlan { minimum_step_s: 900, ..quick() };
    let id = test.roll_out(plan).await.unwrap().rollout.id;
    // As another helper of the router would.
    let mut route = test.iris_route().await;
    (route.rollout, route.generation) = (None, route.generation + 1);
    route.updated_by = "eve".to_owned();
    route.updated_at -= time::Duration::minutes(1);
    test.relational.routes.put_route(route).await.unwrap();
    let ended = test.ask_until(&id, "it ended", |view| !view.rollout.state.is_open()).await;
    assert_eq!(ended.rollout.state, RolloutState::Superseded);
}

#[tokio::test]
async fn what_is_slow_is_found_from_the_log_if_that_holds_enough() {
    let test = Test::with_two().await;
    let plan = || RolloutPlan { guardrails: vec![Guardrail::Slow { over_ms: None }], ..quick() };
    let error = test.roll_out(plan()).await.unwrap_err();
    assert_eq!(error.errors[0].pointer, "#/plan/guardrails/0/over_ms");
    assert!(error.message.contains("0 of the 50 answers"), "{}", error.message);
    for _ in 0..60 {
        test.predict(None).await.unwrap();
    }
    let begun = test.roll_out(plan()).await.unwrap();
    let [Guardrail::Slow { over_ms: Some(over_ms) }] = begun.rollout.plan.guardrails.as_slice()
    else {
        panic!("{:?}", begun.rollout.plan)
    };
    assert!(*over_ms > 0.0 && *over_ms < 1_000.0, "{over_ms}");
}

#[tokio::test]
async fn another_router_goes_on_from_where_the_first_was() {
    let test = Test::with_two().await;
    let plan = RolloutPlan { minimum_step_s: 900, ..quick() };
    let id = test.roll_out(plan).await.unwrap().rollout.id;
    let before = test.ask_until(&id, "counts", |view| view.canary_requests > 50).await;
    assert!(test.process.stop(Duration::from_secs(5)).await);
    let Test { folder, router, relational, .. } = test;
    let held = std::sync::Arc::downgrade(&router);
    drop(router);
    while held.upgrade().is_some() {
        tokio::task::yield_now().await;
    }
    let test = start_with(folder, 1, relational).await.unwrap();
    let first = test.see(&id).await;
    assert!(first.canary_requests >= before.canary_requests);
    let more = first.canary_requests + 50;
    let after = test.ask_until(&id, "more counts", |view| view.canary_requests > more).await;
    assert_eq!(after.rollout.moves.len(), 1, "{:?}", after.rollout.moves);
}

#[tokio::test]
async fn a_step_that_a_driver_put_in_force_and_did_not_note_is_noted_by_the_next() {
    let test = Test::with_two().await;
    let plan = RolloutPlan { minimum_step_s: 900, ..quick() };
    let id = test.roll_out(plan).await.unwrap().rollout.id;
    let mut route = test.iris_route().await;
    let ramp = route.rollout.as_mut().unwrap();
    ramp.step = 1;
    route.reason = "the evidence allowed it".to_owned();
    (route.generation, route.updated_by) = (route.generation + 1, id.to_string());
    test.relational.routes.put_route(route).await.unwrap();
    let view = test.ask_until(&id, "noted", |view| view.rollout.step == 1).await;
    let last = view.rollout.moves.last().unwrap();
    assert_eq!((last.generation, last.share, last.by.as_str()), (3, 0.6, id.as_str()));
    // A rollback that was put in force, and no more.
    let mut route = test.iris_route().await;
    let blocked = domain::route::Blocked {
        version: version(2),
        reason: "rolled back: errors".to_owned(),
        by: id.to_string(),
        at: route.updated_at,
    };
    (route.rollout, route.generation) = (None, route.generation + 1);
    route.updated_by = id.to_string();
    route.blocked.push(blocked);
    test.relational.routes.put_route(route).await.unwrap();
    let view = test.ask_until(&id, "ended", |view| !view.rollout.state.is_open()).await;
    assert_eq!(view.rollout.state, RolloutState::RolledBack);
}

#[tokio::test]
async fn no_batch_is_counted_twice_or_lost() {
    let test = Test::with_two().await;
    let plan = RolloutPlan { minimum_step_s: 900, ..quick() };
    let id = test.roll_out(plan).await.unwrap().rollout.id;
    for _ in 0..300 {
        test.predict(None).await.unwrap();
    }
    let counted = async |wanted: u64| {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            let view = test.see(&id).await;
            let counted = view.canary_requests + view.baseline_requests;
            if counted == wanted {
                return;
            }
            let late = std::time::Instant::now() > deadline;
            assert!(counted < wanted && !late, "{counted} of {wanted}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    counted(300).await;
    // A batch that is sent again is known, also after it was taken in.
    let arm = ArmCounts { requests: 7, judged: vec![7], bad: vec![0], ..ArmCounts::default() };
    let batch = |id: &str, plan: &PlanId| CountBatch {
        id: id.to_owned(),
        plan: plan.clone(),
        step: 0,
        at: runtime::SystemClock.now(),
        arms: [(version(2), arm.clone())].into(),
    };
    for _ in 0..3 {
        test.relational.plans.count(&[batch("again-1", &id)]).await.unwrap();
        counted(307).await;
    }
    test.relational.plans.count(&[batch("again-1", &id), batch("again-2", &id)]).await.unwrap();
    counted(314).await;
}

#[tokio::test]
async fn people_of_other_roles_may_look_but_not_touch() {
    let test = Test::with_two().await;
    let id = test.roll_out(quick()).await.unwrap().rollout.id;
    let act = |role| {
        let request = ActOnRollout { id: id.clone(), action: abort() };
        test.router.act_on_rollout(call(role), request)
    };
    assert_eq!(act(Role::Analyst).await.unwrap_err().code, ErrorCode::Forbidden);
    assert_eq!(act(Role::Client).await.unwrap_err().code, ErrorCode::Forbidden);
    let seen = test.router.rollout(call(Role::Client), id.clone()).await.unwrap_err();
    assert_eq!(seen.code, ErrorCode::Forbidden);
    let other = PlanId::new(domain::PlanKind::Rollout);
    let gone = test.router.rollout(call(Role::Analyst), other).await.unwrap_err();
    assert_eq!(gone.code, ErrorCode::NotFound);
}
