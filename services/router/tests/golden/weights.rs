use router::statistics::bandit::{Posterior, standings, top_two, weights};
use router::statistics::off_policy::{OffPolicy, Row};
use serde_json::Value;

use crate::case::{cases, counts, numbers};

#[test]
fn bandit_weights_are_the_golden_ones() {
    for case in cases("bandit_weights") {
        let family = case.input["family"].as_str().unwrap();
        let posterior = |pair: &Value| {
            let pair = numbers(pair);
            match family {
                "beta" => Posterior::Beta { alpha: pair[0], beta: pair[1] },
                "normal" => Posterior::Normal { mean: pair[0], deviation: pair[1] },
                other => panic!("{}: family `{other}`", case.name),
            }
        };
        let posteriors = case.input["posteriors"].as_array().unwrap();
        let posteriors: Vec<Posterior> = posteriors.iter().map(posterior).collect();
        let standings = standings(&posteriors).unwrap();
        let best: Vec<f64> = standings.iter().map(|standing| standing.best).collect();
        let floor = case.input["floor"].as_f64().unwrap();
        // The tolerance is for drawing; its note says what quadrature should reach.
        let note = case.tolerance["note"].as_str().unwrap_or_default();
        let abs =
            if note.contains("quadrature should reach 1e-6") { 1e-6 } else { case.allowed("abs") };
        let answers = [
            ("prob_best", Some(best.clone())),
            ("weights", weights(&best, floor)),
            ("top_two_beta_half", top_two(&best)),
        ];
        for (field, got) in answers {
            let Some(expected) = case.expected.get(field) else { continue };
            let (got, expected) = (got.unwrap(), expected.as_array().unwrap());
            assert_eq!(got.len(), expected.len(), "{}", case.name);
            for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
                case.check_within(&format!("{field} {index}"), Some(*got), expected, abs, 0.0);
            }
        }
    }
}

#[test]
fn off_policy_estimates_are_the_golden_ones() {
    for case in cases("off_policy") {
        let table = |key: &str| -> Vec<Vec<f64>> {
            case.input[key].as_array().unwrap().iter().map(numbers).collect()
        };
        let (targets, expected) = (table("target_probabilities"), table("reward_model"));
        let rewards = numbers(&case.input["reward"]);
        let propensities = numbers(&case.input["propensity_logged"]);
        let mut estimates = OffPolicy::default();
        for (index, action) in counts(&case.input["action"]).into_iter().enumerate() {
            let used = estimates.push(&Row {
                action: usize::try_from(action).unwrap(),
                reward: rewards[index],
                propensity: propensities[index],
                propensities: &[],
                target: &targets[index],
                expected: &expected[index],
            });
            assert!(used, "{}: row {index}", case.name);
        }
        let got = estimates.report().unwrap();
        let (ips, robust) = (got.ips, got.doubly_robust.unwrap());
        let fields = [
            ("ips", Some(ips.value)),
            ("ips_se", ips.standard_error),
            ("snips", got.snips.map(|snips| snips.value)),
            ("dm", got.direct.map(|direct| direct.value)),
            ("dr", Some(robust.value)),
            ("dr_se", robust.standard_error),
            ("effective_sample_size", Some(got.effective_rows)),
            ("max_weight", Some(got.largest_weight)),
        ];
        for (field, got) in fields {
            case.check(field, got, &case.expected[field]);
        }
        // The library's clipped estimate at 10: a cap on the weights.
        let clipped = &case.expected["ips_clipped_at_10"];
        case.check("ips_clipped_at_10", Some(got.ips_clipped.value), clipped);
    }
}
