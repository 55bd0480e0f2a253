//! The rate ratio beside the rules of others, on the same streams.

use router::statistics::canary::Loss;
use router::statistics::rate_ratio::{Batch, RateRatio};

use crate::canaries::ANY_HARM;
use crate::draws::{Draw, Runs};
use crate::tables::{head, heading, percent, quantile, row, share};

const MINUTES: usize = 60;
/// Requests a minute on the canary and on the baseline.
const CANARY: u64 = 100;
const BASELINE: u64 = 900;

/// A rule: the minute of the rollback, if it rolls back.
type Rule = (&'static str, fn(&[Batch]) -> Option<u64>);

const RULES: [Rule; 9] = [
    ("z-test p < 0.05 each minute", |minutes| z_test(minutes, 1.96)),
    ("z-test p < 0.01 each minute", |minutes| z_test(minutes, 2.576)),
    ("Flagger 99 %, threshold 5", |minutes| flagger(minutes, 0.99)),
    ("Flagger 98 %, threshold 5", |minutes| flagger(minutes, 0.98)),
    ("Flagger 95 %, threshold 5", |minutes| flagger(minutes, 0.95)),
    ("Argo 99 %, 5 min, failureLimit 3", |minutes| argo(minutes, 0.99)),
    ("Argo 95 %, 5 min, failureLimit 3", |minutes| argo(minutes, 0.95)),
    ("**rate ratio, alpha 1 %, every minute**", |minutes| ratio(minutes, &ANY_HARM)),
    ("**the same with the default excess of 0.1 pp**", |minutes| ratio(minutes, &Loss::default())),
];

/// Two-sided on the totals so far; rolls back only if the canary is the worse one.
fn z_test(minutes: &[Batch], line: f64) -> Option<u64> {
    let mut all = Batch::default();
    for (minute, batch) in (1..).zip(minutes) {
        all += *batch;
        let (n_c, n_b) = (all.canary_requests as f64, all.baseline_requests as f64);
        let (x_c, x_b) = (all.canary_events as f64, all.baseline_events as f64);
        let pooled = (x_c + x_b) / (n_c + n_b);
        let error = (pooled * (1.0 - pooled) * (1.0 / n_c + 1.0 / n_b)).sqrt();
        if (x_c / n_c - x_b / n_b) / error > line {
            return Some(minute);
        }
    }
    None
}

fn is_below(batches: &[Batch], least_success: f64) -> bool {
    let requests: u64 = batches.iter().map(|batch| batch.canary_requests).sum();
    let events: u64 = batches.iter().map(|batch| batch.canary_events).sum();
    1.0 - events as f64 / requests as f64 <= least_success - 1e-12
}

/// The canary's own success rate each minute; the fifth failed check rolls back, and checks are never forgiven.
fn flagger(minutes: &[Batch], least_success: f64) -> Option<u64> {
    let failed = (1..).zip(minutes.chunks(1)).filter(|(_, batch)| is_below(batch, least_success));
    failed.map(|(minute, _)| minute).nth(4)
}

/// The canary's own success rate over each 5 minutes; more than 3 failed measurements abort.
fn argo(minutes: &[Batch], least_success: f64) -> Option<u64> {
    let measured = (1..).zip(minutes.chunks(5));
    let failed = measured.filter(|(_, batches)| is_below(batches, least_success));
    failed.map(|(measurement, _)| 5 * measurement).nth(3)
}

fn ratio(minutes: &[Batch], loss: &Loss) -> Option<u64> {
    let mut state = RateRatio::default();
    for (minute, batch) in (1..).zip(minutes) {
        state.update(batch);
        if loss.is_lost(&state) {
            return Some(minute);
        }
    }
    None
}

fn judge(draw: &mut Draw, rates: [f64; 2]) -> Vec<Option<u64>> {
    let [baseline, canary] = rates;
    let minute = |_| {
        let events = (draw.binomial(CANARY, canary), draw.binomial(BASELINE, baseline));
        Batch::of_requests((CANARY, events.0), (BASELINE, events.1))
    };
    let minutes: Vec<Batch> = (0..MINUTES).map(minute).collect();
    RULES.iter().map(|(_, rule)| rule(&minutes)).collect()
}

pub(crate) fn simulate(runs: &Runs) {
    heading(
        "Beside the rules of others",
        &[
            "60 minutes, each with 100 requests on the canary and 900 on the baseline, 4 000 runs: rolled back (median minute). The same streams for all rules.",
            "Flagger and Argo Rollouts are modelled by their rule with the success rate named; people tune it.",
        ],
    );
    let scenarios = [
        ("1 % and 1 % (good)", [0.01, 0.01]),
        ("0.5 % and 0.5 % (good)", [0.005, 0.005]),
        ("3 % and 3 % (good)", [0.03, 0.03]),
        ("1 % and 3 % (bad)", [0.01, 0.03]),
        ("0.5 % and 3 % (bad)", [0.005, 0.03]),
    ];
    let mut columns = vec!["rule"];
    columns.extend(scenarios.iter().map(|(name, _)| *name));
    head(&columns);
    let judged: Vec<Vec<Vec<Option<u64>>>> = (0..)
        .zip(scenarios)
        .map(|(cell, (_, rates))| runs.over(cell, 4_000, |draw| judge(draw, rates)))
        .collect();
    for (index, (name, _)) in RULES.iter().enumerate() {
        let mut cells = vec![(*name).to_owned()];
        for of_scenario in &judged {
            let minutes: Vec<Option<u64>> =
                of_scenario.iter().map(|run| run.get(index).copied().flatten()).collect();
            let median = quantile(minutes.iter().flatten().copied(), 0.5);
            cells.push(format!("{} ({median})", percent(share(&minutes, Option::is_some))));
        }
        row(&cells);
    }
}
