use router::statistics::cuped::{self, Arm};
use router::statistics::difference::{Difference, Form, Mixture, Plan, difference};
use router::statistics::epochs::{DesignBased, Side};
use router::statistics::moments::{Bivariate, Moments};
use serde_json::Value;

use crate::case::{Case, cases, numbers};

fn plan(case: &Case, form: Form) -> Plan {
    let number = |key: &str| case.input[key].as_f64();
    let two_sided = match (number("rho"), number("tau2")) {
        (Some(rho), _) => Mixture::Rho(rho),
        (None, Some(tau2)) => Mixture::TauSquared(tau2),
        (None, None) => panic!("{}: neither `rho` nor `tau2`", case.name),
    };
    let one_sided = number("one_sided_rho").map_or(two_sided, Mixture::Rho);
    Plan { alpha: number("alpha").unwrap(), two_sided, one_sided, form }
}

/// What is expected after so many rows.
fn step(path: &Value, n: u64) -> Option<&Value> {
    path.as_array().unwrap().iter().find(|step| step["n"].as_u64() == Some(n))
}

fn check_difference(case: &Case, form: Form) {
    let plan = plan(case, form);
    let mut arms = [Moments::default(), Moments::default()];
    let mut p_value = 1.0f64;
    let mut seen = 0;
    let path = &case.expected["path"];
    for (index, row) in case.input["observations"].as_array().unwrap().iter().enumerate() {
        let arm = usize::try_from(row[0].as_u64().unwrap()).unwrap();
        assert!(arms[arm].push(row[1].as_f64().unwrap()));
        let got = difference(&arms[0], &arms[1], &plan);
        p_value = got.as_ref().map_or(p_value, |got| p_value.min(got.p_value));
        let n = index as u64 + 1;
        let Some(expected) = step(path, n) else { continue };
        seen += 1;
        assert_eq!(Some(arms[0].count), expected["n0"].as_u64(), "{}", case.name);
        assert_eq!(Some(arms[1].count), expected["n1"].as_u64(), "{}", case.name);
        assert_eq!(Some(got.is_some()), expected["defined"].as_bool(), "{} at {n}", case.name);
        let Some(got) = got else { continue };
        check_look(case, n, &got, p_value, expected);
    }
    assert_eq!(seen, path.as_array().unwrap().len(), "{}", case.name);
}

fn check_look(case: &Case, n: u64, got: &Difference, p_value: f64, expected: &Value) {
    let fields = [
        ("diff", got.difference),
        ("se", got.standard_error),
        ("log_e", got.log_e),
        ("p_always_valid", p_value),
        ("lower", got.lower),
        ("upper", got.upper),
        ("one_sided_lower", got.one_sided_lower),
        ("one_sided_upper", got.one_sided_upper),
    ];
    for (field, got) in fields {
        if expected.get(field).is_some() {
            case.check(&format!("{field} at {n}"), Some(got), &expected[field]);
        }
    }
}

#[test]
fn plain_differences_are_the_golden_ones() {
    cases("always_valid_difference").iter().for_each(|case| check_difference(case, Form::Plain));
}

#[test]
fn safe_differences_are_the_golden_ones() {
    let cases = cases("always_valid_difference_safe");
    cases.iter().for_each(|case| check_difference(case, Form::Safe));
}

#[test]
fn design_based_sequences_are_the_golden_ones() {
    for case in cases("ipw_sequence") {
        let (alpha, eta) = (case.input["alpha"].as_f64().unwrap(), case.input["eta"].as_f64());
        let mut sequence = DesignBased::default();
        let mut seen = 0;
        let path = &case.expected["path"];
        let rows = case.input["observations_arm_propensity_reward"].as_array().unwrap();
        for (index, row) in rows.iter().enumerate() {
            let row = numbers(row);
            let side = if row[0] == 1.0 { Side::Treatment } else { Side::Control };
            assert!(sequence.push(side, row[1], row[2]));
            let n = index as u64 + 1;
            let Some(expected) = step(path, n) else { continue };
            seen += 1;
            let got = sequence.interval(alpha, eta.unwrap(), Form::Plain);
            let fields = [
                ("estimate", got.map(|got| got.estimate)),
                ("sum_var", Some(sequence.sum_of_variances)),
                ("lower", got.map(|got| got.lower)),
                ("upper", got.map(|got| got.upper)),
            ];
            for (field, got) in fields {
                case.check(&format!("{field} at {n}"), got, &expected[field]);
            }
        }
        assert_eq!(seen, path.as_array().unwrap().len(), "{}", case.name);
    }
}

#[test]
fn cuped_is_the_golden_one() {
    for case in cases("cuped") {
        let arm = |name: &str| {
            let column = |letter: &str| numbers(&case.input[format!("{name}_{letter}")]);
            let mut with = Bivariate::default();
            for (x, y) in column("x").into_iter().zip(column("y")) {
                assert!(with.push(x, y));
            }
            Arm { with, without: Moments::default() }
        };
        let (control, treatment) = (arm("control"), arm("treatment"));
        let adjusted = cuped::adjust(&control, &treatment).unwrap();
        let plan = Plan { form: Form::Plain, ..Plan::new(0.05, 5_000.0).unwrap() };
        let got = difference(&adjusted.control, &adjusted.treatment, &plan).unwrap();
        let raw = difference(&control.with.y(), &treatment.with.y(), &plan).unwrap();
        let fields = [
            ("theta", adjusted.theta),
            ("control_mean", adjusted.control.mean),
            ("treatment_mean", adjusted.treatment.mean),
            ("diff", got.difference),
            ("se", got.standard_error),
            ("se_without", raw.standard_error),
        ];
        for (field, got) in fields {
            case.check(field, Some(got), &case.expected[field]);
        }
    }
}
