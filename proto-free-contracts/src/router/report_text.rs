//! What a report says in sentences, the same on the page and at the command line.

use time::OffsetDateTime;

use super::experiments::{MetricRole, Power, Report};

/// How an experiment ended, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// What was decided, in a few words.
    pub title: String,
    /// Who decided, when and why.
    pub sentence: String,
}

impl Report {
    /// How the experiment ended; `None` while something is still to come of it.
    pub fn ending(&self) -> Option<Ending> {
        if self.state.is_open() {
            return None;
        }
        let mut state = self.state.as_str().to_owned();
        if let Some(first) = state.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        let Some(verdict) = &self.verdict else {
            let sentence = "Who ended it, and why, is not recorded.".to_owned();
            return Some(Ending { title: state, sentence });
        };
        let title = match verdict.version {
            Some(version) => format!("{state}: version {version} answers everybody"),
            None => format!("{state}: no version was chosen, the route was left alone"),
        };
        let mut sentence = format!("By {} at {}", verdict.by, moment(verdict.at));
        match verdict.reason.trim() {
            "" => sentence.push('.'),
            reason => sentence.extend([": ", reason]),
        }
        Some(Ending { title, sentence })
    }

    /// Whether the split fits the weights; `None` while nothing was split.
    pub fn split_text(&self) -> Option<String> {
        let ratio = &self.sample_ratio;
        if ratio.observed.iter().all(|units| *units == 0) {
            return None;
        }
        let verdict = if ratio.mismatch { "does not fit" } else { "fits" };
        let p_value = rounded(ratio.p_value, 4);
        Some(format!(
            "The split {verdict} the weights (p = {p_value}); seen in several arms: {}.",
            units(ratio.in_several_arms)
        ))
    }

    /// How far the experiment is.
    pub fn power_text(&self) -> String {
        let Power { effect, units_needed, units: so_far, units_per_day, days_left } = self.power;
        let Some(needed) = units_needed else {
            return match so_far {
                0 => "There is nothing to tell yet: no unit has a value.".to_owned(),
                _ => format!(
                    "{} with a value so far: how many are needed cannot be told yet.",
                    units(so_far)
                ),
            };
        };
        let mut text = format!(
            "{} with a value, of about {} that are needed to find a difference of {}",
            units(so_far),
            rounded(needed as f64, 3),
            rounded(effect, 4)
        );
        let primary = self.metrics.iter().find(|metric| metric.role == MetricRole::Primary);
        if let Some(primary) = primary {
            text.push_str(&format!(" in `{}`", primary.name));
        }
        text.push_str(" with 80 % power");
        if so_far >= needed {
            text.push_str(": enough");
        } else if let (Some(rate), Some(days), true) =
            (units_per_day, days_left, self.state.is_open())
        {
            let left = match days {
                days if days < 1.0 => "less than a day".to_owned(),
                days if days < 10.0 => format!("about {} days", rounded(days, 2)),
                days => format!("about {} days", rounded(days.round(), 3)),
            };
            text.push_str(&format!("; about {} a day, {left} left", rounded(rate, 2)));
        }
        text.push('.');
        text
    }
}

fn units(count: u64) -> String {
    if count == 1 { "1 unit".to_owned() } else { format!("{count} units") }
}

/// A moment to the second, in UTC.
pub fn moment(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    format!("{} {:02}:{:02}:{:02} UTC", at.date(), at.hour(), at.minute(), at.second())
}

/// A number with four digits that count, as reports show it.
pub fn short_number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let size = value.abs().log10().floor();
    if !(-5.0..9.0).contains(&size) {
        return format!("{value:.3e}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 8")]
    let digits = (3.0 - size).clamp(0.0, 8.0) as usize;
    without_zeros(format!("{value:.digits$}"))
}

fn without_zeros(text: String) -> String {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A number of which so many digits count.
fn rounded(value: f64, digits: i32) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".to_owned();
    }
    #[expect(clippy::cast_possible_truncation, reason = "-324 to 308")]
    let size = value.abs().log10().floor() as i32;
    if !(-6..15).contains(&size) {
        return format!("{value:.1e}");
    }
    let step = 10f64.powi(size + 1 - digits);
    let places = usize::try_from(digits - 1 - size).unwrap_or_default();
    without_zeros(format!("{:.places$}", (value / step).round() * step))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(state: &str, verdict: serde_json::Value, power: serde_json::Value) -> Report {
        serde_json::from_value(json!({
            "experiment": "exp_0199c1d2e3f47abc8def0123456789ab", "name": "a", "model": "iris",
            "hypothesis": "better", "state": state, "verdict": verdict, "epochs": [],
            "at": "2026-01-02T00:00:00Z", "arms": [],
            "metrics": [{"name": "bought", "role": "primary", "arms": [], "comparisons": []}],
            "sample_ratio": {"expected": [10.0], "observed": [10], "p_value": 1.0,
                "in_several_arms": 1, "mismatch": false},
            "power": power, "looks": [], "notes": [],
            "recommendation": {"action": "ship", "version": "2", "reason": "Better."},
        }))
        .unwrap()
    }

    fn power(needed: Option<u64>, units: u64, rate: f64, days: f64) -> serde_json::Value {
        json!({"effect": 0.02, "units_needed": needed, "units": units, "units_per_day": rate,
            "days_left": days})
    }

    #[test]
    fn an_ending_names_what_was_decided_and_by_whom() {
        let some = power(None, 0, 0.0, 0.0);
        let verdict = |version| {
            json!({"version": version, "by": "anna", "reason": "Cheaper.",
            "at": "2026-01-02T03:04:05.678Z"})
        };
        assert_eq!(report("running", json!(null), some.clone()).ending(), None);
        let ended = report("decided", verdict(json!("1")), some.clone()).ending().unwrap();
        assert_eq!(ended.title, "Decided: version 1 answers everybody");
        assert_eq!(ended.sentence, "By anna at 2026-01-02 03:04:05 UTC: Cheaper.");
        let stopped = report("stopped", verdict(json!(null)), some.clone()).ending().unwrap();
        assert_eq!(stopped.title, "Stopped: no version was chosen, the route was left alone");
        assert_eq!(report("stopped", json!(null), some).ending().unwrap().title, "Stopped");
    }

    #[test]
    fn power_tells_no_more_than_is_known() {
        let told = |needed, units, rate, days| {
            report("running", json!(null), power(needed, units, rate, days)).power_text()
        };
        assert_eq!(told(None, 0, 0.0, 0.0), "There is nothing to tell yet: no unit has a value.");
        assert!(told(None, 1, 0.0, 0.0).starts_with("1 unit with a value so far:"));
        let needed = "of about 28100 that are needed to find a difference of 0.02 in `bought` with 80 % power";
        assert_eq!(
            told(Some(28_123), 1000, 3456.0, 7.849),
            format!("1000 units with a value, {needed}; about 3500 a day, about 7.8 days left.")
        );
        assert!(told(Some(28_123), 1000, 90_000.0, 0.3).ends_with("less than a day left."));
        assert!(told(Some(28_123), 1000, 90.0, 301.36).ends_with("about 301 days left."));
        assert!(told(Some(10), 11, 90.0, 0.0).ends_with("power: enough."));
        let mut young = report("running", json!(null), power(Some(28_123), 9, 0.0, 0.0));
        (young.power.units_per_day, young.power.days_left) = (None, None);
        assert!(young.power_text().ends_with("with 80 % power."));
    }

    #[test]
    fn a_split_is_told_once_there_is_one() {
        let mut report = report("running", json!(null), power(None, 0, 0.0, 0.0));
        let told = "The split fits the weights (p = 1); seen in several arms: 1 unit.";
        assert_eq!(report.split_text().unwrap(), told);
        report.sample_ratio.observed = vec![0, 0];
        assert_eq!(report.split_text(), None);
    }
}
