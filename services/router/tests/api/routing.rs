//! Rules, experiments, strict stickiness, and why.

use async_trait::async_trait;
use contracts::router::{Asked, Explain};
use domain::experiment::UnitKind;
use domain::plan::PlanKind;
use domain::route::{Arm, Blocked, HashKind, Segment, Slice, Trial};
use domain::{PlanId, PredictionRecord, Route};
use serde_json::Value;
use time::OffsetDateTime;

use super::*;

pub(crate) fn version(number: u32) -> VersionId {
    VersionId::new(number).unwrap()
}

impl Test {
    /// With this many versions, of which the first has everything.
    pub(crate) async fn with_versions(count: usize) -> Self {
        let test = Self::new(1).await;
        for _ in 0..count {
            test.upload().await.unwrap();
        }
        test
    }

    pub(crate) async fn put_route(&self, route: Value) -> Result<Route, ApiError> {
        let request = PutRoute {
            model: "iris".parse().unwrap(),
            route: serde_json::from_value(route).unwrap(),
        };
        self.router.put_route(call(Role::Engineer), request).await
    }

    async fn faults(&self, route: Value) -> Vec<String> {
        let error = self.put_route(route).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unprocessable, "{error}");
        error.errors.into_iter().map(|fault| fault.pointer).collect()
    }

    /// Changes the route in the store, as a plan would, and has the router follow.
    pub(crate) async fn edit_route(&self, edit: impl FnOnce(&mut Route)) {
        let url = url(&self.folder, "sqlite", "relational.db");
        let routes = storage::relational(&url).await.unwrap().routes;
        let mut route = routes.route(&"iris".parse().unwrap()).await.unwrap().unwrap();
        edit(&mut route);
        route.generation += 1;
        routes.put_route(route).await.unwrap();
        let change = Change { by: "another".to_owned() };
        self.router.follow(call(Role::Service), change).await.unwrap();
    }

    /// The newest records, the newest first.
    pub(crate) async fn records(&self) -> Vec<PredictionRecord> {
        self.router.flush(call(Role::Service)).await.unwrap();
        let log = storage::documents(&url(&self.folder, "sqlite", "documents.db")).await.unwrap();
        let model = "iris".parse().unwrap();
        log.predictions.since(&model, OffsetDateTime::UNIX_EPOCH, 1000).await.unwrap()
    }

    async fn explain(&self, asked: Value) -> contracts::router::Explained {
        let asked: Asked = serde_json::from_value(asked).unwrap();
        let request = Explain { model: "iris".parse().unwrap(), asked };
        self.router.explain(call(Role::Analyst), request).await.unwrap()
    }
}

fn arms(shares: &[(u32, u32)]) -> (Vec<Arm>, Vec<Segment>) {
    let arm = |(number, share_ppm): &(u32, u32)| Arm {
        version: version(*number),
        share_ppm: *share_ppm,
        weight: 1.0,
    };
    let mut segments = Vec::new();
    let mut start = 0;
    for (number, share) in shares {
        segments.push(Segment { start, end: start + share, version: version(*number) });
        start += share;
    }
    (shares.iter().map(arm).collect(), segments)
}

/// An experiment that takes everybody, and keeps them.
fn strict(shares: &[(u32, u32)]) -> Trial {
    let (arms, segments) = arms(shares);
    Trial {
        experiment: PlanId::new(PlanKind::Experiment),
        slice: Slice {
            layer: "prices".to_owned(),
            salt: "a layer's salt".to_owned(),
            start: 0,
            end: 1_000_000,
        },
        when: Vec::new(),
        unit: UnitKind::Unit,
        salt: "its own salt".to_owned(),
        hash: HashKind::Sha256,
        strict: true,
        arms,
        segments,
        epoch: 1,
        bandit: false,
    }
}

#[tokio::test]
async fn a_route_with_faults_points_at_each_of_them_at_once() {
    let test = Test::with_versions(2).await;
    let faults = test
        .faults(json!({
            "arms": [{"version": "1", "weight": 1}],
            "rules": [
                {"name": "a", "when": [], "arms": [{"version": "9", "weight": 1}]},
                {"name": "a", "when": [
                    {"field": "unit"},
                    {"field": "unit", "equals": "x", "prefix": "x"},
                    {"field": "user", "equals": "x"},
                    {"field": "header.authorization", "exists": true},
                    {"field": "header.x-api-key", "exists": true},
                    {"audience": "nobody"},
                    {"audience": "staff", "field": "unit"},
                    {"field": "context.age", "range": {}},
                    {"field": "context.age", "range": {"min": 2, "max": 2}},
                    {"field": "context.x", "equals": [1]},
                    {"field": "context.x", "in": []},
                    {"field": "role", "equals": "boss"},
                    {"field": "unit", "prefix": ""},
                ], "arms": []},
                {"name": "no name", "when": [{"audience": "staff"}], "arms": [{"version": "1", "weight": -1}]},
            ],
            "audiences": {
                "staff": {"when": [{"audience": "staff"}]},
                "empty": {},
            },
            "shadows": [
                {"version": "1", "share": 0.5},
                {"version": "2", "share": 1.5},
                {"version": "2", "share": 1},
            ],
            "fallback": {"versions": ["9", "2", "2"]},
            "standby": [{"version": "2", "weight": 0}],
        }))
        .await;
    let expected = [
        "#/rules/0/when",
        "#/rules/0/arms/0/version",
        "#/rules/1/name",
        "#/rules/1/when/0",
        "#/rules/1/when/1",
        "#/rules/1/when/2/field",
        "#/rules/1/when/3/field",
        "#/rules/1/when/4/field",
        "#/rules/1/when/5/audience",
        "#/rules/1/when/6/field",
        "#/rules/1/when/7/range",
        "#/rules/1/when/8/range",
        "#/rules/1/when/9/equals",
        "#/rules/1/when/10/in",
        "#/rules/1/when/11/equals",
        "#/rules/1/when/12/prefix",
        "#/rules/1/arms",
        "#/rules/2/name",
        "#/rules/2/arms/0/weight",
        "#/standby",
        "#/audiences/empty",
        "#/audiences/staff/when/0/audience",
        "#/shadows/1/share",
        "#/shadows/2/version",
        "#/fallback/versions/0",
        "#/fallback/versions/2",
    ];
    assert_eq!(faults, expected);
}

#[tokio::test]
async fn what_is_too_much_names_the_setting() {
    let test = Test::with_versions(1).await;
    let arms = json!([{"version": "1", "weight": 1}]);
    let condition = json!({"field": "unit", "equals": "x"});
    let rule = |name: String| json!({"name": name, "when": [condition], "arms": arms});
    let rules: Vec<_> = (0..51).map(|number| rule(number.to_string())).collect();
    let units: Vec<_> = (0..10_001).map(|number| number.to_string()).collect();
    for (route, setting) in [
        (json!({"arms": arms, "rules": rules}), "max_rules"),
        (
            json!({"arms": arms, "rules": [{"name": "a", "when": vec![condition.clone(); 21], "arms": arms}]}),
            "max_conditions",
        ),
        (json!({"arms": arms, "audiences": {"a": {"units": units}}}), "max_audience_units"),
        (json!({"arms": arms, "fallback": {"default": "x".repeat(5000)}}), "max_default_bytes"),
        (json!({"arms": arms, "audiences": {"a": {"units": ["x".repeat(300)]}}}), "max_text_bytes"),
    ] {
        let error = test.put_route(route).await.unwrap_err();
        assert!(error.message.contains(&format!("router.routes.{setting}")), "{error}");
    }
}

#[tokio::test]
async fn the_first_rule_that_fits_decides_and_the_record_names_it() {
    let test = Test::with_versions(3).await;
    let route = json!({
        "arms": [{"version": "1", "weight": 1}],
        "audiences": {"staff": {"units": ["anna"]}},
        "rules": [
            {"name": "staff", "when": [{"audience": "staff"}], "arms": [{"version": "3", "weight": 1}]},
            {"name": "pt", "when": [{"field": "context.country", "equals": "PT"}, {"field": "header.x-tier", "in": ["gold", "silver"]}],
             "arms": [{"version": "2", "weight": 1}, {"version": "3", "weight": 3}]},
        ],
    });
    test.put_route(route).await.unwrap();
    let ask = async |unit: &str, context: Value| {
        let context = serde_json::from_value(context).unwrap();
        let meta = PredictRequest { context, ..asked(Some(unit)) };
        version_in(&test.ask(meta).await.unwrap().body)
    };
    let gold = json!({"fields": {"country": "PT"}, "headers": {"x-tier": "gold"}});
    assert_eq!(ask("anna", gold.clone()).await, "3");
    assert_eq!(ask("otto", json!({"fields": {"country": "PT"}})).await, "1");
    let by_rule = ask("otto", gold).await;
    let records = test.records().await;
    let rules: Vec<_> = records.iter().map(|record| record.decision.rule.as_deref()).collect();
    assert_eq!(rules, [Some("pt"), None, Some("staff")]);
    let decision = &records[0].decision;
    let share = if by_rule == "2" { 0.25 } else { 0.75 };
    assert_eq!(decision.propensity, share);
    let sum: f64 = decision.chances.iter().map(|chance| chance.probability).sum();
    assert_eq!((decision.chances.len(), sum), (2, 1.0));
}

#[tokio::test]
async fn a_rule_that_stays_keeps_its_units_when_its_weights_change() {
    let test = Test::with_versions(2).await;
    let put = async |first: u32| {
        let arms =
            json!([{"version": "1", "weight": first}, {"version": "2", "weight": 100 - first}]);
        let when = json!([{"field": "unit", "prefix": "u"}]);
        let rules = json!([{"name": "all", "when": when, "arms": arms}]);
        let route = json!({"arms": [{"version": "1", "weight": 1}], "rules": rules});
        test.put_route(route).await.unwrap();
    };
    let mut last: Vec<bool> = vec![false; 200];
    // Version 2 grows: nobody leaves it.
    for first in [90, 60, 30] {
        put(first).await;
        let mut now = Vec::new();
        for unit in 0..200 {
            let answer = test.predict(Some(&format!("u{unit}"))).await.unwrap();
            now.push(version_in(&answer.body) == "2");
        }
        assert!(last.iter().zip(&now).all(|(was, is)| !*was || *is), "at {first}");
        last = now;
    }
}

#[tokio::test]
async fn a_route_under_a_rollout_or_with_a_blocked_version_is_a_conflict_that_says_how_to_go_on() {
    let test = Test::with_versions(2).await;
    let to_second = json!({"arms": [{"version": "1", "weight": 1}, {"version": "2", "weight": 1}]});
    test.edit_route(|route| {
        let at = OffsetDateTime::UNIX_EPOCH;
        let (reason, by) = ("too many errors".to_owned(), "eve".to_owned());
        route.blocked.push(Blocked { version: version(2), reason, by, at });
    })
    .await;
    let error = test.put_route(to_second.clone()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict);
    for word in ["too many errors", "DELETE /api/v1/models/iris/blocks/2"] {
        assert!(error.message.contains(word), "{error}");
    }
    let as_fallback =
        json!({"arms": [{"version": "1", "weight": 1}], "fallback": {"versions": ["2"]}});
    assert_eq!(test.put_route(as_fallback).await.unwrap_err().code, ErrorCode::Conflict);
    let without = json!({"arms": [{"version": "1", "weight": 1}, {"version": "2", "weight": 0}]});
    test.put_route(without).await.unwrap();
    test.edit_route(|route| route.blocked.clear()).await;
    let rollout = PlanId::new(PlanKind::Rollout);
    let id = rollout.to_string();
    test.edit_route(|route| route.rollout = Some(super::ramp(rollout))).await;
    let error = test.put_route(to_second).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict);
    assert!(error.message.contains(&id), "{error}");
}

#[tokio::test]
async fn a_put_keeps_experiments_and_the_hash_changes_only_while_nobody_would_move() {
    let test = Test::with_versions(2).await;
    let growthbook = json!({"arms": [{"version": "1", "weight": 1}], "hash": "growthbook_v2"});
    assert_eq!(test.put_route(growthbook).await.unwrap().hash, HashKind::GrowthbookV2);
    test.edit_route(|route| route.trials.push(strict(&[(1, 500_000), (2, 500_000)]))).await;
    let both = |hash: &str| json!({"arms": [{"version": "1", "weight": 1}, {"version": "2", "weight": 1}], "hash": hash});
    let route = test.put_route(both("growthbook_v2")).await.unwrap();
    assert_eq!(route.trials.len(), 1);
    assert_eq!(test.faults(both("sha256")).await, ["#/hash"]);
}

#[tokio::test]
async fn a_unit_of_a_strict_experiment_keeps_its_first_arm_with_the_chances_of_then() {
    let test = Test::with_versions(3).await;
    test.edit_route(|route| route.trials.push(strict(&[(1, 500_000), (2, 500_000)]))).await;
    let units: Vec<String> = (0..40).map(|number| format!("unit-{number}")).collect();
    let mut first = Vec::new();
    for unit in &units {
        first.push(version_in(&test.predict(Some(unit)).await.unwrap().body));
    }
    assert!(first.contains(&"1".to_owned()) && first.contains(&"2".to_owned()));
    // Nearly all go to version 2 now, and those who were not there before do.
    test.edit_route(|route| {
        let (arms, segments) = arms(&[(2, 999_999), (1, 1)]);
        let trial = &mut route.trials[0];
        (trial.arms, trial.segments, trial.epoch) = (arms, segments, 2);
    })
    .await;
    for (unit, first) in units.iter().zip(&first) {
        assert_eq!(version_in(&test.predict(Some(unit)).await.unwrap().body), *first);
    }
    let records = test.records().await;
    for record in &records[..40] {
        let decision = &record.decision;
        assert!(decision.sticky);
        assert_eq!((decision.epoch, decision.propensity), (Some(1), 0.5));
        assert_eq!(decision.chances.len(), 2);
    }
    assert!(records[40..].iter().all(|record| !record.decision.sticky));
    assert_eq!(version_in(&test.predict(Some("new")).await.unwrap().body), "2");
    // An arm that is gone, or whose version is blocked, keeps nobody.
    test.edit_route(|route| {
        let at = OffsetDateTime::UNIX_EPOCH;
        let (reason, by) = ("bad".to_owned(), "eve".to_owned());
        route.blocked.push(Blocked { version: version(1), reason, by, at });
        let (arms, segments) = arms(&[(2, 1_000_000)]);
        let trial = &mut route.trials[0];
        (trial.arms, trial.segments, trial.epoch) = (arms, segments, 3);
    })
    .await;
    for unit in &units {
        assert_eq!(version_in(&test.predict(Some(unit)).await.unwrap().body), "2");
    }
    let newest = &test.records().await[0];
    assert!(newest.decision.epoch >= Some(1));
}

/// A cache store that does not answer.
struct Down;

#[async_trait]
impl storage::ports::ResponseCache for Down {
    async fn get(&self, _: &str) -> Result<Option<Bytes>, storage::StoreError> {
        std::future::pending().await
    }

    async fn put(&self, _: &str, _: Bytes, _: Duration) -> Result<(), storage::StoreError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn while_the_cache_store_is_down_the_hash_decides_and_nobody_waits() {
    let folder = tempfile::tempdir().unwrap();
    let relational = storage::relational(&url(&folder, "sqlite", "relational.db")).await.unwrap();
    let mut cache = storage::Cache::in_memory();
    cache.responses = Arc::new(Down);
    let test = start_on(folder, 1, relational, cache).await.unwrap();
    let new = NewModel { name: "iris".parse().unwrap(), description: String::new() };
    test.router.create_model(call(Role::Engineer), new).await.unwrap();
    for _ in 0..2 {
        test.upload().await.unwrap();
    }
    test.edit_route(|route| route.trials.push(strict(&[(1, 500_000), (2, 500_000)]))).await;
    let begun = std::time::Instant::now();
    for unit in 0..30 {
        test.predict(Some(&unit.to_string())).await.unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let records = test.records().await;
    assert!(records.iter().all(|record| !record.decision.sticky && record.decision.plan.is_some()));
    let metrics = runtime::telemetry::metrics().render();
    let counted = metrics
        .lines()
        .find(|line| line.starts_with("engine_sticky_assignments_total{outcome=\"unavailable\""));
    assert!(counted.is_some(), "{metrics}");
}

#[tokio::test]
async fn a_version_that_is_named_is_pinned_for_who_sees_versions() {
    let test = Test::with_versions(2).await;
    let meta = PredictRequest { version: Some(version(2)), ..asked(Some("anna")) };
    assert_eq!(version_in(&test.ask(meta.clone()).await.unwrap().body), "2");
    let decision = &test.records().await[0].decision;
    assert_eq!((decision.reason, decision.propensity), (Reason::Pinned, 1.0));
    let policy = domain::ModelPolicy {
        version_shown_to: vec![Role::Admin, Role::Engineer],
        ..domain::ModelPolicy::default()
    };
    let request = contracts::router::PutPolicy { model: "iris".parse().unwrap(), policy };
    test.router.put_policy(call(Role::Engineer), request).await.unwrap();
    assert_eq!(test.ask(meta.clone()).await.unwrap_err().code, ErrorCode::Forbidden);
    let request = Framed { meta, body: Bytes::from_static(b"{\"features\":[1,2,3,4]}") };
    let answer = test.router.predict(call(Role::Engineer), request).await.unwrap();
    assert_eq!(version_in(&answer.body), "2");
}

#[tokio::test]
async fn an_explanation_says_what_a_request_would_get_and_serves_nothing() {
    let test = Test::with_versions(2).await;
    let route = json!({
        "arms": [{"version": "1", "weight": 1}, {"version": "2", "weight": 1}],
        "rules": [{"name": "beta", "when": [{"field": "header.x-beta", "exists": true}], "arms": [{"version": "2", "weight": 1}]}],
        "fallback": {"versions": ["1"], "last_good": true},
    });
    test.put_route(route).await.unwrap();
    for unit in ["anna", "otto", "eve", "ivan"] {
        let told = test.explain(json!({"unit": unit})).await;
        let answer = test.predict(Some(unit)).await.unwrap();
        assert_eq!(told.version.to_string(), version_in(&answer.body));
        assert_eq!(told.decision, test.records().await[0].decision);
        let bucket = told.bucket.unwrap().to_string();
        assert!(told.steps.iter().any(|step| step.contains(&bucket)), "{:?}", told.steps);
    }
    let told = test.explain(json!({"headers": {"X-Beta": "1", "Cookie": "x"}})).await;
    assert_eq!((told.version, told.decision.rule.as_deref()), (version(2), Some("beta")));
    assert_eq!(told.steps[0], "header `cookie` is never looked at");
    assert_eq!(
        told.steps.last().unwrap(),
        "should it fail: version 1, then the last good answer to the same input"
    );
    assert_eq!(test.records().await.len(), 4, "explanations are not logged");
    let request = Explain { model: "iris".parse().unwrap(), asked: Asked::default() };
    let refused = test.router.explain(call(Role::Client), request).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Forbidden);
}
