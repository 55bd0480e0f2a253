//! Experiments and layers: what is refused, who wins of two, what a restart changes.

use std::collections::HashMap;

use contracts::router::{
    ActOnExperiment, Advice, ExperimentAction, ExperimentQuery, NewLayer, Report, WhatIf,
};
use domain::experiment::{Experiment, ExperimentState, PlannedArm};
use domain::feedback::{Feedback, Outcome};
use domain::prediction::{Decision, Payload};
use domain::{Clock as _, PlanId, PredictionId, PredictionRecord, RequestId};
use serde_json::{Value, json};

use super::*;

async fn with_versions(count: usize) -> Test {
    let test = Test::new(1).await;
    for _ in 0..count {
        test.upload().await.unwrap();
    }
    test
}

fn plan(name: &str) -> Value {
    json!({"name": name, "model": "iris", "hypothesis": "version 2 is right more often",
        "arms": [{"version": "1", "weight": 1}, {"version": "2", "weight": 1}], "control": "1",
        "primary": {"name": "accuracy", "of": {"measure": "value"}}, "minimum_effect": 0.05,
        "minimum_runtime_s": 0})
}

impl Test {
    async fn create(&self, plan: Value) -> Result<Experiment, ApiError> {
        let new = serde_json::from_value(plan).unwrap();
        self.router.create_experiment(call(Role::Engineer), new).await
    }

    async fn act(&self, id: &PlanId, action: Value) -> Result<Experiment, ApiError> {
        let action: ExperimentAction = serde_json::from_value(action).unwrap();
        let request = ActOnExperiment { id: id.clone(), action };
        self.router.act_on_experiment(call(Role::Engineer), request).await
    }

    async fn layer(&self, name: &str, holdout: f64) -> Result<domain::layer::Layer, ApiError> {
        let new = NewLayer { name: name.to_owned(), holdout };
        self.router.put_layer(call(Role::Engineer), new).await
    }

    async fn route(&self) -> domain::Route {
        self.router.route(call(Role::Engineer), "iris".parse().unwrap()).await.unwrap()
    }

    async fn report(&self, id: &PlanId) -> Report {
        self.router.report(call(Role::Analyst), id.clone()).await.unwrap()
    }

    async fn documents(&self) -> storage::Documents {
        storage::documents(&url(&self.folder, "sqlite", "documents.db")).await.unwrap()
    }
}

fn conflict(error: ApiError, words: &[&str]) {
    assert_eq!(error.code, ErrorCode::Conflict, "{error}");
    for word in words {
        assert!(error.message.contains(word), "`{word}` is not in: {}", error.message);
    }
}

fn action(name: &str) -> Value {
    json!({"action": name, "reason": "because"})
}

#[tokio::test]
async fn an_experiment_lives_and_each_state_refuses_what_it_cannot_do() {
    let test = with_versions(2).await;
    let draft = test.create(plan("colours")).await.unwrap();
    assert_eq!((draft.state, draft.slice.layer.as_str()), (ExperimentState::Draft, "model:iris"));
    assert_ne!(draft.salt, draft.slice.salt, "a layer's share and the arms do not correlate");
    let id = &draft.id;
    for name in ["pause", "resume"] {
        let action = json!({"action": name});
        conflict(test.act(id, action).await.unwrap_err(), &["`colours` is `draft`"]);
    }
    conflict(test.act(id, action("promote")).await.unwrap_err(), &["`draft`", "`running`"]);
    let running = test.act(id, json!({"action": "start"})).await.unwrap();
    assert_eq!((running.state, running.epochs.len()), (ExperimentState::Running, 1));
    let route = test.route().await;
    assert_eq!(route.trials.len(), 1);
    assert_eq!((&route.trials[0].experiment, route.trials[0].epoch), (id, 1));
    assert_eq!(route.cause, domain::route::Cause::Experiment);
    conflict(test.act(id, json!({"action": "start"})).await.unwrap_err(), &["`running`"]);
    let segments = route.trials[0].segments.clone();
    let paused = test.act(id, json!({"action": "pause"})).await.unwrap();
    assert_eq!(paused.state, ExperimentState::Paused);
    assert!(test.route().await.trials.is_empty());
    test.act(id, json!({"action": "resume"})).await.unwrap();
    assert_eq!(test.route().await.trials[0].segments, segments, "each unit gets its version back");
    let heavier = json!({"action": "weights", "reason": "it goes well",
        "arms": [{"version": "1", "weight": 1}, {"version": "2", "weight": 3}]});
    let weighed = test.act(id, heavier).await.unwrap();
    assert_eq!((weighed.epochs.len(), weighed.arms[1].share_ppm), (2, 750_000));
    let route = test.route().await;
    assert_eq!((route.trials[0].epoch, route.trials[0].arms[1].share_ppm), (2, 750_000));
    let promote = json!({"action": "promote", "version": "2", "reason": "it won"});
    let decided = test.act(id, promote).await.unwrap();
    assert_eq!(decided.state, ExperimentState::Decided);
    assert_eq!(decided.verdict.unwrap().version, VersionId::new(2));
    let route = test.route().await;
    assert_eq!((route.whole(), route.trials.len()), (VersionId::new(2), 0));
    for name in ["abort", "promote"] {
        conflict(test.act(id, action(name)).await.unwrap_err(), &["`decided`"]);
    }
}

#[tokio::test]
async fn weights_of_other_arms_a_strange_version_and_no_reason_are_refused() {
    let test = with_versions(3).await;
    let draft = test.create(plan("colours")).await.unwrap();
    test.act(&draft.id, json!({"action": "start"})).await.unwrap();
    let other = json!({"action": "weights", "reason": "x",
        "arms": [{"version": "1", "weight": 1}, {"version": "3", "weight": 3}]});
    let error = test.act(&draft.id, other).await.unwrap_err();
    assert_eq!(error.errors[0].pointer, "#/arms");
    let strange = json!({"action": "promote", "version": "3", "reason": "x"});
    assert_eq!(test.act(&draft.id, strange).await.unwrap_err().errors[0].pointer, "#/version");
    let silent = json!({"action": "abort", "reason": " "});
    assert_eq!(test.act(&draft.id, silent).await.unwrap_err().errors[0].pointer, "#/reason");
    let unknown = PlanId::new(domain::PlanKind::Experiment);
    let error = test.act(&unknown, json!({"action": "start"})).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound);
}

#[tokio::test]
async fn of_two_who_promote_at_once_one_wins() {
    let test = with_versions(2).await;
    let draft = test.create(plan("colours")).await.unwrap();
    test.act(&draft.id, json!({"action": "start"})).await.unwrap();
    let promote = |version: &str| json!({"action": "promote", "version": version, "reason": "x"});
    let (one, two) =
        tokio::join!(test.act(&draft.id, promote("1")), test.act(&draft.id, promote("2")));
    assert_eq!(u8::from(one.is_ok()) + u8::from(two.is_ok()), 1, "{one:?} {two:?}");
    let (won, lost) = if one.is_ok() { (one, two) } else { (two, one) };
    conflict(lost.unwrap_err(), &["`decided`"]);
    let version = won.unwrap().verdict.unwrap().version;
    assert_eq!(test.route().await.whole(), version, "the route is as the verdict says");
}

#[tokio::test]
async fn a_layer_gives_each_unit_to_one_experiment_at_most() {
    let test = with_versions(2).await;
    let share = |name: &str, layer: &str, traffic: f64| {
        let mut plan = plan(name);
        plan["layer"] = json!(layer);
        plan["traffic"] = json!(traffic);
        plan
    };
    let error = test.create(share("a", "pricing", 0.5)).await.unwrap_err();
    assert_eq!(error.errors[0].pointer, "#/layer");
    test.layer("pricing", 0.1).await.unwrap();
    let first = test.create(share("a", "pricing", 0.5)).await.unwrap();
    assert_eq!((first.slice.start, first.slice.end), (0, 500_000));
    let second = test.create(share("b", "pricing", 0.4)).await.unwrap();
    assert_eq!((second.slice.start, second.slice.end), (500_000, 900_000));
    let error = test.create(share("c", "pricing", 0.01)).await.unwrap_err();
    conflict(
        error,
        &["no room for 1 %", "0 % to 50 % by `a`", "50 % to 90 % by `b`", "hold-out 10 %"],
    );
    conflict(test.layer("pricing", 0.2).await.unwrap_err(), &["hold-out", "by `b`"]);
    conflict(test.create(share("a", "pricing", 0.01)).await.unwrap_err(), &["named `a`"]);
    let layers = test.router.layers(call(Role::Analyst)).await.unwrap().layers;
    let held: Vec<_> = layers.iter().map(|one| (one.layer.name.as_str(), one.held.len())).collect();
    assert_eq!(held, [("pricing", 2)]);
    // Both run side by side; one of another layer may not join them.
    test.act(&first.id, json!({"action": "start"})).await.unwrap();
    test.act(&second.id, json!({"action": "start"})).await.unwrap();
    let other = test.create(plan("d")).await.unwrap();
    let error = test.act(&other.id, json!({"action": "start"})).await.unwrap_err();
    conflict(error, &["in layer `pricing`", "model:iris", "must share a layer"]);
    // What has ended holds nothing.
    test.act(&first.id, action("abort")).await.unwrap();
    assert_eq!(test.create(share("e", "pricing", 0.5)).await.unwrap().slice.start, 0);
    for bad in ["", "a b", "model:", "model:nothing"] {
        assert!(test.layer(bad, 0.0).await.is_err(), "{bad}");
    }
    assert_eq!(test.layer("x", 1.0).await.unwrap_err().errors[0].pointer, "#/holdout");
}

#[tokio::test]
async fn two_who_plan_at_once_get_different_units() {
    let test = with_versions(2).await;
    let half = |name: &str| {
        let mut plan = plan(name);
        plan["traffic"] = json!(0.5);
        plan
    };
    let (one, two) = tokio::join!(test.create(half("a")), test.create(half("b")));
    let mut starts = [one.unwrap().slice.start, two.unwrap().slice.start];
    starts.sort_unstable();
    assert_eq!(starts, [0, 500_000]);
}

#[tokio::test]
async fn a_rollout_or_a_blocked_version_stands_in_the_way() {
    let test = with_versions(2).await;
    let draft = test.create(plan("colours")).await.unwrap();
    let relational =
        storage::relational(&url(&test.folder, "sqlite", "relational.db")).await.unwrap();
    let change = |edit: fn(&mut domain::Route)| {
        let routes = Arc::clone(&relational.routes);
        async move {
            let mut route = routes.route(&"iris".parse().unwrap()).await.unwrap().unwrap();
            edit(&mut route);
            route.generation += 1;
            routes.put_route(route).await.unwrap();
        }
    };
    change(|route| route.rollout = Some(crate::ramp(PlanId::new(domain::PlanKind::Rollout)))).await;
    let start = json!({"action": "start"});
    conflict(test.act(&draft.id, start.clone()).await.unwrap_err(), &["rollout `rol_"]);
    change(|route| {
        route.rollout = None;
        route.blocked = vec![domain::route::Blocked {
            version: VersionId::new(2).unwrap(),
            reason: "it fails".to_owned(),
            by: "anna".to_owned(),
            at: SystemClock.now(),
        }];
    })
    .await;
    conflict(test.act(&draft.id, start).await.unwrap_err(), &["version `2`", "it fails"]);
    let listed = test.router.experiments(call(Role::Analyst), ExperimentQuery::default()).await;
    assert_eq!(listed.unwrap().experiments[0].state, ExperimentState::Draft);
}

#[tokio::test]
async fn roles_and_scopes_are_checked_here_too() {
    let test = with_versions(2).await;
    let draft = test.create(plan("colours")).await.unwrap();
    let forbidden = |code: ErrorCode| assert_eq!(code, ErrorCode::Forbidden);
    let query = ExperimentQuery::default;
    forbidden(test.router.experiments(call(Role::Client), query()).await.unwrap_err().code);
    forbidden(test.router.report(call(Role::Client), draft.id.clone()).await.unwrap_err().code);
    let start = ActOnExperiment { id: draft.id.clone(), action: ExperimentAction::Start };
    forbidden(test.router.act_on_experiment(call(Role::Analyst), start).await.unwrap_err().code);
    let layer = NewLayer { name: "x".to_owned(), holdout: 0.0 };
    forbidden(test.router.put_layer(call(Role::Analyst), layer).await.unwrap_err().code);
    let mut elsewhere = call(Role::Engineer);
    elsewhere.principal.as_mut().unwrap().scope.models = ["other".parse().unwrap()].into();
    forbidden(test.router.experiment(elsewhere.clone(), draft.id.clone()).await.unwrap_err().code);
    let listed = test.router.experiments(elsewhere, query()).await.unwrap();
    assert!(listed.experiments.is_empty());
}

/// What routers would have logged: so many units in each arm, each with an outcome.
async fn log_of(test: &Test, experiment: &Experiment, arms: &[(u32, u32, u32)]) -> Vec<Feedback> {
    let documents = test.documents().await;
    let (mut records, mut feedback) = (Vec::new(), Vec::new());
    let payload = || Payload { content_type: "application/json".to_owned(), bytes: 2, json: None };
    for (version, units, good) in arms {
        for unit in 0..*units {
            let mut decision =
                Decision::new(2, Reason::Unit, 0.5, Some(format!("{version}-{unit}")));
            decision.plan = Some(experiment.id.clone());
            decision.epoch = Some(1);
            let prediction_id = PredictionId::new();
            records.push(PredictionRecord {
                prediction_id,
                request_id: RequestId::new(),
                at: SystemClock.now(),
                principal: "p".to_owned(),
                model: "iris".parse().unwrap(),
                version: VersionId::new(*version).unwrap(),
                decision,
                input: payload(),
                output: payload(),
                rows: 1,
                label: None,
                confidence: Some(0.9),
                value: None,
                latency_us: 100,
                compute_us: 10,
                cached: false,
                degraded: None,
                error: None,
            });
            feedback.push(Feedback {
                subject: prediction_id.into(),
                outcome: Outcome::Value(f64::from(u8::from(unit < *good))),
                source: "till".to_owned(),
                occurred_at: None,
                received_at: SystemClock.now(),
            });
        }
    }
    documents.predictions.append(&records).await.unwrap();
    feedback
}

/// A report without what the time of the look makes.
fn lasting(report: Report) -> Value {
    let mut report = serde_json::to_value(report).unwrap();
    for part in ["at", "looks", "power"] {
        report.as_object_mut().unwrap().remove(part);
    }
    report
}

#[tokio::test]
async fn a_report_is_the_same_after_late_and_repeated_feedback_and_a_restart() {
    let test = with_versions(2).await;
    let draft = test.create(plan("colours")).await.unwrap();
    let experiment = test.act(&draft.id, json!({"action": "start"})).await.unwrap();
    let mut feedback = log_of(&test, &experiment, &[(1, 400, 120), (2, 400, 180)]).await;
    let store = test.documents().await.feedback;
    let before = test.report(&draft.id).await;
    assert_eq!(before.recommendation.action, Advice::KeepGoing, "no outcome is known");
    let (late, soon) = feedback.split_at_mut(300);
    late.reverse();
    store.add_all(soon, &HashMap::new()).await.unwrap();
    store.add_all(late, &HashMap::new()).await.unwrap();
    let report = test.report(&draft.id).await;
    assert_eq!(report.recommendation.action, Advice::Ship, "{:?}", report.recommendation);
    assert_eq!(report.recommendation.version, VersionId::new(2));
    assert_eq!((report.arms[0].units, report.arms[1].outcomes), (400, 400));
    store.add_all(&feedback, &HashMap::new()).await.unwrap();
    let report = lasting(report);
    assert_eq!(lasting(test.report(&draft.id).await), report, "repeated feedback changes nothing");
    let what_if = WhatIf {
        experiment: draft.id.clone(),
        policy: vec![PlannedArm { version: VersionId::new(2).unwrap(), weight: 1.0 }],
    };
    let answer = test.router.what_if(call(Role::Analyst), what_if).await.unwrap();
    assert!((answer.snips.unwrap().value - 0.45).abs() < 1e-9, "{answer:?}");

    assert!(test.process.stop(Duration::from_secs(5)).await);
    let Test { folder, router, .. } = test;
    drop(router);
    let test = start(folder, 1).await;
    assert_eq!(lasting(test.report(&draft.id).await), report, "a restart changes nothing");
}

/// `AT_LENGTH=1 cargo test --release -p router --test api -- --nocapture a_long_log` reads half a
/// million.
#[expect(clippy::print_stderr, reason = "the figures are for who runs it")]
#[tokio::test]
async fn a_long_log_is_read_whole() {
    let test = with_versions(2).await;
    let draft = test.create(plan("many")).await.unwrap();
    let experiment = test.act(&draft.id, json!({"action": "start"})).await.unwrap();
    let most = if std::env::var_os("AT_LENGTH").is_some() { 250_000 } else { 5001 };
    let feedback = log_of(&test, &experiment, &[(1, most, most / 4), (2, most, most / 3)]).await;
    let store = test.documents().await.feedback;
    for some in feedback.chunks(10_000) {
        store.add_all(some, &HashMap::new()).await.unwrap();
    }
    let began = std::time::Instant::now();
    let report = test.report(&draft.id).await;
    eprintln!("a look at {} requests took {:.2?}", 2 * most, began.elapsed());
    for arm in &report.arms {
        assert_eq!((arm.units, arm.outcomes), (u64::from(most), u64::from(most)));
    }
    let difference = report.metrics[0].comparisons[0].difference.unwrap();
    assert!((difference - 1.0 / 12.0).abs() < 0.001, "{difference}");
}

#[tokio::test]
async fn looks_are_made_by_themselves_and_a_trial_that_is_gone_pauses_its_experiment() {
    let folder = tempfile::tempdir().unwrap();
    let relational = storage::relational(&url(&folder, "sqlite", "relational.db")).await.unwrap();
    let test = start_with_settings(folder, 1, relational, |settings| {
        settings.experiments.look_s = 0;
        settings.plans.tick_ms = 20;
    })
    .await;
    let new = NewModel { name: "iris".parse().unwrap(), description: String::new() };
    test.router.create_model(call(Role::Engineer), new).await.unwrap();
    for _ in 0..2 {
        test.upload().await.unwrap();
    }
    let draft = test.create(plan("colours")).await.unwrap();
    let experiment = test.act(&draft.id, json!({"action": "start"})).await.unwrap();
    let feedback = log_of(&test, &experiment, &[(1, 400, 120), (2, 400, 180)]).await;
    test.documents().await.feedback.add_all(&feedback, &HashMap::new()).await.unwrap();
    let until = async |what: &str, holds: fn(&Experiment) -> bool| {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        loop {
            let now = test.router.experiment(call(Role::Analyst), draft.id.clone()).await.unwrap();
            if holds(&now) {
                return now;
            }
            assert!(std::time::Instant::now() < deadline, "{what}: {now:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let seen = until("looked at", |now| now.looks.len() >= 3).await;
    assert_eq!(seen.advice, Some(Advice::Ship));
    assert!(seen.least_p["accuracy/2"] < 0.05);
    // Somebody rolls back, which clears the route of trials.
    test.put(&[(1, 1.0)], None).await.unwrap();
    let relational =
        storage::relational(&url(&test.folder, "sqlite", "relational.db")).await.unwrap();
    let mut route = relational.routes.route(&"iris".parse().unwrap()).await.unwrap().unwrap();
    route.trials.clear();
    route.generation += 1;
    relational.routes.put_route(route).await.unwrap();
    until("paused", |now| now.state == ExperimentState::Paused).await;
}
