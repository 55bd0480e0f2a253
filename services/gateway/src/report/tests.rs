use contracts::router::Report;
use serde_json::json;

use super::*;

fn report(name: &str, looks: usize) -> Report {
    let look = |number: usize| {
        json!({"at": format!("2026-01-01T{:02}:30:00Z", number % 24), "units": 100 * number,
            "arms": [{"version": "2", "difference": 0.1, "lower": 0.1 - 3.0 / (number + 1) as f64,
                "upper": 0.1 + 3.0 / (number + 1) as f64}]})
    };
    let arm = |version: &str, control: bool| {
        json!({"version": version, "control": control, "share": 0.33333, "units": 10, "requests": 20,
            "outcomes": 5})
    };
    let mean = |version: &str| json!({"version": version, "units": 10, "mean": 0.5, "lower": -0.25, "upper": 1.5});
    let metric = |name: &str, role: &str| {
        let guardrail = (role == "guardrail").then_some("not_yet");
        json!({"name": name, "role": role, "unit": "share of requests",
            "arms": [mean("1"), mean("2")],
            "comparisons": [{"version": "2", "difference": -0.1, "standard_error": 0.1,
                "lower": -0.4, "upper": 0.6, "lift": -0.123456, "p_value": 4e-7,
                "p_corrected": 0.08, "guardrail": guardrail, "variance_saved": null}]})
    };
    let epoch = |number: u32, from: &str, by: &str, why: &str| {
        json!({"number": number, "from": from, "by": by, "reason": why,
            "arms": [{"version": "1", "weight": 1.0, "share_ppm": 333_333},
                {"version": "2", "weight": 2.0, "share_ppm": 666_667}]})
    };
    let report = json!({
        "experiment": "exp_0199c1d2e3f47abc8def0123456789ab", "name": name, "state": "running",
        "model": "iris", "hypothesis": "Version 2 sells more, as `price` is in it.",
        "started_at": "2026-01-01T00:00:00Z",
        "epochs": [epoch(1, "2026-01-01T00:00:00Z", "anna", ""),
            epoch(2, "2026-01-01T06:00:00.123Z", "<ben>", "Faster.")],
        "at": "2026-01-02T00:00:00.987654Z", "arms": [arm("1", true), arm("2", false)],
        "metrics": [metric("bought", "primary"), metric("failed", "guardrail")],
        "sample_ratio": {"expected": [10.0, 10.0], "observed": [10, 10], "p_value": 1.0,
            "in_several_arms": 0, "mismatch": false},
        "power": {"effect": 0.02, "units_needed": 1000, "units": 20, "units_per_day": 20.0,
            "days_left": 49.0},
        "recommendation": {"action": "ship", "version": "2",
            "reason": "Wait & see: `bought-it` differs by 0.1 (95 % interval -0.4 to 0.6)."},
        "looks": (0..looks).map(look).collect::<Vec<_>>(), "notes": ["<b>"],
    });
    serde_json::from_value(report).unwrap()
}

#[test]
fn what_people_wrote_is_text_and_no_markup() {
    let page = html(&report("<script>alert(1)</script> \"&'", 5));
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &quot;&amp;&#39;"), "{page}");
    assert!(page.contains("<li>&lt;b&gt;</li>") && page.contains("Wait &amp; see:"), "{page}");
}

#[test]
fn a_chart_has_a_band_for_each_version_and_says_when_there_is_none() {
    let chart = svg(&report("a", 20));
    assert_eq!(chart.matches("<polygon").count(), 1);
    assert!(chart.contains("version 2</text>") && chart.contains("2026-01-01 00:00 UTC"));
    assert!(chart.contains(">difference of bought (share of requests)</text>"), "{chart}");
    assert_eq!(chart.matches("class=\"weights\"").count(), 1);
    // The first bands are wider than the picture: above and below.
    assert_eq!(chart.matches("class=\"beyond\"").count(), 2);
    assert!(chart.contains("beyond the picture</text>"));
    assert!(!chart.contains("NaN") && !chart.contains("inf"), "{chart}");
    assert!(svg(&report("a", 0)).contains("nothing to show yet"));
    // One look has no width, if there is nothing before it either.
    let mut one = report("a", 1);
    one.started_at = None;
    let chart = svg(&one);
    assert!(!chart.contains("NaN") && !chart.contains("inf"), "{chart}");
    assert_eq!(chart.matches(" UTC</text>").count(), 1);
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
        (Some(1e-9), "1.000e−9"),
    ];
    for (value, text) in told {
        assert_eq!(number(value), text, "{value:?}");
    }
}

#[test]
fn an_ended_experiment_tells_what_was_decided_before_what_the_evidence_said() {
    let mut ended = report("a", 9);
    let open = html(&ended);
    assert!(open.contains("<div class=\"advice ship\"><b>Ship</b>"), "{open}");
    assert!(!open.contains("What the evidence said"));
    let verdict = json!({"version": "1", "by": "anna", "reason": "Cheaper.",
        "at": "2026-01-02T00:00:00Z"});
    ended.state = domain::experiment::ExperimentState::Decided;
    ended.verdict = serde_json::from_value(verdict).unwrap();
    ended.ended_at = Some(time::macros::datetime!(2026-01-02 00:00 UTC));
    let page = html(&ended);
    assert!(!page.contains("advice ship"), "{page}");
    let decided = page.find("<b>Decided: version 1 answers everybody</b>By anna at 2026-01-02");
    let said = page.find("What the evidence said</h2><p>Advice at the end: Ship.");
    assert!(decided.unwrap() < said.unwrap(), "{page}");
    assert!(page.contains("ended 2026-01-02 00:00:00 UTC"), "{page}");
}

#[test]
fn a_page_tells_times_code_and_minus_in_one_way() {
    let page = html(&report("a", 9));
    for part in [
        "as of 2026-01-02 00:00:00 UTC",
        "Model iris · started 2026-01-01 00:00:00 UTC",
        "as <code>price</code> is in it.",
        "<code>bought-it</code> differs by 0.1 (95 % interval −0.4 to 0.6)",
        "<td>−0.25 to 1.5</td>",
        "<td>−12.35 %</td><td>4.000e−7</td>",
        "<th>guardrail</th>",
        "<td>not yet</td>",
        "<td>33.33 %</td>",
        "<td>2026-01-01 06:00:00 UTC</td><td>1: 33.33 %, 2: 66.67 %</td><td>&lt;ben&gt;</td>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(page.matches("<table").count(), page.matches("class=\"scroll\"><table").count());
    assert_eq!(prose("a `b` c ` -1"), "a <code>b</code> c ` −1");
}
