//! A/A tests of what is built upon the difference: lift, one-sided bounds, ratios, CUPED, pairs.

use router::statistics::cuped::{Arm, adjust};
use router::statistics::difference::{Difference, Plan, difference, one_sample, relative};
use router::statistics::moments::{Bivariate, Moments};

use crate::draws::{Draw, Runs};
use crate::tables::{head, heading, percent, rate, row, share};

const ROWS: u64 = 20_000;

/// Whether any of the looks says that there is a difference.
fn ever(
    plan: &Plan,
    says: impl Fn(&Difference) -> bool,
    mut look: impl FnMut(&Plan) -> Option<Difference>,
) -> bool {
    // All rows are drawn, so that the runs of two estimators stay alike.
    (0..ROWS).fold(false, |ever, _| ever | look(plan).is_some_and(|got| says(&got)))
}

fn excludes_0(got: &Difference) -> bool {
    got.lower > 0.0 || got.upper < 0.0
}

/// One of both arms, by chance.
fn one_of<'a, T>(draw: &mut Draw, of_share: f64, arms: &'a mut [T; 2]) -> &'a mut T {
    let [control, treatment] = arms;
    if draw.happens(of_share) { treatment } else { control }
}

/// An estimator and one run of it; the number is the treatment's share.
type Estimator = (&'static str, fn(&mut Draw, &Plan, f64) -> bool);

const ESTIMATORS: [Estimator; 5] = [
    ("relative lift of a rate of 5 %", |draw, plan, of_share| {
        of_rate(draw, plan, of_share, relative, excludes_0)
    }),
    ("one-sided bound below a rate's harm (5 %)", |draw, plan, of_share| {
        of_rate(draw, plan, of_share, difference, |got| got.one_sided_lower > 0.0)
    }),
    ("ratio of two sums by unit", ratio),
    ("CUPED, correlation 0.6", cuped),
    ("paired differences of a loss", paired),
];

fn of_rate(
    draw: &mut Draw,
    plan: &Plan,
    of_share: f64,
    compare: fn(&Moments, &Moments, &Plan) -> Option<Difference>,
    says: fn(&Difference) -> bool,
) -> bool {
    let mut arms = [Moments::default(); 2];
    ever(plan, says, |plan| {
        let value = f64::from(u8::from(draw.happens(0.05)));
        one_of(draw, of_share, &mut arms).push(value);
        compare(&arms[0], &arms[1], plan)
    })
}

/// Units with 1 to 10 views, of which each is clicked with the unit's own chance.
fn ratio(draw: &mut Draw, plan: &Plan, of_share: f64) -> bool {
    let mut arms = [Bivariate::default(); 2];
    ever(plan, excludes_0, |plan| {
        let views = (1.0 + 10.0 * draw.uniform()).floor();
        let chance = if draw.happens(0.2) { 0.3 } else { 0.05 };
        let clicks =
            (0..10).filter(|view| f64::from(*view) < views && draw.happens(chance)).count();
        one_of(draw, of_share, &mut arms).push(views, clicks as f64);
        difference(&arms[0].ratio()?, &arms[1].ratio()?, plan)
    })
}

fn cuped(draw: &mut Draw, plan: &Plan, of_share: f64) -> bool {
    let mut arms = [Arm::default(); 2];
    ever(plan, excludes_0, |plan| {
        let x = draw.normal();
        let y = 0.6 * x + 0.8 * draw.normal();
        one_of(draw, of_share, &mut arms).with.push(x, y);
        let adjusted = adjust(&arms[0], &arms[1])?;
        difference(&adjusted.control, &adjusted.treatment, plan)
    })
}

/// Squared errors of two models that are equally good: all traffic goes to both, so there is no share.
fn paired(draw: &mut Draw, plan: &Plan, _: f64) -> bool {
    let mut differences = Moments::default();
    ever(plan, excludes_0, |plan| {
        let truth = draw.normal();
        let mut loss = || (0.5 * draw.normal() + 0.1 * truth).powi(2);
        let (champion, challenger) = (loss(), loss());
        differences.push(champion - challenger);
        one_sample(&differences, plan)
    })
}

pub(crate) fn simulate(runs: &Runs) {
    heading(
        "A/A tests of other estimators",
        &[
            "Safe form, alpha 5 %, 20,000 rows, looked at after every row, 2,000 runs: share in which a difference was found. Pairs have no share, so theirs are three times the same.",
        ],
    );
    let shares = [0.5, 0.1, 0.02];
    let mut columns = vec!["estimator".to_owned()];
    columns.extend(shares.map(|of_share| format!("share {}", rate(of_share))));
    head(&columns.iter().map(String::as_str).collect::<Vec<_>>());
    let Some(plan) = Plan::new(0.05, Plan::DEFAULT_ROWS) else { return };
    for (index, (name, run)) in (0..).zip(ESTIMATORS) {
        let mut cells = vec![name.to_owned()];
        for (cell, of_share) in (3 * index..).zip(shares) {
            let found = runs.over(cell, 2_000, |draw| run(draw, &plan, of_share));
            cells.push(percent(share(&found, |found| *found)));
        }
        row(&cells);
    }
}
