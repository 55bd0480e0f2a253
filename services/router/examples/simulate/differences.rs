//! A/A tests that are looked at after every row.

use router::statistics::difference::{Form, Plan, difference};
use router::statistics::moments::Moments;

use crate::draws::{Draw, Runs};
use crate::tables::{head, heading, percent, rate, row, share};

const ROWS: u64 = 20_000;
const LOOKS: u64 = 30;
const USUAL: u64 = 4_000;
/// Enough to see a third go wrong.
const USUAL_PLAIN: u64 = 1_000;

/// What was ever found in one run.
#[derive(Default)]
struct Found {
    at_any_row: bool,
    at_any_look: bool,
    by_z_at_any_look: bool,
}

/// One A/A test: `next` gives the arm and the value of a row.
fn aa(plan: &Plan, mut next: impl FnMut() -> (bool, f64)) -> Found {
    let (mut control, mut treatment) = (Moments::default(), Moments::default());
    let mut found = Found::default();
    for n in 1..=ROWS {
        let (treated, value) = next();
        let arm = if treated { &mut treatment } else { &mut control };
        arm.push(value);
        look(&mut found, &control, &treatment, plan, n);
    }
    found
}

fn look(found: &mut Found, control: &Moments, treatment: &Moments, plan: &Plan, n: u64) {
    let Some(got) = difference(control, treatment, plan) else { return };
    let is_look = n.is_multiple_of(ROWS / LOOKS);
    let excludes_0 = got.lower > 0.0 || got.upper < 0.0;
    found.at_any_row |= excludes_0;
    found.at_any_look |= is_look && excludes_0;
    found.by_z_at_any_look |= is_look && got.difference.abs() > 1.96 * got.standard_error;
}

/// The same for a yes-or-no metric, from counts.
fn aa_of_rate(plan: &Plan, draw: &mut Draw, share: f64, rate: f64) -> Found {
    let mut counts = [(0u64, 0u64); 2];
    let mut found = Found::default();
    for n in 1..=ROWS {
        let (treated, event) = draw.both(share, rate);
        let [control, treatment] = &mut counts;
        let arm = if treated { treatment } else { control };
        arm.0 += 1;
        arm.1 += u64::from(event);
        let of = |(count, events): &(u64, u64)| Moments::of_events(*count, *events);
        if let [Some(control), Some(treatment)] = [of(&counts[0]), of(&counts[1])] {
            look(&mut found, &control, &treatment, plan, n);
        }
    }
    found
}

fn plans() -> Option<(Plan, Plan)> {
    let safe = Plan::new(0.05, Plan::DEFAULT_ROWS)?;
    Some((safe, Plan { form: Form::Plain, ..safe }))
}

/// A metric and how a value of it is drawn.
type Metric = (&'static str, fn(&mut Draw) -> f64);

const COLUMNS: [&str; 7] = [
    "metric",
    "share",
    "**safe, every row**",
    "safe, 30 looks",
    "peers' form, every row",
    "peers' form, 30 looks",
    "z-test, 30 looks",
];

fn report(name: String, of_share: f64, safe: &[Found], plain: &[Found]) {
    row(&[
        name,
        rate(of_share),
        format!("**{}**", percent(share(safe, |found| found.at_any_row))),
        percent(share(safe, |found| found.at_any_look)),
        percent(share(plain, |found| found.at_any_row)),
        percent(share(plain, |found| found.at_any_look)),
        percent(share(plain, |found| found.by_z_at_any_look)),
    ]);
}

pub(crate) fn rates(runs: &Runs) {
    heading(
        "A/A tests on rates",
        &[
            "Share of tests without a difference in which one was found, alpha 5 %, 20 000 rows.",
            "4 000 runs a cell for the safe form, 1 000 for the peers' form and the z-test.",
        ],
    );
    head(&COLUMNS);
    let Some((safe, plain)) = plans() else { return };
    let mut cell = 0;
    for of_rate in [0.3, 0.05, 0.01, 0.001] {
        for of_share in [0.5, 0.1, 0.02] {
            let simulate = |plan: &Plan, cell, usual| {
                runs.over(cell, usual, |draw| aa_of_rate(plan, draw, of_share, of_rate))
            };
            let safe = simulate(&safe, cell, USUAL);
            let plain = simulate(&plain, cell, USUAL_PLAIN);
            report(rate(of_rate), of_share, &safe, &plain);
            cell += 1;
        }
    }
}

pub(crate) fn amounts(runs: &Runs) {
    heading(
        "A/A tests on amounts",
        &[
            "As above, 2 000 and 1 000 runs a cell.",
            "Revenue: one row in ten is e^N(3, 1), the others 0. Latency: e^N(3, 1); its logarithm beside it.",
        ],
    );
    head(&COLUMNS);
    let Some((safe, plain)) = plans() else { return };
    let metrics: [Metric; 3] = [
        ("revenue", |draw| if draw.happens(0.1) { (3.0 + draw.normal()).exp() } else { 0.0 }),
        ("latency", |draw| (3.0 + draw.normal()).exp()),
        ("log latency", |draw| 3.0 + draw.normal()),
    ];
    let mut cell = 0;
    for (name, metric) in metrics {
        for of_share in [0.5, 0.1, 0.02] {
            let simulate = |plan: &Plan, usual| {
                runs.over(cell, usual, |draw| aa(plan, || (draw.happens(of_share), metric(draw))))
            };
            let (safe, plain) = (simulate(&safe, USUAL / 2), simulate(&plain, USUAL_PLAIN));
            report(name.to_owned(), of_share, &safe, &plain);
            cell += 1;
        }
    }
}
