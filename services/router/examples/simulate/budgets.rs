//! A canary's whole way by the harm budget.

use router::statistics::canary::{HarmBudget, Loss, STEPS};
use router::statistics::rate_ratio::RateRatio;

use crate::canaries::batch;
use crate::draws::{Draw, Runs};
use crate::tables::{head, heading, percent, quantile, rate, row, share};

const REQUESTS_A_LOOK: u64 = 250;
const MOST: u64 = 4_000_000;

enum End {
    Promoted(u64),
    RolledBack(u64),
    StillOn,
}

fn roll_out(draw: &mut Draw, budget: &HarmBudget, rates: [f64; 2]) -> End {
    let loss = Loss::default();
    let mut state = RateRatio::default();
    let mut steps = STEPS.into_iter();
    let (Some(mut of_share), mut next) = (steps.next(), steps.next()) else { return End::StillOn };
    for look in 1..=MOST / REQUESTS_A_LOOK {
        state.update(&batch(draw, REQUESTS_A_LOOK, of_share, rates));
        if loss.is_lost(&state) {
            return End::RolledBack(look * REQUESTS_A_LOOK);
        }
        if let Some(wanted) = next
            && budget.look(&state, wanted).is_allowed()
        {
            if wanted >= 1.0 {
                return End::Promoted(look * REQUESTS_A_LOOK);
            }
            (of_share, next) = (wanted, steps.next());
        }
    }
    End::StillOn
}

pub(crate) fn simulate(runs: &Runs) {
    heading(
        "Promotion by the harm budget",
        &[
            "Steps 1, 5, 25, 50, 100 %, looked at every 250 requests, alpha 1 %, excess of 0.1 percentage points for a rollback, no least time a step; 1 000 runs.",
        ],
    );
    head(&[
        "baseline",
        "canary",
        "budget",
        "promoted",
        "median requests to promote",
        "rolled back",
        "median requests to roll back",
        "neither in 4 000 000",
    ]);
    let cases = [
        (0.01, 0.01, 0.005),
        (0.01, 0.01, 0.0025),
        (0.01, 0.01, 0.001),
        (0.001, 0.001, 0.001),
        (0.05, 0.05, 0.01),
        (0.05, 0.05, 0.005),
        (0.01, 0.005, 0.005),
        (0.01, 0.012, 0.005),
        (0.01, 0.02, 0.005),
        (0.01, 0.03, 0.005),
        (0.01, 0.1, 0.005),
    ];
    for (cell, (baseline, canary, harm)) in (0..).zip(cases) {
        let budget = HarmBudget { harm, ..HarmBudget::default() };
        let ends = runs.over(cell, 1_000, |draw| roll_out(draw, &budget, [baseline, canary]));
        let promoted = ends.iter().filter_map(|end| match end {
            End::Promoted(requests) => Some(*requests),
            _ => None,
        });
        let rolled_back = ends.iter().filter_map(|end| match end {
            End::RolledBack(requests) => Some(*requests),
            _ => None,
        });
        row(&[
            rate(baseline),
            rate(canary),
            rate(harm),
            percent(share(&ends, |end| matches!(end, End::Promoted(_)))),
            quantile(promoted, 0.5),
            percent(share(&ends, |end| matches!(end, End::RolledBack(_)))),
            quantile(rolled_back, 0.5),
            percent(share(&ends, |end| matches!(end, End::StillOn))),
        ]);
    }
}
