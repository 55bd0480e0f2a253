use std::collections::BTreeMap;

use domain::plan::PlanKind;
use domain::rollout::Ramp;
use domain::route::Slice;
use domain::targeting::{Context, Rule};
use domain::{PlanId, Role};
use serde_json::json;
use time::OffsetDateTime;

use super::*;
use crate::assignment::{reassign, shares};

fn version(number: u32) -> VersionId {
    VersionId::new(number).unwrap()
}

fn arms(weights: &[(u32, f64)]) -> Vec<Arm> {
    let all: Vec<f64> = weights.iter().map(|(_, weight)| *weight).collect();
    let arm = |((number, weight), share_ppm): (&(u32, f64), u32)| Arm {
        version: version(*number),
        share_ppm,
        weight: *weight,
    };
    weights.iter().zip(shares(&all).unwrap()).map(arm).collect()
}

fn route(weights: &[(u32, f64)]) -> Route {
    let (arms, now) = (arms(weights), OffsetDateTime::UNIX_EPOCH);
    let segments = reassign(&[], &arms);
    Route::first("iris".parse().unwrap(), arms, segments, "a salt".to_owned(), "eve", now)
}

fn trial(layer: &str, slice: (u32, u32), weights: &[(u32, f64)]) -> Trial {
    let arms = arms(weights);
    let experiment = PlanId::new(PlanKind::Experiment);
    let (start, end) = slice;
    Trial {
        slice: Slice { layer: layer.to_owned(), salt: format!("salt of {layer}"), start, end },
        when: Vec::new(),
        unit: UnitKind::Unit,
        salt: format!("salt of {experiment}"),
        hash: HashKind::Sha256,
        strict: false,
        segments: reassign(&[], &arms),
        arms,
        epoch: 3,
        bandit: false,
        experiment,
    }
}

fn rule(name: &str, weights: &[(u32, f64)], when: serde_json::Value) -> Rule {
    let arms = arms(weights);
    let when = serde_json::from_value(when).unwrap();
    Rule { name: name.to_owned(), when, segments: reassign(&[], &arms), arms }
}

fn decided(route: &Ready, unit: Option<&str>, context: &Context) -> Verdict {
    let who = Who { unit, role: Role::Client, caller: "web", context };
    route.decide(&who, PredictionId::new(), &mut Steps::default()).unwrap()
}

fn by_unit(route: &Ready, unit: &str) -> Verdict {
    decided(route, Some(unit), &Context::default())
}

/// As another router has it: read from the store.
fn copy(route: &Ready) -> Ready {
    let text = serde_json::to_string(&**route).unwrap();
    Ready::new(serde_json::from_str::<Route>(&text).unwrap())
}

/// Chi-square of counts in a table of rows and columns against independence.
fn chi_square_of_table(table: &[Vec<f64>]) -> f64 {
    let total: f64 = table.iter().flatten().sum();
    let columns = table[0].len();
    let column = |c: usize| table.iter().map(|row| row[c]).sum::<f64>();
    let mut sum = 0.0;
    for row in table {
        let of_row: f64 = row.iter().sum();
        for (c, count) in row.iter().enumerate().take(columns) {
            let expected = of_row * column(c) / total;
            sum += (count - expected).powi(2) / expected;
        }
    }
    sum
}

#[test]
fn a_rule_comes_before_an_experiment_and_that_before_the_routes_own_arms() {
    let mut made = route(&[(1, 1.0)]);
    let country = |is: &str| json!([{"field": "context.country", "equals": is}]);
    made.rules =
        vec![rule("pt", &[(4, 1.0)], country("PT")), rule("any", &[(5, 1.0)], country("ES"))];
    made.trials = vec![trial("prices", (0, 1_000_000), &[(2, 1.0), (3, 1.0)])];
    let ready = Ready::new(made);
    let context = |country: &str| Context {
        fields: BTreeMap::from([("country".to_owned(), json!(country))]),
        ..Context::default()
    };
    let first = decided(&ready, Some("anna"), &context("PT"));
    assert_eq!((first.version, first.decision.rule.as_deref()), (version(4), Some("pt")));
    assert_eq!((first.decision.plan, first.decision.propensity), (None, 1.0));
    assert_eq!(first.decision.chances, [], "nothing was left to chance");
    let second = decided(&ready, Some("anna"), &context("ES"));
    assert_eq!((second.version, second.decision.rule.as_deref()), (version(5), Some("any")));
    let third = decided(&ready, Some("anna"), &context("FR"));
    assert!(matches!(third.version.number(), 2 | 3));
    assert_eq!(third.decision.plan.as_ref(), Some(&ready.route.trials[0].experiment));
    assert_eq!((third.decision.epoch, third.decision.propensity), (Some(3), 0.5));
    let chances: Vec<_> =
        third.decision.chances.iter().map(|one| (one.version.number(), one.probability)).collect();
    assert_eq!(chances, [(2, 0.5), (3, 0.5)]);
    // Without a unit, an experiment on units is not for it, and nothing else pretends to be one.
    let none = decided(&ready, None, &Context::default());
    assert_eq!((none.version, none.decision.plan), (version(1), None));
    assert_eq!((none.decision.reason, none.decision.unit), (Reason::Request, None));
}

#[test]
fn an_experiment_on_requests_takes_those_with_and_without_a_unit_one_by_one() {
    let mut made = route(&[(1, 1.0)]);
    let mut on_requests = trial("prices", (0, 1_000_000), &[(2, 1.0), (3, 1.0)]);
    on_requests.unit = UnitKind::Request;
    made.trials = vec![on_requests];
    let ready = Ready::new(made);
    for unit in [None, Some("anna")] {
        let counts = (0..400).map(|_| decided(&ready, unit, &Context::default()));
        let seen: Vec<Verdict> = counts.collect();
        let second = seen.iter().filter(|one| one.version == version(2)).count();
        assert!((120..=280).contains(&second), "{second} of 400");
        for one in seen {
            assert_eq!((one.decision.reason, one.decision.unit), (Reason::Request, None));
            assert_eq!((one.bucket, one.strict), (None, None));
        }
    }
}

#[test]
fn a_hundred_thousand_units_split_as_asked_and_alike_on_three_routers() {
    let ready = Ready::new(route(&[(1, 90.0), (2, 10.0)]));
    let routers = [&ready, &copy(&ready), &copy(&ready)];
    let mut second = 0.0_f64;
    for number in 0..100_000_usize {
        let unit = format!("user-{number}");
        let of_one = by_unit(routers[number % 3], &unit);
        second += f64::from(u8::from(of_one.version == version(2)));
        let of_other = by_unit(routers[(number + 1) % 3], &unit);
        assert_eq!(of_one.version, of_other.version, "{unit}");
    }
    let excess = second - 10_000.0;
    let chi_square = excess.powi(2) / 10_000.0 + excess.powi(2) / 90_000.0;
    // 99.9 % of such splits are below 10.83 (one degree of freedom).
    assert!(chi_square < 10.83, "{second} of 100,000 to version 2: chi-square {chi_square:.2}");
}

#[test]
fn a_hundred_thousand_requests_without_a_unit_split_as_asked() {
    let ready = Ready::new(route(&[(1, 90.0), (2, 10.0)]));
    let chosen = (0..100_000).map(|_| decided(&ready, None, &Context::default()).version);
    let second = f64::from(u32::try_from(chosen.filter(|one| *one == version(2)).count()).unwrap());
    let excess = second - 10_000.0;
    let chi_square = excess.powi(2) / 10_000.0 + excess.powi(2) / 90_000.0;
    // Ids are new in each run: one in ten million runs is above this.
    assert!(chi_square < 28.4, "{second} of 100,000 to version 2: chi-square {chi_square:.2}");
}

#[test]
fn a_change_of_weights_moves_the_units_that_it_must_and_no_others() {
    let before = Ready::new(route(&[(1, 90.0), (2, 10.0)]));
    let arms = arms(&[(1, 80.0), (2, 20.0)]);
    let segments = reassign(&before.segments, &arms);
    let after = Ready::new(Route { arms, segments, ..(*before).clone() });
    let mut moved = 0;
    for number in 0..50_000 {
        let unit = format!("user-{number}");
        let (was, is) = (by_unit(&before, &unit).version, by_unit(&after, &unit).version);
        if was != is {
            moved += 1;
            assert_eq!((was, is), (version(1), version(2)), "{unit}");
        }
    }
    // A tenth of them, give or take five standard deviations.
    assert!((4_660..=5_340).contains(&moved), "{moved} of 50,000 moved");
}

#[test]
fn experiments_of_one_layer_share_no_unit_those_of_two_are_independent_and_a_hold_out_is_in_none() {
    let mut made = route(&[(1, 1.0)]);
    let equal = [(2, 1.0), (3, 1.0)];
    // 40 %, 40 %, and 20 % held out.
    made.trials =
        vec![trial("prices", (0, 400_000), &equal), trial("prices", (400_000, 800_000), &equal)];
    let one = Ready::new(made.clone());
    let mut other = made.clone();
    other.trials =
        vec![trial("texts", (0, 400_000), &equal), trial("texts", (400_000, 800_000), &equal)];
    let other = Ready::new(other);
    let place = |ready: &Ready, unit: &str| {
        let verdict = by_unit(ready, unit);
        let plan = verdict.decision.plan.as_ref();
        let in_trial = ready.route.trials.iter().position(|trial| plan == Some(&trial.experiment));
        let layer = &ready.route.trials[0].slice;
        let held_out = bucket(&layer.salt, unit) >= 800_000;
        assert_eq!(in_trial.is_none(), held_out, "{unit}");
        match in_trial {
            None => 0,
            Some(trial) => 1 + 2 * trial + usize::from(verdict.version == version(3)),
        }
    };
    let mut table = vec![vec![0.0; 5]; 5];
    for number in 0..60_000 {
        let unit = format!("user-{number}");
        table[place(&one, &unit)][place(&other, &unit)] += 1.0;
    }
    // Sixteen degrees of freedom: 99.9 % of independent tables are below 39.25.
    let chi_square = chi_square_of_table(&table);
    assert!(chi_square < 39.25, "{chi_square:.1}: {table:?}");
    // Arms are independent of the layer's buckets, too: within each experiment they are equal.
    for experiment in [1, 3] {
        let count = |column: usize| table.iter().map(|row| row[column]).sum::<f64>();
        let (a, b) = (count(experiment), count(experiment + 1));
        let chi_square = (a - b).powi(2) / (a + b);
        assert!(chi_square < 10.83, "{a} and {b}");
    }
}

#[test]
fn growthbooks_hash_has_the_chances_that_its_coarser_steps_give() {
    let mut made = route(&[(1, 2.0), (2, 1.0)]);
    made.hash = HashKind::GrowthbookV2;
    let ready = Ready::new(made);
    let chances: Vec<f64> = ready.own.chances.iter().map(|chance| chance.probability).collect();
    assert_eq!(chances, [0.6667, 0.3333]);
    let bucket = by_unit(&ready, "user-1").bucket.unwrap();
    assert_eq!(bucket, growthbook_v2_bucket("a salt", "user-1"));
}

#[test]
fn a_rollout_is_named_only_where_the_routes_own_arms_decide() {
    let mut made = route(&[(1, 90.0), (2, 10.0)]);
    made.rules = vec![rule("staff", &[(1, 1.0)], json!([{"field": "unit", "equals": "anna"}]))];
    let ramp = Ramp {
        id: PlanId::new(PlanKind::Rollout),
        step: 3,
        since: OffsetDateTime::UNIX_EPOCH,
        canary: version(2),
        baseline: version(1),
        guardrails: Vec::new(),
        warm_up_requests: 0,
        warm_up_s: 0,
    };
    made.rollout = Some(ramp.clone());
    let ready = Ready::new(made);
    let anna = by_unit(&ready, "anna").decision;
    assert_eq!((anna.plan, anna.epoch), (None, None));
    let otto = by_unit(&ready, "otto").decision;
    assert_eq!((otto.plan, otto.epoch), (Some(ramp.id), Some(3)));
}

#[test]
fn steps_say_why_one_after_the_other() {
    let mut made = route(&[(1, 90.0), (2, 10.0)]);
    made.rules = vec![rule("staff", &[(1, 1.0)], json!([{"field": "unit", "equals": "anna"}]))];
    made.trials = vec![trial("prices", (0, 1), &[(2, 1.0), (3, 1.0)])];
    let ready = Ready::new(made);
    let context = Context::default();
    let who = Who { unit: Some("otto"), role: Role::Client, caller: "web", context: &context };
    let mut steps = Steps::told();
    let verdict = ready.decide(&who, PredictionId::new(), &mut steps).unwrap();
    let steps = steps.into_list();
    assert_eq!(steps[0], "rule `staff` asks that `unit` is \"anna\": it does not fit");
    assert!(steps[1].contains("of layer `prices` is outside of 0 to 1"), "{steps:?}");
    assert_eq!(steps[2], "the route's own arms decide");
    let bucket = format!("the unit's bucket is {}", verdict.bucket.unwrap());
    assert!(steps[3].starts_with(&bucket), "{steps:?}");
}
