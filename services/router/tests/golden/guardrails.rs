use router::statistics::correction::benjamini_hochberg;
use router::statistics::rate_ratio::{Batch, RateRatio};

use crate::case::{Case, cases, counts, numbers};

fn check(case: &Case, batches: &str, read: impl Fn(&[u64]) -> Batch) {
    let alpha = case.input["alpha"].as_f64().unwrap();
    let (log_e_abs, bound_rel) = (case.allowed("log_e_abs"), case.allowed("bound_rel"));
    let batches = case.input[batches].as_array().unwrap();
    let path = case.expected["path"].as_array().unwrap();
    assert_eq!(batches.len(), path.len(), "{}", case.name);
    let mut state = RateRatio::default();
    for (index, (batch, expected)) in batches.iter().zip(path).enumerate() {
        state.update(&read(&counts(batch)));
        let got = state.interval(alpha);
        let log_e = Some(state.log_e_against_1());
        let at = |field: &str| format!("{field} at {index}");
        case.check_within(&at("log_e"), log_e, &expected["log_e_against_1"], log_e_abs, 0.0);
        case.check_within(&at("lower"), Some(got.lower), &expected["lower"], 0.0, bound_rel);
        case.check_within(&at("upper"), Some(got.upper), &expected["upper"], 0.0, bound_rel);
        if expected.get("phi").is_some() {
            let phi = Some(state.phi());
            case.check_within(&at("phi"), phi, &expected["phi"], 0.0, bound_rel);
        }
        let edges = [
            ("lower_at_grid_edge", got.lower_at_grid_edge),
            ("upper_at_grid_edge", got.upper_at_grid_edge),
        ];
        for (field, got) in edges {
            if let Some(expected) = expected.get(field) {
                assert_eq!(expected.as_bool(), Some(got), "{}: {}", case.name, at(field));
            }
        }
    }
}

#[test]
fn rate_ratios_are_the_golden_ones() {
    for case in cases("rate_ratio_sequence") {
        check(&case, "batches", |batch| {
            Batch::of_requests((batch[0], batch[1]), (batch[2], batch[3]))
        });
    }
}

#[test]
fn clustered_rate_ratios_are_the_golden_ones() {
    for case in cases("rate_ratio_clustered") {
        check(&case, "batches_with_sum_of_squared_unit_counts", |batch| Batch {
            squared_events: batch[4],
            ..Batch::of_requests((batch[0], batch[1]), (batch[2], batch[3]))
        });
    }
}

#[test]
fn benjamini_hochberg_is_the_golden_one() {
    for case in cases("benjamini_hochberg") {
        let q = case.input["q"].as_f64().unwrap();
        let adjusted = benjamini_hochberg(&numbers(&case.input["p_values"]));
        let expected = case.expected["adjusted"].as_array().unwrap();
        assert_eq!(adjusted.len(), expected.len(), "{}", case.name);
        for (index, (got, expected)) in adjusted.iter().zip(expected).enumerate() {
            case.check(&format!("adjusted {index}"), Some(*got), expected);
            let rejected = case.expected["rejected"][index].as_bool();
            assert_eq!(Some(*got <= q), rejected, "{}: {index}", case.name);
        }
    }
}
