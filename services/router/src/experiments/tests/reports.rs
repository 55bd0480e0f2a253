//! What a report says.

use contracts::router::{Advice, GuardrailState, MetricRole};
use domain::experiment::Verdict;

use super::*;

const DAY: i64 = 86_400;

#[test]
fn a_report_by_hand() {
    let experiment = running(design(&[1.0, 1.0], value_metric()));
    let report = report(&experiment, moment(1000), &events(&experiment, &[(400, 120), (400, 180)]));
    let metric = &report.metrics[0];
    for (arm, mean) in metric.arms.iter().zip([0.3, 0.45]) {
        assert!((arm.mean.unwrap() - mean).abs() < 1e-12, "{arm:?}");
    }
    let comparison = &metric.comparisons[0];
    assert!((comparison.difference.unwrap() - 0.15).abs() < 1e-12);
    // Both arms: s^2 = p (1 - p) n/(n - 1); all rows: p = 0.375, 800 rows.
    let of = |p: f64, n: f64| p * (1.0 - p) * n / (n - 1.0);
    let welch = of(0.3, 400.0) / 400.0 + of(0.45, 400.0) / 400.0;
    let pooled = of(0.375, 800.0) * (2.0 / 400.0);
    let se = welch.max(pooled).sqrt();
    assert!((comparison.standard_error.unwrap() - se).abs() < 1e-12);
    // rho for 5000 units, k = 800 rho^2, the sequence of statistics 3.1.
    let log: f64 = -2.0 * 0.05f64.ln();
    let k = 800.0 * (log + log.ln() + 1.0) / 5000.0;
    let half = se * ((1.0 + k) / k * ((1.0 + k) / (0.05f64 * 0.05)).ln()).sqrt();
    assert!((comparison.lower.unwrap() - (0.15 - half)).abs() < 1e-12);
    assert!((comparison.upper.unwrap() - (0.15 + half)).abs() < 1e-12);
    let z = 0.15 / se;
    let p = (0.5 * (1.0 + k).ln() - k * z * z / (2.0 * (1.0 + k))).exp();
    assert!((comparison.p_value.unwrap() - p).abs() < 1e-12);
    assert!((comparison.lift.unwrap() - 0.5).abs() < 1e-12);
    assert_eq!(report.recommendation.action, Advice::Ship);
    assert_eq!(report.recommendation.version, Some(version(2)));
    let reason = &report.recommendation.reason;
    assert!(
        reason.starts_with(
            "Version 2 is better and no guardrail is lost: `primary` differs by 0.15 (95 % interval"
        ),
        "{reason}"
    );
    assert_eq!(report.sample_ratio.observed, [400, 400]);
    assert_eq!((report.power.units, report.power.days_left), (800, report.power.days_left));
}

#[test]
fn an_ended_experiment_tells_what_was_decided_beside_what_the_evidence_said() {
    let mut experiment = running(design(&[1.0, 1.0], value_metric()));
    let seen = events(&experiment, &[(400, 120), (400, 180)]);
    assert_eq!(report(&experiment, moment(20 * DAY), &seen).verdict, None);
    let (by, reason) = ("anna".to_owned(), "cheaper".to_owned());
    let at = moment(15 * DAY);
    let verdict = Verdict { version: Some(version(1)), by, reason, at };
    (experiment.state, experiment.ended_at) = (ExperimentState::Decided, Some(at));
    experiment.verdict = Some(verdict.clone());
    weigh(&mut experiment, &[1.0, 3.0], moment(10 * DAY));
    let ended = report(&experiment, moment(20 * DAY), &seen);
    assert_eq!((ended.state, ended.verdict), (ExperimentState::Decided, Some(verdict)));
    assert_eq!((ended.started_at, ended.ended_at), (Some(moment(0)), Some(at)));
    assert_eq!((ended.epochs, ended.hypothesis), (experiment.epochs.clone(), "better".to_owned()));
}

#[test]
fn a_days_number_is_told_after_an_hour() {
    let experiment = running(design(&[1.0, 1.0], value_metric()));
    let seen = events(&experiment, &[(4, 2), (4, 2)]);
    let early = report(&experiment, moment(3599), &seen).power;
    assert!(early.units_needed.is_some() && early.effect > 0.0, "{early:?}");
    assert_eq!((early.units_per_day, early.days_left), (None, None));
    let later = report(&experiment, moment(3600), &seen).power;
    assert_eq!(later.units_per_day, Some(8.0 * 24.0));
    assert!(later.days_left.is_some());
}

#[test]
fn undefined_is_null() {
    let experiment = running(design(&[1.0, 1.0], value_metric()));
    let empty = report(&experiment, moment(10), &[]);
    assert_eq!(empty.recommendation.action, Advice::KeepGoing);
    let one = report(&experiment, moment(10), &events(&experiment, &[(1, 1), (1, 0)]));
    for report in [empty, one] {
        let comparison = &report.metrics[0].comparisons[0];
        let told = [
            comparison.difference,
            comparison.standard_error,
            comparison.lower,
            comparison.upper,
            comparison.lift,
            comparison.p_value,
            comparison.p_corrected,
            report.power.days_left,
        ];
        assert_eq!(told, [None; 8], "{report:?}");
        assert!(report.looks.is_empty());
    }
    let none = report(&experiment, moment(10), &[]);
    assert_eq!(none.metrics[0].arms[0].mean, None);
}

#[test]
fn weights_that_change_are_no_trap() {
    // Simpson: in each epoch both versions do the same, but the second epoch is a better time, and version 2 has
    // nine tenths of it. Pooled, version 2 would be better by far.
    let mut experiment = running(design(&[9.0, 1.0], value_metric()));
    let mut all = Vec::new();
    let mut sums = [[0.0f64; 2]; 2];
    let mut next = 0u64;
    for (epoch, rate) in [(0, 5u64), (1, 2)] {
        if epoch == 1 {
            weigh(&mut experiment, &[1.0, 9.0], moment(10_000));
        }
        for unit in 0..5000u64 {
            next += 1;
            let name = format!("{epoch}-{unit}");
            let exposure = exposure(&experiment, next, &name, moment(next.cast_signed()));
            let value = f64::from(u8::from(unit % rate == 0));
            let arm = usize::from(exposure.version == version(2));
            sums[arm][0] += 1.0;
            sums[arm][1] += value;
            all.push(seen(exposure, value));
        }
    }
    let pooled = sums[1][1] / sums[1][0] - sums[0][1] / sums[0][0];
    assert!(pooled > 0.2, "the trap is set: {pooled}");
    let report = report(&experiment, moment(20_000), &all);
    let comparison = &report.metrics[0].comparisons[0];
    assert!(comparison.difference.unwrap().abs() < 0.03, "{comparison:?}");
    assert!(comparison.lower.unwrap() < 0.0 && comparison.upper.unwrap() > 0.0);
    assert!(!report.sample_ratio.mismatch, "{:?}", report.sample_ratio);
    assert!(report.notes.iter().any(|note| note.contains("weights were changed")));
    let means: Vec<f64> = report.metrics[0].arms.iter().map(|arm| arm.mean.unwrap()).collect();
    assert!((means[0] - means[1]).abs() < 0.03, "means are told apart by epoch too: {means:?}");
}

#[test]
fn a_guardrail_is_lost_passed_or_neither() {
    let mut design = design(&[1.0, 1.0], json!({"measure": "confidence"}));
    let rail = json!({"metric": {"name": "bad", "of": {"measure": "value"}, "better": "lower"},
        "margin": 0.02});
    design.guardrails = vec![serde_json::from_value(rail).unwrap()];
    let experiment = running(design);
    for (bad, state, advice) in [
        (200, GuardrailState::Lost, Advice::RollBack),
        (100, GuardrailState::NotYet, Advice::KeepGoing),
    ] {
        let report =
            report(&experiment, moment(9000), &events(&experiment, &[(2000, 80), (2000, bad)]));
        let metric = report.metrics.iter().find(|one| one.role == MetricRole::Guardrail).unwrap();
        assert_eq!(metric.comparisons[0].guardrail, Some(state), "{metric:?}");
        assert_eq!(report.recommendation.action, advice, "{:?}", report.recommendation);
    }
    let fine =
        report(&experiment, moment(90_000), &events(&experiment, &[(20_000, 800), (20_000, 800)]));
    let metric = fine.metrics.iter().find(|one| one.role == MetricRole::Guardrail).unwrap();
    assert_eq!(metric.comparisons[0].guardrail, Some(GuardrailState::Passed));
}

#[test]
fn a_split_that_is_wrong_forbids_everything_but_going_back() {
    let experiment = running(design(&[1.0, 1.0], value_metric()));
    // Half of version 2's units got lost.
    let good = report(&experiment, moment(9000), &events(&experiment, &[(2000, 600), (1000, 500)]));
    assert!(good.sample_ratio.mismatch && good.sample_ratio.p_value < 1e-6);
    assert_eq!(good.sample_ratio.expected, [1500.0, 1500.0]);
    assert_eq!(good.recommendation.action, Advice::Invalid);
    assert_eq!(good.recommendation.version, None);
    let bad = report(&experiment, moment(9000), &events(&experiment, &[(2000, 600), (1000, 100)]));
    assert_eq!(bad.recommendation.action, Advice::RollBack);
    // One unit in twenty sees both versions.
    let mut all = events(&experiment, &[(500, 100), (500, 100)]);
    for unit in 0..25u64 {
        let other = exposure_in(&experiment, 5000 + unit, &format!("1-{unit}"), 2);
        all.push(seen(other, 0.0));
    }
    let both = report(&experiment, moment(9000), &all);
    assert_eq!(both.sample_ratio.in_several_arms, 25);
    assert!(both.sample_ratio.mismatch);
    assert_eq!(both.recommendation.action, Advice::Invalid);
}

#[test]
fn the_least_p_is_kept_and_corrected_over_arms_and_metrics() {
    let mut design = design(&[1.0, 1.0, 1.0], value_metric());
    let second = json!({"name": "sure", "of": {"measure": "confidence"}});
    design.secondary = vec![serde_json::from_value::<Metric>(second).unwrap()];
    let mut experiment = running(design);
    let all = events(&experiment, &[(1000, 300), (1000, 370), (1000, 300)]);
    let now = moment(5000);
    let first = analyse(&experiment, &fold(&experiment, now, &all).sample(), now);
    let p = first.report.metrics[0].comparisons[0].p_value.unwrap();
    assert_eq!(first.least_p["primary/2"], p);
    // Four comparisons, of which one has no p as nothing varies: it counts all the same.
    let corrected = first.report.metrics[0].comparisons[0].p_corrected.unwrap();
    assert!((corrected - (4.0 * p).min(1.0)).abs() < 1e-12, "{p} {corrected}");
    assert_eq!(first.report.metrics[1].comparisons[0].p_corrected, None);
    experiment.least_p = [("primary/2".to_owned(), 1e-6)].into();
    let later = analyse(&experiment, &fold(&experiment, now, &all).sample(), now);
    assert_eq!(later.report.metrics[0].comparisons[0].p_value, Some(1e-6));
    assert_eq!(later.least_p["primary/2"], 1e-6);
}

#[test]
fn what_the_control_would_have_said_takes_variance_away() {
    let mut design = design(&[1.0, 1.0], value_metric());
    design.cuped = true;
    let mut experiment = running(design);
    let mut all = Vec::new();
    for number in 1..=2000u64 {
        let arm = u32::try_from(number % 2).unwrap() + 1;
        let own = (number * 7919 % 1000) as f64 / 1000.0;
        let noise = (number * 104_729 % 997) as f64 / 997.0 * 0.3;
        let effect = if arm == 2 { 0.05 } else { 0.0 };
        let mut one =
            seen(exposure_in(&experiment, number, &number.to_string(), arm), own + noise + effect);
        one.control = Some(Score { label: None, confidence: None, value: Some(own) });
        all.push(one);
    }
    let with = report(&experiment, moment(5000), &all);
    let (with, saved) =
        (&with.metrics[0].comparisons[0], with.metrics[0].comparisons[0].variance_saved);
    assert!(saved.unwrap() > 0.8, "{with:?}");
    assert!((with.difference.unwrap() - 0.05).abs() < 0.02);
    // Only the control's arm knows what the control said: nothing may be taken out.
    for one in all.iter_mut().filter(|one| one.exposure.version == version(2)) {
        one.control = None;
        one.exposure.confidence = None;
    }
    let without = report(&experiment, moment(5000), &all);
    assert_eq!(without.metrics[0].comparisons[0].variance_saved, None);
    assert!(without.notes.iter().any(|note| note.contains("shadow of the control")));
    experiment.design.cuped = false;
    let plain = report(&experiment, moment(5000), &all);
    let (plain, none) = (&plain.metrics[0].comparisons[0], &without.metrics[0].comparisons[0]);
    assert_eq!((plain.difference, plain.lower), (none.difference, none.lower));
    assert!(plain.standard_error.unwrap() > with.standard_error.unwrap() * 2.0);
}

#[test]
fn the_time_decides_what_may_be_said() {
    let mut design = design(&[1.0, 1.0], value_metric());
    design.minimum_runtime_s = 5000;
    design.maximum_runtime_s = 9000;
    let experiment = running(design);
    let better = events(&experiment, &[(400, 120), (400, 180)]);
    let same = events(&experiment, &[(400, 120), (400, 125)]);
    let advice =
        |now: i64, all: &[Observation]| report(&experiment, moment(now), all).recommendation;
    let early = advice(4000, &better);
    assert_eq!(early.action, Advice::KeepGoing);
    assert!(early.reason.contains("a full cycle has not gone by"), "{}", early.reason);
    assert_eq!(advice(5000, &better).action, Advice::Ship);
    assert_eq!(advice(8999, &same).action, Advice::KeepGoing);
    assert_eq!(advice(9000, &same).action, Advice::Inconclusive);
    let plenty = events(&experiment, &[(20_000, 6000), (20_000, 6010)]);
    let none = advice(50_000, &plenty);
    assert_eq!(none.action, Advice::NoDifference, "{}", none.reason);
}

#[test]
fn the_best_of_several_is_shipped() {
    let experiment = running(design(&[1.0, 1.0, 1.0], value_metric()));
    let all = events(&experiment, &[(1000, 300), (1000, 500), (1000, 600)]);
    let best = report(&experiment, moment(5000), &all).recommendation;
    assert_eq!((best.action, best.version), (Advice::Ship, Some(version(3))));
    let all = events(&experiment, &[(1000, 300), (1000, 100), (1000, 310)]);
    let worst = report(&experiment, moment(5000), &all).recommendation;
    assert_eq!((worst.action, worst.version), (Advice::RollBack, Some(version(2))));
}
