//! The report as a page.

use std::fmt::Write;

use contracts::router::{
    Advice, ArmReport, Comparison, GuardrailState, MetricReport, MetricRole, Report,
};

use super::{chart, escaped, number};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#222;background:#fff;max-width:60rem;margin:2rem auto;padding:0 1rem}h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}th,td{text-align:right;padding:.3rem .6rem;border-bottom:1px solid #e4e4e4}th:first-child,td:first-child{text-align:left}th{font-weight:600;color:#555}.small{color:#555}.advice{border-left:6px solid;padding:.6rem 1rem;background:#f6f6f6;margin:1rem 0}.advice b{display:block}.ship{border-color:#009e73}.roll_back,.invalid{border-color:#d55e00}.keep_going{border-color:#0072b2}.no_difference,.inconclusive{border-color:#888}svg{max-width:100%;height:auto}";

/// The page. It loads nothing and runs nothing.
pub fn html(report: &Report) -> String {
    let Report { recommendation, .. } = report;
    let name = escaped(&report.name);
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{name}</title><style>{STYLE}</style></head><body><h1>{name}</h1><p class=\"small\">{} · {} · {}</p>",
        report.state.as_str(),
        escaped(report.experiment.as_str()),
        report.at.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
    );
    let _ = write!(
        page,
        "<div class=\"advice {}\"><b>{}</b>{}</div>{}",
        recommendation.action.as_str(),
        title(recommendation.action),
        escaped(&recommendation.reason),
        chart::svg(report)
    );
    arms(&mut page, &report.arms);
    for metric in &report.metrics {
        table(&mut page, metric, &report.arms);
    }
    let ratio = &report.sample_ratio;
    let verdict = if ratio.mismatch { "does not fit the weights" } else { "fits the weights" };
    let _ = write!(
        page,
        "<h2>Split</h2><p>The split {verdict} (p = {}); {} units were seen in several arms.</p>",
        number(Some(ratio.p_value)),
        ratio.in_several_arms
    );
    let power = &report.power;
    let needed = power.units_needed.map_or("–".to_owned(), |units| units.to_string());
    let _ = write!(
        page,
        "<h2>Power</h2><p>{} units with a value of {needed} needed (by estimate, for 80 % power); {} a day; {} days left.</p>",
        power.units,
        number(power.units_per_day),
        number(power.days_left)
    );
    if !report.notes.is_empty() {
        page.push_str("<h2>To be known</h2><ul>");
        for note in &report.notes {
            let _ = write!(page, "<li>{}</li>", escaped(note));
        }
        page.push_str("</ul>");
    }
    page.push_str("</body></html>");
    page
}

fn title(advice: Advice) -> &'static str {
    match advice {
        Advice::Ship => "Ship",
        Advice::RollBack => "Roll back",
        Advice::KeepGoing => "Keep going",
        Advice::NoDifference => "No difference worth having",
        Advice::Inconclusive => "Inconclusive",
        Advice::Invalid => "Invalid",
    }
}

fn arms(page: &mut String, arms: &[ArmReport]) {
    page.push_str("<h2>Arms</h2><table><tr><th>version</th><th>share</th><th>units</th><th>requests</th><th>outcomes</th></tr>");
    for arm in arms {
        let control = if arm.control { " (control)" } else { "" };
        let _ = write!(
            page,
            "<tr><td>{}{control}</td><td>{} %</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            arm.version,
            number(Some(arm.share * 100.0)),
            arm.units,
            arm.requests,
            arm.outcomes
        );
    }
    page.push_str("</table>");
}

fn table(page: &mut String, metric: &MetricReport, arms: &[ArmReport]) {
    let role = match metric.role {
        MetricRole::Primary => "primary",
        MetricRole::Secondary => "secondary",
        MetricRole::Guardrail => "guardrail",
    };
    let _ = write!(
        page,
        "<h2>{} <span class=\"small\">{role}</span></h2><table><tr><th>version</th><th>units</th><th>mean</th><th>difference</th><th>interval</th><th>lift</th><th>p</th><th>p corrected</th><th></th></tr>",
        escaped(&metric.name)
    );
    for mean in &metric.arms {
        let comparison = metric.comparisons.iter().find(|one| one.version == mean.version);
        let control = arms.iter().any(|arm| arm.control && arm.version == mean.version);
        let _ = write!(
            page,
            "<tr><td>{}{}</td><td>{}</td><td>{}</td>",
            mean.version,
            if control { " (control)" } else { "" },
            mean.units,
            number(mean.mean)
        );
        match comparison {
            Some(comparison) => cells(page, comparison),
            None => page.push_str("<td></td><td></td><td></td><td></td><td></td><td></td>"),
        }
        page.push_str("</tr>");
    }
    page.push_str("</table>");
}

fn cells(page: &mut String, comparison: &Comparison) {
    let interval = match (comparison.lower, comparison.upper) {
        (Some(lower), Some(upper)) => {
            format!("{} to {}", number(Some(lower)), number(Some(upper)))
        }
        _ => "–".to_owned(),
    };
    let state = match comparison.guardrail {
        Some(GuardrailState::Passed) => "passed",
        Some(GuardrailState::Lost) => "lost",
        Some(GuardrailState::NotYet) => "not yet",
        None => "",
    };
    let lift = comparison.lift.map(|lift| format!("{} %", number(Some(lift * 100.0))));
    let _ = write!(
        page,
        "<td>{}</td><td>{interval}</td><td>{}</td><td>{}</td><td>{}</td><td>{state}</td>",
        number(comparison.difference),
        lift.unwrap_or_else(|| "–".to_owned()),
        number(comparison.p_value),
        number(comparison.p_corrected)
    );
}
