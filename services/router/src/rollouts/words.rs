//! Figures as people read them.

/// A share as a percentage with two digits that count: `3.1 %`, `0.02 %`, `100 %`.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = match percent.abs() {
        0.0 => 0,
        value if (99.0..100.0).contains(&value) => 2,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 1,
        value if value >= 0.1 => 2,
        _ => 3,
    };
    let text = format!("{percent:.digits$}");
    let text = match text.split_once('.') {
        Some(_) => text.trim_end_matches('0').trim_end_matches('.'),
        None => text.as_str(),
    };
    format!("{text} %")
}

/// A bound from below, rounded down.
pub(crate) fn at_least(ratio: f64) -> String {
    format!("{:.1}", (ratio * 10.0).floor() / 10.0)
}

/// A time in the largest unit that it is whole in.
pub(crate) fn seconds(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0 => (0, "second"),
        s if s % 86_400 == 0 => (s / 86_400, "day"),
        s if s % 3_600 == 0 => (s / 3_600, "hour"),
        s if s % 60 == 0 => (s / 60, "minute"),
        s => (s, "second"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_digits_that_count() {
        let cases = [
            (0.031, "3.1 %"),
            (0.01, "1 %"),
            (0.0, "0 %"),
            (0.00021, "0.021 %"),
            (0.005, "0.5 %"),
            (1.0, "100 %"),
            (0.99, "99 %"),
            (0.995, "99.5 %"),
            (0.9967, "99.67 %"),
            (0.25, "25 %"),
            (-0.02, "-2 %"),
        ];
        for (share, text) in cases {
            assert_eq!(percent(share), text, "{share}");
        }
        assert_eq!(at_least(1.4999), "1.4");
        let times = [(0, "0 seconds"), (1, "1 second"), (90, "90 seconds"), (120, "2 minutes")];
        for (s, text) in times.into_iter().chain([(7_200, "2 hours"), (86_400, "1 day")]) {
            assert_eq!(seconds(s), text);
        }
    }
}
