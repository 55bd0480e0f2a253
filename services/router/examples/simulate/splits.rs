//! Sample ratio mismatch, looked at again and again.

use router::statistics::srm::{ALARM, CONCENTRATION, Epoch, chi_square, sequential};

use crate::draws::{Draw, Runs};
use crate::tables::{head, heading, quantile, rate, row, share};

const UNITS: u64 = 200_000;
const UNITS_A_LOOK: u64 = 100;

/// Units until the alarm: repeated chi-square, sequential with A = 10 000, sequential as shipped.
fn run(draw: &mut Draw, configured: f64, real: f64) -> [Option<u64>; 3] {
    let mut first = 0;
    let mut ends = [None; 3];
    for look in 1..=UNITS / UNITS_A_LOOK {
        let all = look * UNITS_A_LOOK;
        first += draw.binomial(UNITS_A_LOOK, real);
        let epochs = [Epoch {
            units: vec![first, all - first],
            weights: vec![configured, 1.0 - configured],
        }];
        let alarm = |concentration| {
            sequential(&epochs, concentration).is_some_and(|test| test.p_value < ALARM)
        };
        let alarms = [
            chi_square(&epochs).is_some_and(|test| test.is_mismatch()),
            alarm(10_000.0),
            alarm(CONCENTRATION),
        ];
        for (end, alarm) in ends.iter_mut().zip(alarms) {
            if alarm && end.is_none() {
                *end = Some(all);
            }
        }
        if ends.iter().all(Option::is_some) {
            break;
        }
    }
    ends
}

pub(crate) fn simulate(runs: &Runs) {
    heading(
        "Sample ratio mismatch",
        &[
            "Alarm below 0.1 %, looked at every 100 units up to 200 000, 8 000 runs: share with an alarm (median units until it).",
        ],
    );
    head(&[
        "configured",
        "real",
        "chi-square at every look",
        "sequential, A = 10 000",
        "**sequential, A = 1 000**",
    ]);
    let cases = [(0.5, 0.5), (0.9, 0.9), (0.99, 0.99), (0.5, 0.51), (0.5, 0.52), (0.9, 0.91)];
    for (cell, (configured, real)) in (0..).zip(cases) {
        let found = runs.over(cell, 8_000, |draw| run(draw, configured, real));
        let mut cells = vec![rate(configured), rate(real)];
        for index in 0..3 {
            let ends: Vec<Option<u64>> =
                found.iter().map(|ends| ends.get(index).copied().flatten()).collect();
            let median = quantile(ends.iter().flatten().copied(), 0.5);
            let flagged = 100.0 * share(&ends, Option::is_some);
            cells.push(format!("{flagged:.2} % ({median})"));
        }
        row(&cells);
    }
}
