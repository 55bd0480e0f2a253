use contracts::router::Report;
use serde_json::json;

use super::*;

fn report(name: &str, looks: usize) -> Report {
    let look = |number: usize| {
        json!({"at": format!("2026-01-01T{:02}:00:00Z", number % 24), "units": 100 * number,
            "arms": [{"version": "2", "difference": 0.1, "lower": -3.0 / (number + 1) as f64,
                "upper": 3.0 / (number + 1) as f64}]})
    };
    let arm = |version: &str, control: bool| {
        json!({"version": version, "control": control, "share": 0.5, "units": 10, "requests": 20,
            "outcomes": 5})
    };
    let mean = |version: &str| json!({"version": version, "units": 10, "mean": 0.5, "lower": null, "upper": null});
    let report = json!({
        "experiment": "exp_0199c1d2e3f47abc8def0123456789ab", "name": name, "state": "running",
        "at": "2026-01-02T00:00:00Z", "arms": [arm("1", true), arm("2", false)],
        "metrics": [{"name": "bought", "role": "primary", "arms": [mean("1"), mean("2")],
            "comparisons": [{"version": "2", "difference": 0.1, "standard_error": 0.1, "lower": -0.4,
                "upper": 0.6, "lift": null, "p_value": 0.04, "p_corrected": 0.08,
                "guardrail": null, "variance_saved": null}]}],
        "sample_ratio": {"expected": [10.0, 10.0], "observed": [10, 10], "p_value": 1.0,
            "in_several_arms": 0, "mismatch": false},
        "power": {"units_needed": 1000, "units": 20, "units_per_day": 20.0, "days_left": 49.0},
        "recommendation": {"action": "keep_going", "version": "2", "reason": "Wait & see."},
        "looks": (0..looks).map(look).collect::<Vec<_>>(), "notes": ["<b>"],
    });
    serde_json::from_value(report).unwrap()
}

#[test]
fn what_people_wrote_is_text_and_no_markup() {
    let page = html(&report("<script>alert(1)</script> \"&'", 5));
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &quot;&amp;&#39;"), "{page}");
    assert!(page.contains("<li>&lt;b&gt;</li>") && page.contains("Wait &amp; see."), "{page}");
}

#[test]
fn a_chart_has_a_band_for_each_version_and_says_when_there_is_none() {
    let chart = svg(&report("a", 20));
    assert_eq!(chart.matches("<polygon").count(), 1);
    assert!(chart.contains("version 2</text>") && chart.contains("2026-01-01 00:00 UTC"));
    assert!(!chart.contains("NaN") && !chart.contains("inf"), "{chart}");
    assert!(svg(&report("a", 0)).contains("nothing to show yet"));
    // One look has no width.
    assert!(!svg(&report("a", 1)).contains("NaN"));
}

#[test]
fn numbers_are_short_and_undefined_ones_are_a_dash() {
    let told = [
        (None, "–"),
        (Some(f64::NAN), "–"),
        (Some(0.0), "0"),
        (Some(0.123_456), "0.1235"),
        (Some(-2.5), "−2.5"),
        (Some(12_345.6), "12346"),
        (Some(1e-9), "1.000e-9"),
    ];
    for (value, text) in told {
        assert_eq!(number(value), text, "{value:?}");
    }
}

#[test]
fn zz_write() {
    let mut report = report("Forest against regression: which one do users buy more with?", 60);
    for (place, look) in report.looks.iter_mut().enumerate() {
        look.at =
            time::OffsetDateTime::from_unix_timestamp(1_800_000_000 + place as i64 * 3600 * 9)
                .unwrap();
        let mut other = look.arms[0].clone();
        let n = place as f64 + 1.0;
        look.arms[0].difference = 0.05 + (n * 1.7).sin() * 0.1 / n.sqrt();
        look.arms[0].lower = look.arms[0].difference - 0.4 / n.sqrt();
        look.arms[0].upper = look.arms[0].difference + 0.4 / n.sqrt();
        other.version = "3".parse().unwrap();
        other.difference = -0.03 + (n * 0.7).cos() * 0.1 / n.sqrt();
        other.lower = other.difference - 0.4 / n.sqrt();
        other.upper = other.difference + 0.4 / n.sqrt();
        look.arms.push(other);
    }
    let mut third = report.arms[1].clone();
    third.version = "3".parse().unwrap();
    report.arms.push(third);
    std::fs::write("/tmp/exp-report.html", html(&report)).unwrap();
}
