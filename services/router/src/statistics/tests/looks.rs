//! What is undefined, what is too large, and what the difference and its neighbours promise.

use crate::statistics::correction::{bonferroni, e_benjamini_hochberg, holm};
use crate::statistics::cuped::{self, Arm};
use crate::statistics::difference::{Form, Plan, difference, one_sample, relative, rho};
use crate::statistics::epochs::{self, DesignBased, Side, stratified};
use crate::statistics::moments::{Bivariate, Moments};
use crate::statistics::power::{
    Question, fixed_horizon_power, fixed_horizon_rows, sequential_rows, sequential_rows_left,
};
use crate::statistics::srm::{CONCENTRATION, Epoch, chi_square, sequential};

fn plan() -> Plan {
    Plan::new(0.05, 5_000.0).unwrap()
}

fn events(count: u64, events: u64) -> Moments {
    Moments::of_events(count, events).unwrap()
}

#[test]
fn nothing_is_said_of_nothing() {
    let (none, one, two) = (events(0, 0), events(1, 1), events(2, 1));
    for (control, treatment) in [(none, none), (two, none), (none, two), (two, one), (one, two)] {
        assert_eq!(difference(&control, &treatment, &plan()), None);
        assert_eq!(relative(&control, &treatment, &plan()), None);
    }
    assert!(difference(&two, &two, &plan()).is_some());
    for few in [none, one] {
        assert_eq!(few.variance(), None);
        assert_eq!(few.standard_error(), None);
        assert_eq!(one_sample(&few, &plan()), None);
    }
    assert_eq!(stratified(&[], &plan()), None);
    assert_eq!(DesignBased::default().interval(0.05, 0.1, Form::Safe), None);
    assert_eq!(Bivariate::default().ratio(), None);
    assert_eq!(Bivariate::default().correlation(), None);
    assert_eq!(Moments::of_events(1, 2), None);
}

#[test]
fn nothing_is_said_where_nothing_varies() {
    // A constant that no binary fraction hits: rounding must not look like variance.
    let constant: Moments = std::iter::repeat_n(0.1, 1_000).collect();
    assert_eq!(constant.m2, 0.0);
    let merged = constant.merged(&constant);
    assert_eq!(difference(&constant, &merged, &plan()), None);
    assert_eq!(one_sample(&constant, &plan()), None);
    assert_eq!(difference(&events(50, 0), &events(50, 0), &plan()), None);
    assert_eq!(difference(&events(50, 50), &events(50, 50), &plan()), None);
    // One arm with an event is enough, and the other's zero variance is not taken at its word.
    let some = difference(&events(900, 5), &events(100, 0), &plan()).unwrap();
    let plain = Plan { form: Form::Plain, ..plan() };
    let other = difference(&events(900, 5), &events(100, 0), &plain).unwrap();
    assert!(some.standard_error > 2.0 * other.standard_error);
    let mut arm = Arm::default();
    assert!(arm.with.push(1.0, 2.0) && arm.with.push(1.0, 3.0));
    assert_eq!(cuped::adjust(&arm, &arm), None);
}

#[test]
fn what_is_not_a_number_is_not_counted() {
    let mut moments = Moments::default();
    let mut pairs = Bivariate::default();
    let mut rows = DesignBased::default();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(!moments.push(bad));
        assert!(!pairs.push(bad, 1.0) && !pairs.push(1.0, bad));
        assert!(!rows.push(Side::Control, 0.5, bad) && !rows.push(Side::Control, bad, 1.0));
    }
    for chance in [0.0, 1.0, -0.1, 1.1] {
        assert!(!rows.push(Side::Treatment, chance, 1.0));
    }
    assert_eq!(moments, Moments::default());
    assert_eq!(pairs, Bivariate::default());
    assert_eq!(rows, DesignBased::default());
    for (alpha, rows) in [(0.0, 1.0), (0.5, 1.0), (f64::NAN, 1.0), (0.05, 0.0), (0.05, f64::NAN)] {
        assert_eq!(Plan::new(alpha, rows), None);
    }
}

#[test]
fn overwhelming_evidence_does_not_overflow() {
    let (control, treatment) = (events(1 << 40, 1 << 20), events(1 << 40, 1 << 39));
    let found = difference(&control, &treatment, &plan()).unwrap();
    assert!(found.log_e > 1e9 && found.log_e.is_finite());
    assert_eq!(found.p_value, 0.0);
    assert!(found.lower > 0.0);
    // What would overflow is not counted, so one absurd outcome does not end an experiment.
    let mut huge: Moments = [1e100, -1e100, 3.0].into_iter().collect();
    let before = huge;
    assert!(!huge.push(1e308) && !huge.push(-1e101));
    assert_eq!(huge, before);
    assert!(huge.variance().unwrap().is_finite());
    let overflown = Moments { count: 3, mean: f64::INFINITY, m2: f64::NAN };
    assert_eq!(overflown.variance(), None);
    assert_eq!(difference(&overflown, &overflown, &plan()), None);
    let epoch = Epoch { units: vec![1 << 40, 1 << 20], weights: vec![0.5, 0.5] };
    let split = sequential(std::slice::from_ref(&epoch), CONCENTRATION).unwrap();
    assert!(split.log_bayes_factor > 1e9);
    assert_eq!(split.p_value, 0.0);
    assert!(chi_square(&[epoch]).unwrap().is_mismatch());
}

#[test]
fn the_null_is_inside_exactly_as_long_as_the_evidence_is_below_the_line() {
    for treated in 60..200 {
        let found = difference(&events(1_000, 60), &events(1_000, treated), &plan()).unwrap();
        assert_eq!(found.lower > 0.0, found.p_value < 0.05, "{treated}");
        assert!(found.one_sided_lower > found.lower && found.one_sided_upper < found.upper);
        assert_eq!(found.log_e_against(0.0), found.log_e);
        // At the end of the interval the evidence is 1/alpha.
        let at_end = found.log_e_against(found.lower);
        assert!((at_end + 0.05f64.ln()).abs() < 1e-9, "{at_end}");
    }
}

#[test]
fn a_lift_needs_a_control_clear_of_zero() {
    assert_eq!(relative(&events(1_000, 8), &events(1_000, 20), &plan()), None);
    let lift = relative(&events(1_000, 100), &events(1_000, 150), &plan()).unwrap();
    assert!((lift.difference - 0.5).abs() < 1e-12);
    // By hand: sqrt(0.15 0.85/999/0.01 + 0.0225 0.1 0.9/999/0.0001).
    let plain = Plan { form: Form::Plain, ..plan() };
    let by_hand = (0.127_5f64 / 999.0 / 0.01 + 0.022_5 * 0.09 / 999.0 / 0.000_1).sqrt();
    // The variance of counts has one degree of freedom less.
    let got = relative(&events(1_000, 100), &events(1_000, 150), &plain).unwrap();
    assert!((got.standard_error - by_hand).abs() < 1e-12, "{}", got.standard_error);
    let negative: Moments = [-5.0, -5.1, -4.9].into_iter().collect();
    assert_eq!(relative(&negative, &negative, &plan()), None);
}

#[test]
fn a_change_of_weights_does_not_look_like_an_effect() {
    // Both arms at 10 %, then at 30 %, while the treatment goes from a tenth to half of the traffic.
    let epoch = |control: (u64, u64), treatment: (u64, u64)| epochs::Epoch {
        control: events(control.0, control.1),
        treatment: events(treatment.0, treatment.1),
    };
    let epochs = [epoch((9_000, 900), (1_000, 100)), epoch((5_000, 1_500), (5_000, 1_500))];
    let pooled = difference(&events(14_000, 2_400), &events(6_000, 1_600), &plan()).unwrap();
    assert!(pooled.lower > 0.05, "pooling falls into Simpson's trap");
    let apart = stratified(&epochs, &plan()).unwrap();
    assert!(apart.difference.abs() < 1e-12 && apart.lower < 0.0 && apart.upper > 0.0);
    // One epoch is the plain comparison, to the bit; an empty one changes nothing.
    let alone = epochs[0];
    let expected = difference(&alone.control, &alone.treatment, &plan());
    assert_eq!(stratified(&[alone, epoch((100, 1), (1, 0))], &plan()), expected);
}

#[test]
fn an_arm_without_events_has_a_variance_all_the_same() {
    // A twentieth of 600 rows is treated, and by chance none of those had an event yet, as one of ten others had.
    let mut rows = DesignBased::default();
    for n in 0..600 {
        let side = if n % 20 == 7 { Side::Treatment } else { Side::Control };
        assert!(rows.push(side, 0.05, if n % 10 == 0 { 1.0 } else { 0.0 }));
    }
    let eta = rho(0.05, 5_000.0).unwrap();
    let interval = |form| rows.interval(0.05, eta, form).unwrap();
    assert!(interval(Form::Plain).upper < 0.0, "the plain form finds what is not there");
    assert!(interval(Form::Safe).upper > 0.0);
    assert_eq!(interval(Form::Plain).estimate, interval(Form::Safe).estimate);
}

#[test]
fn a_ratio_is_the_mean_of_its_linearised_units() {
    let mut clicks_per_view = Bivariate::default();
    let units = [(10.0, 1.0), (20.0, 4.0), (5.0, 0.0), (40.0, 7.0), (8.0, 2.0)];
    units.iter().for_each(|(views, clicks)| assert!(clicks_per_view.push(*views, *clicks)));
    let ratio = clicks_per_view.ratio().unwrap();
    let (views, r) = (16.6, 14.0 / 83.0);
    assert!((ratio.mean - r).abs() < 1e-12);
    let by_unit: Moments = units.iter().map(|(x, y)| (y - r * x) / views).collect();
    assert!((ratio.variance().unwrap() - by_unit.variance().unwrap()).abs() < 1e-12);
}

#[test]
fn cuped_takes_units_without_a_covariate_as_average() {
    let mut arms = [Arm::default(), Arm::default()];
    for n in 0..200u32 {
        let arm = &mut arms[n as usize % 2];
        let (x, noise) = (f64::from(n * 37 % 101), f64::from(n * 53 % 17));
        match n % 10 {
            9 | 8 => assert!(arm.without.push(3.0 * x + noise)),
            _ => assert!(arm.with.push(x, 3.0 * x + noise)),
        }
    }
    let adjusted = cuped::adjust(&arms[0], &arms[1]).unwrap();
    assert_eq!(adjusted.control.count + adjusted.treatment.count, 200);
    assert!((adjusted.theta - 3.0).abs() < 0.1, "{}", adjusted.theta);
    assert!(adjusted.variance_left < 0.3, "{}", adjusted.variance_left);
}

#[test]
fn corrections_are_those_of_the_book() {
    assert_eq!(bonferroni(0.01, 4), 0.0025);
    assert_eq!(bonferroni(0.01, 0), 0.01);
    // R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm").
    let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
    for (got, expected) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
        assert!((got - expected).abs() < 1e-12, "{adjusted:?}");
    }
    assert_eq!(holm(&[f64::NAN, 0.01]), [1.0, 0.02]);
    assert_eq!(holm(&[]), Vec::<f64>::new());
    // m/(alpha k) is 80, 40, 26.7, 20 for four tests: the second and third carry the third's line together.
    let log_e = [27.0f64, 100.0, 5.0, 39.0].map(f64::ln);
    assert_eq!(e_benjamini_hochberg(&log_e, 0.05), [true, true, false, true]);
    assert_eq!(e_benjamini_hochberg(&[1e5, f64::NAN], 0.05), [true, false]);
    assert_eq!(e_benjamini_hochberg(&[19f64.ln()], 0.05), [false]);
}

#[test]
fn rows_needed_are_those_of_the_textbook() {
    let question = Question::of_rate(0.05, 0.02, 0.5);
    let rows = fixed_horizon_rows(&question, 0.05, 0.8).unwrap();
    assert!((rows - 4_424.0).abs() < 1.0, "{rows}");
    let power = fixed_horizon_power(&question, 0.05, rows).unwrap();
    assert!((power - 0.8).abs() < 1e-9, "{power}");
    let median = sequential_rows(&question, &plan(), 0.5).unwrap();
    let most = sequential_rows(&question, &plan(), 0.9).unwrap();
    assert!(rows < median + 2_000.0 && median < most, "{median} {most}");
    assert_eq!(sequential_rows_left(&question, &plan(), 0.5, 1 << 40), Some(0.0));
    let left = sequential_rows_left(&question, &plan(), 0.5, 1_000).unwrap();
    assert!((left - (median - 1_000.0)).abs() < 1e-6);
    let nothing = Question { effect: 0.0, ..question };
    assert_eq!(fixed_horizon_rows(&nothing, 0.05, 0.8), None);
    assert_eq!(sequential_rows(&nothing, &plan(), 0.5), None);
    let tiny = Question { effect: 1e-12, ..question };
    assert_eq!(sequential_rows(&tiny, &plan(), 0.5), None);
}

#[test]
fn a_split_is_tested_within_epochs_and_arms_with_a_weight() {
    let epoch =
        |units: &[u64], weights: &[f64]| Epoch { units: units.to_vec(), weights: weights.to_vec() };
    // An arm of weight 0 adds no degree of freedom.
    let three = chi_square(&[epoch(&[500, 520, 3], &[1.0, 1.0, 0.0])]).unwrap();
    assert_eq!(three.degrees_of_freedom, 1);
    // Without units there is no p-value, and no evidence either way.
    assert_eq!(chi_square(&[epoch(&[0, 0], &[1.0, 1.0])]), None);
    assert_eq!(sequential(&[epoch(&[0, 0], &[1.0, 1.0])], CONCENTRATION).unwrap().p_value, 1.0);
    // Below 5 expected units in an arm no alarm is raised, however it looks.
    let few = chi_square(&[epoch(&[3, 5], &[0.99, 0.01])]).unwrap();
    assert!(few.p_value < 0.001 && !few.is_mismatch());
    for bad in [epoch(&[1], &[1.0, 1.0]), epoch(&[1, 1], &[0.0, 0.0]), epoch(&[1, 1], &[1.0, -1.0])]
    {
        assert_eq!(chi_square(std::slice::from_ref(&bad)), None);
        assert_eq!(sequential(&[bad], CONCENTRATION), None);
    }
    // Two right epochs make a wrong sum.
    let epochs = [epoch(&[9_000, 1_000], &[0.9, 0.1]), epoch(&[5_000, 5_000], &[0.5, 0.5])];
    assert!(sequential(&epochs, CONCENTRATION).unwrap().log_bayes_factor < 0.0);
    assert!(!chi_square(&epochs).unwrap().is_mismatch());
}
