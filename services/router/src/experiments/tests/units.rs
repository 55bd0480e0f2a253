//! From requests to units.

use domain::experiment::{PerUnit, UnitKind};
use domain::feedback::{Feedback, Outcome, Subject};
use domain::prediction::{Degraded, StandIn};

use super::*;

#[test]
fn a_unit_that_asks_many_times_is_one_unit() {
    for (per_unit, expected) in [(PerUnit::Mean, 2.0), (PerUnit::Sum, 8.0), (PerUnit::Max, 5.0)] {
        let mut design = design(&[1.0, 1.0], value_metric());
        design.primary.per_unit = per_unit;
        let experiment = running(design);
        let values = [1.0, 5.0, 2.0, 0.0];
        let ask = |(number, value): (usize, &f64)| {
            seen(exposure_in(&experiment, number as u64 + 1, "busy", 1), *value)
        };
        let all: Vec<_> = values.iter().enumerate().map(ask).collect();
        let sample = fold(&experiment, moment(100), &all).sample();
        assert_eq!(sample.units.len(), 1);
        assert_eq!(sample.units[0].values, [Some(expected)], "{per_unit:?}");
        assert_eq!(sample.units[0].requests, 4);
    }
}

#[test]
fn each_request_is_its_own_where_requests_are_assigned() {
    let mut design = design(&[1.0, 1.0], value_metric());
    design.unit = UnitKind::Request;
    let experiment = running(design);
    let all: Vec<_> =
        (1..=3).map(|number| seen(exposure_in(&experiment, number, "same", 1), 1.0)).collect();
    assert_eq!(fold(&experiment, moment(100), &all).sample().units.len(), 3);
}

#[test]
fn the_version_that_was_chosen_counts_whatever_answered() {
    let experiment = running(design(&[1.0, 1.0], json!({"measure": "degraded"})));
    let mut stood_in = exposure_in(&experiment, 1, "a", 1);
    stood_in.decision.chosen = Some(version(2));
    stood_in.degraded = Some(Degraded { by: StandIn::Version, error: "timeout".to_owned() });
    let sample = fold(&experiment, moment(10), &[seen(stood_in, 0.0)]).sample();
    assert_eq!(sample.units[0].arm, 1, "version 2 is the second arm");
    assert_eq!(sample.units[0].values, [Some(1.0)]);
}

#[test]
fn a_unit_belongs_to_its_first_arm_and_a_second_one_is_noticed() {
    let mut experiment = running(design(&[1.0, 1.0], value_metric()));
    let first = seen(exposure_in(&experiment, 1, "a", 1), 1.0);
    let second = seen(exposure_in(&experiment, 2, "a", 2), 3.0);
    let sample = fold(&experiment, moment(10), &[first.clone(), second]).sample();
    let unit = &sample.units[0];
    assert_eq!((unit.arm, unit.in_several_arms, unit.moved), (0, true, false));
    assert_eq!(unit.values, [Some(2.0)], "all it did counts for its first arm");
    // A change of weights explains it, unless units are to stay.
    weigh(&mut experiment, &[1.0, 3.0], moment(2));
    let later = seen(exposure_in(&experiment, 3, "a", 2), 3.0);
    let sample = fold(&experiment, moment(10), &[first.clone(), later.clone()]).sample();
    assert_eq!((sample.units[0].in_several_arms, sample.units[0].moved), (false, true));
    experiment.design.strict = true;
    let sample = fold(&experiment, moment(10), &[first, later]).sample();
    assert_eq!((sample.units[0].in_several_arms, sample.units[0].moved), (true, false));
    assert_eq!(sample.units[0].propensity, 0.5, "the chance is that of its first request");
}

#[test]
fn an_outcome_counts_when_its_window_has_closed() {
    let mut design =
        design(&[1.0, 1.0], json!({"measure": "named", "metric": "bought", "missing": 0.0}));
    design.outcome_window_s = 60;
    let experiment = running(design);
    let bought = |number: u64, unit: &str, after: i64| {
        let exposure = exposure_in(&experiment, number, unit, 1);
        let at = exposure.at + Duration::seconds(after);
        let metrics = [("bought".to_owned(), (1.0, at))].into();
        Observation { exposure, truth: Truth { metrics, ..Truth::default() }, control: None }
    };
    let nothing = Observation { truth: Truth::default(), ..bought(3, "never", 0) };
    let all = [bought(1, "soon", 5), bought(2, "too late", 61), nothing];
    let values = |now: i64| -> Vec<Option<f64>> {
        let sample = fold(&experiment, moment(now), &all).sample();
        sample.units.iter().map(|unit| unit.values[0]).collect()
    };
    assert_eq!(values(60), [None, None, None], "an early outcome does not count early");
    assert_eq!(values(61), [Some(1.0), None, None]);
    assert_eq!(values(100), [Some(1.0), Some(0.0), Some(0.0)]);
    assert_eq!(fold(&experiment, moment(61), &all).sample().waiting, 2);
}

#[test]
fn what_is_said_of_a_unit_is_the_whole_of_it() {
    let experiment = running(design(&[1.0, 1.0], value_metric()));
    let mut fold = fold(&experiment, moment(10), &[seen(exposure_in(&experiment, 1, "a", 1), 1.0)]);
    let units: Vec<_> = fold.units().map(|(unit, at)| (unit.to_owned(), at)).collect();
    assert_eq!(units, [("a".to_owned(), moment(1))]);
    fold.add_to_unit("a", truth(7.0, moment(5)));
    fold.add_to_unit("a stranger", truth(7.0, moment(5)));
    assert_eq!(fold.sample().units[0].values, [Some(7.0)]);
}

#[test]
fn feedback_in_any_order_and_repeated_is_the_same_truth() {
    let subject: Subject = id(1).into();
    let says = |label: &str, source: &str, at: i64, heard: i64| Feedback {
        subject: subject.clone(),
        outcome: Outcome::Label(label.to_owned()),
        source: source.to_owned(),
        occurred_at: Some(moment(at)),
        received_at: moment(heard),
    };
    let all = [says("a", "till", 1, 1), says("b", "till", 2, 2), says("c", "anna", 2, 3)];
    let expected = Truth::by_subject(&all);
    assert_eq!(expected[&subject].label, Some(("c".to_owned(), moment(2))));
    let mut other = vec![all[2].clone(), all[0].clone(), all[1].clone(), all[0].clone()];
    assert_eq!(Truth::by_subject(&other), expected);
    other.reverse();
    assert_eq!(Truth::by_subject(&other), expected);
}

#[test]
fn what_belongs_to_no_arm_is_passed_over() {
    let experiment = running(design(&[1.0, 1.0], value_metric()));
    let stranger = seen(exposure_in(&experiment, 1, "a", 9), 1.0);
    let mut nobody = exposure_in(&experiment, 2, "a", 1);
    nobody.decision.unit = None;
    let sample = fold(&experiment, moment(10), &[stranger, seen(nobody, 1.0)]).sample();
    assert_eq!((sample.units.len(), sample.passed_over), (0, 2));
}

#[test]
fn measures_say_what_they_should() {
    let experiment = running(design(&[1.0, 1.0], value_metric()));
    let exposure = Exposure {
        value: Some(3.0),
        latency_us: 250_000,
        error: Some("timeout".to_owned()),
        ..exposure_in(&experiment, 1, "a", 1)
    };
    let at = moment(1);
    let truth = Truth {
        label: Some(("no".to_owned(), at)),
        value: Some((5.0, at)),
        metrics: [("revenue".to_owned(), (9.5, at))].into(),
    };
    let window = measure::Window { length: Duration::ZERO, now: moment(2) };
    let worth = |measure: serde_json::Value| {
        let measure: Measure = serde_json::from_value(measure).unwrap();
        measure::of_request(&measure, &exposure, &truth, window)
    };
    assert_eq!(worth(json!({"measure": "error"})), Some(1.0));
    assert_eq!(worth(json!({"measure": "latency"})), Some(250.0));
    assert_eq!(worth(json!({"measure": "slow", "over_ms": 250.0})), Some(0.0));
    assert_eq!(worth(json!({"measure": "slow", "over_ms": 249.0})), Some(1.0));
    assert_eq!(worth(json!({"measure": "confidence"})), Some(0.9));
    assert_eq!(worth(json!({"measure": "low_confidence", "below": 0.95})), Some(1.0));
    assert_eq!(worth(json!({"measure": "degraded"})), Some(0.0));
    assert_eq!(worth(json!({"measure": "accuracy"})), Some(0.0));
    assert_eq!(worth(json!({"measure": "squared_error"})), Some(4.0));
    assert_eq!(worth(json!({"measure": "absolute_error"})), Some(2.0));
    assert_eq!(worth(json!({"measure": "label_is", "label": "no"})), Some(1.0));
    assert_eq!(worth(json!({"measure": "value"})), Some(5.0));
    assert_eq!(worth(json!({"measure": "named", "metric": "revenue"})), Some(9.5));
    assert_eq!(worth(json!({"measure": "named", "metric": "clicks"})), None);
}
