//! The rate ratio as the guardrail of a canary.

use router::statistics::canary::Loss;
use router::statistics::rate_ratio::{Batch, RateRatio};

use crate::draws::{Draw, Runs};
use crate::tables::{head, heading, percent, quantile, rate, row, share, small_share};

/// As in the tables of the literature: any harm that is shown counts.
pub(crate) const ANY_HARM: Loss = Loss { alpha: 0.01, tolerated_ratio: 1.0, least_excess: 0.0 };

/// A batch of requests, each sent to the canary by chance.
pub(crate) fn batch(
    draw: &mut Draw,
    requests: u64,
    of_share: f64,
    [baseline, canary]: [f64; 2],
) -> Batch {
    let of_canary = draw.binomial(requests, of_share);
    let of_baseline = requests - of_canary;
    let events = (draw.binomial(of_canary, canary), draw.binomial(of_baseline, baseline));
    Batch::of_requests((of_canary, events.0), (of_baseline, events.1))
}

/// Requests of both and of the canary when it was rolled back, if it was.
fn rolled_back(
    draw: &mut Draw,
    loss: &Loss,
    of_share: f64,
    rates: [f64; 2],
    [size, most]: [u64; 2],
) -> Option<(u64, u64)> {
    let mut state = RateRatio::default();
    for look in 1..=most / size {
        state.update(&batch(draw, size, of_share, rates));
        if loss.is_lost(&state) {
            return Some((look * size, state.compared().canary_requests));
        }
    }
    None
}

pub(crate) fn power(runs: &Runs) {
    heading(
        "Canaries that are worse",
        &[
            "Rate ratio at alpha 1 %, any ratio above 1, looked at every 50 requests (both arms), at most 100 000; 2 000 runs.",
        ],
    );
    head(&[
        "baseline",
        "canary",
        "share",
        "found",
        "median requests",
        "p90",
        "median canary requests exposed",
    ]);
    let cases = [
        (0.01, 0.03, 0.01),
        (0.01, 0.03, 0.05),
        (0.01, 0.03, 0.1),
        (0.01, 0.03, 0.25),
        (0.01, 0.03, 0.5),
        (0.01, 0.02, 0.1),
        (0.01, 0.015, 0.1),
        (0.01, 0.1, 0.05),
        (0.01, 0.5, 0.01),
        (0.01, 1.0, 0.01),
        (0.001, 0.01, 0.1),
        (0.001, 0.003, 0.1),
        (0.05, 0.1, 0.1),
        (0.05, 0.07, 0.1),
        (0.0, 0.02, 0.1),
    ];
    for (cell, (baseline, canary, of_share)) in (0..).zip(cases) {
        let found = runs.over(cell, 2_000, |draw| {
            rolled_back(draw, &ANY_HARM, of_share, [baseline, canary], [50, 100_000])
        });
        let ends = || found.iter().flatten();
        row(&[
            rate(baseline),
            rate(canary),
            rate(of_share),
            percent(share(&found, Option::is_some)),
            quantile(ends().map(|(requests, _)| *requests), 0.5),
            quantile(ends().map(|(requests, _)| *requests), 0.9),
            quantile(ends().map(|(_, exposed)| *exposed), 0.5),
        ]);
    }
}

pub(crate) fn false_rollbacks(runs: &Runs) {
    heading(
        "Canaries that are as good",
        &[
            "Share rolled back within 200 000 requests, looked at every 200, 4 000 runs, with the upper end of its 95 % interval.",
            "The promise is 1 %. Beside it the shipped default, which also asks for an excess of 0.1 percentage points.",
        ],
    );
    head(&["rate of both", "share", "any harm", "default"]);
    let cases = [(0.001, 0.1), (0.01, 0.05), (0.01, 0.1), (0.01, 0.5), (0.05, 0.1), (0.2, 0.5)];
    for (cell, (of_both, of_share)) in (0..).zip(cases) {
        let lost = |loss: Loss| {
            let found = runs.over(cell, 4_000, |draw| {
                rolled_back(draw, &loss, of_share, [of_both, of_both], [200, 200_000])
            });
            small_share(&found, Option::is_some)
        };
        row(&[rate(of_both), rate(of_share), lost(ANY_HARM), lost(Loss::default())]);
    }
}
