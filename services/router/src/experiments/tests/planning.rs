//! What may be planned, who gets which units, which looks are kept.

use contracts::Faults;
use contracts::router::{HeldSlice, NewExperiment};
use domain::experiment::Look;
use domain::{ModelName, Version};

use super::*;
use crate::experiments::layers::{buckets, first_free, largest_free};

fn versions() -> Vec<Version> {
    let model: ModelName = "iris".parse().unwrap();
    (1..=3)
        .map(|number| {
            serde_json::from_value(
                json!({"model": model, "version": number.to_string(), "files": [],
                "enabled": number < 3, "created_by": "x", "created_at": "2026-01-01T00:00:00Z",
                "manifest": {"name": "m", "task": "regression", "modality": "tabular",
                    "format": "onnx", "inputs": [], "outputs": []}}),
            )
            .unwrap()
        })
        .collect()
}

fn faults(change: serde_json::Value) -> Vec<String> {
    let mut new = json!({"name": "n", "model": "iris", "hypothesis": "h", "control": "1",
        "arms": [{"version": "1", "weight": 1}, {"version": "2", "weight": 1}],
        "primary": {"name": "p", "of": {"measure": "value"}}, "minimum_effect": 0.1});
    new.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let new: NewExperiment = serde_json::from_value(new).unwrap();
    let limits = design::Limits {
        arms: 3,
        metrics: 3,
        characters: 20,
        runtime_s: 10_000_000,
        least_epoch_s: 10,
    };
    let mut found = Faults::default();
    design::check(&new, &versions(), &limits, &mut found);
    let told = found.check().err().map(|error| error.errors).unwrap_or_default();
    told.into_iter().map(|one| one.pointer).collect()
}

#[test]
fn a_design_is_told_all_its_faults_at_once() {
    assert_eq!(faults(json!({})), [""; 0]);
    let bad = json!({
        "name": "", "hypothesis": "much longer than twenty characters", "traffic": 0.0,
        "control": "9", "alpha": 0.5, "minimum_effect": 0.0, "planned_units": 1,
        "arms": [{"version": "1", "weight": -1}, {"version": "1", "weight": 1},
            {"version": "3", "weight": 1}],
        "minimum_runtime_s": 9_000_000, "maximum_runtime_s": 8_000_000,
        "secondary": [{"name": "p", "of": {"measure": "slow", "over_ms": 0}}],
        "guardrails": [{"metric": {"name": "g/", "of": {"measure": "error"}}, "margin": -1}],
    });
    let expected = [
        "#/name",
        "#/hypothesis",
        "#/traffic",
        "#/arms/0/weight",
        "#/arms/1/version",
        "#/arms/2/version",
        "#/control",
        "#/guardrails/0/margin",
        "#/secondary/0/name",
        "#/secondary/0/of/over_ms",
        "#/guardrails/0/metric/name",
        "#/alpha",
        "#/minimum_effect",
        "#/planned_units",
        "#/minimum_runtime_s",
    ];
    assert_eq!(faults(bad), expected);
}

#[test]
fn parts_that_need_each_other_say_so() {
    let one_arm = json!({"arms": [{"version": "1", "weight": 1}]});
    assert_eq!(faults(one_arm), ["#/arms"]);
    let no_control =
        json!({"arms": [{"version": "1", "weight": 0}, {"version": "2", "weight": 1}]});
    assert_eq!(faults(no_control), ["#/control"]);
    let missing = json!({"primary": {"name": "p",
        "of": {"measure": "named", "metric": "label", "missing": 0}}});
    assert_eq!(faults(missing), ["#/primary/of/metric", "#/primary/of/missing"]);
    let bandit = json!({"cuped": true, "allocation": {"by": "bandit", "epoch_s": 1,
        "minimum_outcomes": 0, "floor": 0.6, "top_two": true, "discount": 0.0}});
    let expected = [
        "cuped",
        "allocation/epoch_s",
        "allocation/minimum_outcomes",
        "allocation/floor",
        "allocation/top_two",
        "allocation/discount",
    ];
    assert_eq!(faults(bandit), expected.map(|at| format!("#/{at}")));
    let metric = |name| json!({"name": name, "of": {"measure": "error"}});
    let many = json!({"secondary": ["a", "b", "c"].map(metric)});
    assert_eq!(faults(many), ["#/secondary"]);
}

fn held(runs: &[(u32, u32)]) -> Vec<HeldSlice> {
    let slice = |(start, end): &(u32, u32)| HeldSlice {
        experiment: PlanId::new(PlanKind::Experiment),
        start: *start,
        end: *end,
    };
    runs.iter().map(slice).collect()
}

#[test]
fn the_first_free_run_is_found_before_the_holdout() {
    assert_eq!(first_free(&[], 0, BUCKETS), Some((0, BUCKETS)));
    assert_eq!(first_free(&[], 1, BUCKETS), None, "the hold-out is nobody's");
    let some = held(&[(500_000, 600_000), (100_000, 200_000)]);
    assert_eq!(first_free(&some, 0, 100_000), Some((0, 100_000)));
    assert_eq!(first_free(&some, 0, 200_000), Some((200_000, 400_000)));
    assert_eq!(first_free(&some, 0, 400_000), Some((600_000, 1_000_000)));
    assert_eq!(first_free(&some, 100_000, 400_000), None);
    assert_eq!(largest_free(&some, 100_000), 300_000);
    assert_eq!(first_free(&held(&[(0, BUCKETS)]), 0, 1), None);
    assert_eq!((buckets(1.0), buckets(0.25), buckets(1e-9)), (BUCKETS, 250_000, 1));
}

#[test]
fn looks_are_thinned_where_they_are_closest_and_keep_their_ends() {
    let mut experiment = running(design(&[1.0, 1.0], value_metric()));
    let look = |number: i64| Look { at: moment(number * 60), units: 1, arms: Vec::new() };
    for number in 0..1000 {
        looks::add(&mut experiment, look(number), 50);
    }
    assert_eq!(experiment.looks.len(), 50);
    assert_eq!(experiment.looks[0].at, moment(0));
    assert_eq!(experiment.looks[49].at, moment(999 * 60));
    let gaps: Vec<_> = experiment.looks.windows(2).map(|two| two[1].at - two[0].at).collect();
    let largest = gaps.iter().max().unwrap();
    assert!(*largest <= Duration::minutes(80), "{largest}: the whole time is covered");
}
