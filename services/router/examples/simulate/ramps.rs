//! A/A tests while the weights change and the rate moves with them.

use router::statistics::difference::{Form, Plan, difference, rho};
use router::statistics::epochs::{DesignBased, Epoch, Side, stratified};
use router::statistics::moments::Moments;

use crate::draws::{Draw, Runs};
use crate::tables::{head, heading, percent, row, share};

/// Rows, share of the treatment, rate of both arms.
const RAMP: [(u64, f64, f64); 4] =
    [(5_000, 0.05, 0.10), (5_000, 0.1, 0.12), (5_000, 0.25, 0.15), (5_000, 0.5, 0.2)];

#[derive(Default)]
struct Found {
    pooled: bool,
    stratified: bool,
    plain_design_based: bool,
    design_based: bool,
}

fn ramp(draw: &mut Draw, plan: &Plan, eta: f64) -> Found {
    let mut found = Found::default();
    let mut epochs: Vec<Epoch> = Vec::new();
    let mut pooled = (Moments::default(), Moments::default());
    let mut rows = DesignBased::default();
    for (number, of_share, rate) in RAMP {
        let mut epoch = Epoch::default();
        for _ in 0..number {
            let (treated, event) = draw.both(of_share, rate);
            let value = f64::from(u8::from(event));
            if treated {
                epoch.treatment.push(value);
                pooled.1.push(value);
                rows.push(Side::Treatment, of_share, value);
            } else {
                epoch.control.push(value);
                pooled.0.push(value);
                rows.push(Side::Control, of_share, value);
            }
            epochs.push(epoch);
            let by_epoch = stratified(&epochs, plan);
            epochs.pop();
            let all = difference(&pooled.0, &pooled.1, plan);
            found.stratified |= by_epoch.is_some_and(|got| got.lower > 0.0 || got.upper < 0.0);
            found.pooled |= all.is_some_and(|got| got.lower > 0.0 || got.upper < 0.0);
            let by_row = |form| {
                let got = rows.interval(plan.alpha, eta, form);
                got.is_some_and(|got| got.lower > 0.0 || got.upper < 0.0)
            };
            found.plain_design_based |= by_row(Form::Plain);
            found.design_based |= by_row(Form::Safe);
        }
        epochs.push(epoch);
    }
    found
}

pub(crate) fn simulate(runs: &Runs) {
    heading(
        "A/A tests while weights change",
        &[
            "The treatment's share goes 5, 10, 25, 50 %, the rate of both arms 10, 12, 15, 20 %, 5 000 rows each;",
            "alpha 5 %, looked at after every row, 2 000 runs. Share of runs in which a difference was found.",
        ],
    );
    head(&[
        "pooled over the change",
        "**by epoch**",
        "design-based, plain",
        "**design-based, safe**",
    ]);
    let (Some(plan), Some(eta)) = (Plan::new(0.05, Plan::DEFAULT_ROWS), rho(0.05, 5_000.0)) else {
        return;
    };
    let found = runs.over(0, 2_000, |draw| ramp(draw, &plan, eta));
    row(&[
        percent(share(&found, |found| found.pooled)),
        format!("**{}**", percent(share(&found, |found| found.stratified))),
        percent(share(&found, |found| found.plain_design_based)),
        format!("**{}**", percent(share(&found, |found| found.design_based))),
    ]);
}
