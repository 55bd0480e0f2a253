//! How long it takes to find what is there, beside a test that is looked at once.

use router::statistics::difference::{Form, Plan, difference};
use router::statistics::moments::Moments;
use router::statistics::power::{Question, fixed_horizon_rows, sequential_rows};

use crate::draws::{Draw, Runs};
use crate::tables::{head, heading, percent, quantile, rate, row, share, thousands};

/// Rows until the interval excludes 0, if it does within `most`.
fn rows_to_find(
    draw: &mut Draw,
    plan: &Plan,
    of_share: f64,
    rates: [f64; 2],
    most: u64,
) -> Option<u64> {
    let mut counts = [(0u64, 0u64); 2];
    for n in 1..=most {
        let [control, treatment] = &mut counts;
        let treated = draw.happens(of_share);
        let (arm, rate) = if treated { (treatment, rates[1]) } else { (control, rates[0]) };
        arm.0 += 1;
        arm.1 += u64::from(draw.happens(rate));
        let of = |(count, events): &(u64, u64)| Moments::of_events(*count, *events);
        let got = difference(&of(&counts[0])?, &of(&counts[1])?, plan);
        if got.is_some_and(|got| got.lower > 0.0) {
            return Some(n);
        }
    }
    None
}

pub(crate) fn simulate(runs: &Runs) {
    heading(
        "Rows to find an effect",
        &[
            "Rows of both arms, alpha 5 %, looked at after every row, 2 000 runs.",
            "Fixed: what a z-test looked at once needs for 80 % power. Found: within that many rows, and within six times as many.",
            "Expected: what `power::sequential_rows` says beforehand of the median and of 80 %.",
        ],
    );
    head(&[
        "control",
        "treatment",
        "share",
        "fixed",
        "found within fixed",
        "found within 6 x",
        "**median**",
        "80 %",
        "expected median",
        "expected 80 %",
        "peers' form, median",
    ]);
    let cases = [
        (0.05, 0.02, 0.5),
        (0.05, 0.01, 0.5),
        (0.05, 0.02, 0.1),
        (0.01, 0.02, 0.1),
        (0.3, 0.03, 0.5),
        (0.3, 0.03, 0.1),
    ];
    for (cell, (control, effect, of_share)) in (0..).zip(cases) {
        let question = Question::of_rate(control, effect, of_share);
        let expected = |plan: &Plan| {
            let rows = |power| sequential_rows(&question, plan, power);
            Some((fixed_horizon_rows(&question, 0.05, 0.8)?, rows(0.5)?, rows(0.8)?))
        };
        let Some(safe) = Plan::new(0.05, Plan::DEFAULT_ROWS) else { return };
        let Some((fixed, median, most)) = expected(&safe) else { return };
        let whole = |rows: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rows")]
            let rows = rows.round() as u64;
            rows
        };
        let fixed = whole(fixed);
        let rates = [control, control + effect];
        let find = |plan: Plan| {
            runs.over(cell, 2_000, |draw| rows_to_find(draw, &plan, of_share, rates, 6 * fixed))
        };
        let (found, plain) = (find(safe), find(Plan { form: Form::Plain, ..safe }));
        // A run that found nothing counts as the longest.
        let ends = |found: &[Option<u64>]| {
            found.iter().map(|end| end.unwrap_or(6 * fixed)).collect::<Vec<_>>().into_iter()
        };
        row(&[
            rate(control),
            rate(control + effect),
            rate(of_share),
            thousands(fixed),
            percent(share(&found, |end| end.is_some_and(|end| end <= fixed))),
            percent(share(&found, Option::is_some)),
            format!("**{}**", quantile(ends(&found), 0.5)),
            quantile(ends(&found), 0.8),
            thousands(whole(median)),
            thousands(whole(most)),
            quantile(ends(&plain), 0.5),
        ]);
    }
}
