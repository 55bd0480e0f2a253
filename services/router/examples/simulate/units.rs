//! Sticky units that fail each in their own way.

use router::statistics::rate_ratio::{Batch, RateRatio};

use crate::canaries::ANY_HARM;
use crate::draws::{Draw, Runs};
use crate::tables::{head, heading, percent, quantile, row, share};

const UNITS: u64 = 10_000;
const REQUESTS: u64 = 20;
const UNITS_A_BATCH: u64 = 25;
/// The share of requests that fail for units that are not broken.
const OF_OTHERS: f64 = 0.005;

/// How a unit fails.
#[derive(Clone, Copy)]
enum Failures {
    /// A share of units is broken, and those fail half of their requests; the others a few.
    OfBrokenUnits,
    /// A share of requests, each for itself.
    Independent,
}

/// Units until rollback: by request, by "had any", and tempered by phi.
fn run(draw: &mut Draw, failures: Failures, [baseline, canary]: [f64; 2]) -> [Option<u64>; 3] {
    let mut states = [(); 3].map(|()| RateRatio::default());
    let mut ends = [None; 3];
    for look in 1..=UNITS / UNITS_A_BATCH {
        let (mut by_request, mut by_unit) = (Batch::default(), Batch::default());
        let mut squared_events = 0;
        for _ in 0..UNITS_A_BATCH {
            let on_canary = draw.happens(0.1);
            let rate = if on_canary { canary } else { baseline };
            let bad = match failures {
                Failures::OfBrokenUnits if draw.happens(rate) => draw.binomial(REQUESTS, 0.5),
                Failures::OfBrokenUnits => draw.binomial(REQUESTS, OF_OTHERS),
                Failures::Independent => draw.binomial(REQUESTS, rate),
            };
            squared_events += bad * bad;
            let any = u64::from(bad > 0);
            if on_canary {
                by_request += Batch::of_requests((REQUESTS, bad), (0, 0));
                by_unit += Batch::of_requests((1, any), (0, 0));
            } else {
                by_request += Batch::of_requests((0, 0), (REQUESTS, bad));
                by_unit += Batch::of_requests((0, 0), (1, any));
            }
        }
        let tempered = Batch { squared_events, ..by_request };
        let batches = [by_request, by_unit, tempered];
        for ((state, end), batch) in states.iter_mut().zip(&mut ends).zip(&batches) {
            state.update(batch);
            if end.is_none() && ANY_HARM.is_lost(state) {
                *end = Some(look * UNITS_A_BATCH);
            }
        }
    }
    ends
}

pub(crate) fn simulate(runs: &Runs) {
    heading(
        "Sticky units",
        &[
            "10 000 users with 20 requests each, 10 % of users on the canary, looked at every 25 users, alpha 1 %, 2 000 runs: rolled back (median users).",
            "Broken users fail half of their requests, the others 0.5 %; in the last rows each request fails for itself.",
        ],
    );
    head(&["broken users: baseline, canary", "by request", "by user, \"had any\"", "**tempered**"]);
    let cases = [
        ("1 %, 1 % (good)", Failures::OfBrokenUnits, [0.01, 0.01]),
        ("1 %, 4 % (bad)", Failures::OfBrokenUnits, [0.01, 0.04]),
        ("none; 1 %, 1 % of requests fail (good)", Failures::Independent, [0.01, 0.01]),
        ("none; 1 %, 3 % of requests fail (bad)", Failures::Independent, [0.01, 0.03]),
    ];
    for (cell, (name, failures, rates)) in (0..).zip(cases) {
        let found = runs.over(cell, 2_000, |draw| run(draw, failures, rates));
        let mut cells = vec![name.to_owned()];
        for index in 0..3 {
            let ends: Vec<Option<u64>> =
                found.iter().map(|ends| ends.get(index).copied().flatten()).collect();
            let median = quantile(ends.iter().flatten().copied(), 0.5);
            cells.push(format!("{} ({median})", percent(share(&ends, Option::is_some))));
        }
        row(&cells);
    }
}
