//! The report as a page.

use std::fmt::Write;

use contracts::router::{
    Advice, ArmReport, Comparison, GuardrailState, MetricReport, MetricRole, Report, moment,
};
use domain::experiment::Epoch;
use domain::route::BUCKETS;

use super::{chart, escaped, number, prose};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#222;background:#fff;max-width:68rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.1rem;margin-top:2rem}.scroll{overflow-x:auto;overflow-wrap:normal}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}th,td{text-align:right;padding:.3rem .5rem;border-bottom:1px solid #e4e4e4;white-space:nowrap}th:first-child,td:first-child,.words th,.words td{text-align:left}td.long{white-space:normal;min-width:14rem}th{font-weight:600;color:#555}code{font:.9em ui-monospace,monospace;background:#f0f0f0;padding:.1em .25em}.small{color:#555}.advice{border-left:6px solid;padding:.6rem 1rem;background:#f6f6f6;margin:1rem 0}.advice b{display:block}.ship{border-color:#009e73}.roll_back,.invalid{border-color:#d55e00}.keep_going{border-color:#0072b2}.no_difference,.inconclusive{border-color:#888}.ended{border-color:#222}svg{display:block;width:100%;min-width:29rem;height:auto}";

/// Changes of the weights that the page shows: a bandit makes thousands.
const EPOCHS: usize = 20;

/// The page. It loads nothing and runs nothing.
pub fn html(report: &Report) -> String {
    let name = escaped(&report.name);
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{name}</title><style>{STYLE}</style></head><body><h1>{name}</h1><p class=\"small\">{} · {} · as of {}</p>",
        report.state.as_str(),
        escaped(report.experiment.as_str()),
        moment(report.at)
    );
    let ending = report.ending();
    match &ending {
        Some(ending) => {
            let _ = write!(
                page,
                "<div class=\"advice ended\"><b>{}</b>{}</div>",
                escaped(&ending.title),
                prose(&ending.sentence)
            );
        }
        None => advice(&mut page, report),
    }
    about(&mut page, report);
    let _ = write!(page, "<div class=\"scroll\">{}</div>", chart::svg(report));
    if ending.is_some() {
        page.push_str("<h2>What the evidence said</h2>");
        let said = &report.recommendation;
        let title = title(said.action);
        let _ = write!(page, "<p>Advice at the end: {title}. {}</p>", prose(&said.reason));
    }
    arms(&mut page, &report.arms);
    for metric in &report.metrics {
        table(&mut page, metric, &report.arms);
    }
    if let Some(split) = report.split_text() {
        let _ = write!(page, "<h2>Split</h2><p>{}</p>", prose(&split));
    }
    let _ = write!(page, "<h2>Power</h2><p>{}</p>", prose(&report.power_text()));
    weights(&mut page, &report.epochs);
    if !report.notes.is_empty() {
        page.push_str("<h2>To be known</h2><ul>");
        for note in &report.notes {
            let _ = write!(page, "<li>{}</li>", prose(note));
        }
        page.push_str("</ul>");
    }
    page.push_str("</body></html>");
    page
}

fn advice(page: &mut String, report: &Report) {
    let said = &report.recommendation;
    let _ = write!(
        page,
        "<div class=\"advice {}\"><b>{}</b>{}</div>",
        said.action.as_str(),
        title(said.action),
        prose(&said.reason)
    );
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

/// What it is about, and when it ran.
fn about(page: &mut String, report: &Report) {
    let _ = write!(page, "<p>{}</p><p class=\"small\">Model {}", prose(&report.hypothesis), {
        escaped(report.model.as_str())
    });
    for (what, at) in [("started", report.started_at), ("ended", report.ended_at)] {
        if let Some(at) = at {
            let _ = write!(page, " · {what} {}", moment(at));
        }
    }
    page.push_str("</p>");
}

fn arms(page: &mut String, arms: &[ArmReport]) {
    let has_chances = arms.iter().any(|arm| arm.chance_best.is_some());
    let chance = if has_chances { "<th>chance to be the best</th>" } else { "" };
    let _ = write!(
        page,
        "<h2>Arms</h2><div class=\"scroll\"><table><tr><th>version</th><th>share</th><th>units</th><th>requests</th><th>outcomes</th>{chance}</tr>"
    );
    for arm in arms {
        let control = if arm.control { " (control)" } else { "" };
        let _ = write!(
            page,
            "<tr><td>{}{control}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>",
            arm.version,
            percent(Some(arm.share)),
            arm.units,
            arm.requests,
            arm.outcomes
        );
        if has_chances {
            let _ = write!(page, "<td>{}</td>", percent(arm.chance_best));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table></div>");
}

fn table(page: &mut String, metric: &MetricReport, arms: &[ArmReport]) {
    let is_guardrail = metric.role == MetricRole::Guardrail;
    let mut about = match metric.role {
        MetricRole::Primary => "primary",
        MetricRole::Secondary => "secondary",
        MetricRole::Guardrail => "guardrail",
    }
    .to_owned();
    if let Some(unit) = &metric.unit {
        about.extend([", ", unit]);
    }
    let guardrail = if is_guardrail { "<th>guardrail</th>" } else { "" };
    let _ = write!(
        page,
        "<h2>{} <span class=\"small\">{}</span></h2><div class=\"scroll\"><table><tr><th>version</th><th>units</th><th>mean</th><th>its interval</th><th>difference</th><th>its interval</th><th>lift</th><th>p</th><th>p corrected</th>{guardrail}</tr>",
        escaped(&metric.name),
        escaped(&about)
    );
    for mean in &metric.arms {
        let comparison = metric.comparisons.iter().find(|one| one.version == mean.version);
        let control = arms.iter().any(|arm| arm.control && arm.version == mean.version);
        let _ = write!(
            page,
            "<tr><td>{}{}</td><td>{}</td><td>{}</td><td>{}</td>",
            mean.version,
            if control { " (control)" } else { "" },
            mean.units,
            number(mean.mean),
            interval(mean.lower, mean.upper)
        );
        match comparison {
            Some(comparison) => cells(page, comparison, is_guardrail),
            None => page.push_str(&"<td></td>".repeat(if is_guardrail { 6 } else { 5 })),
        }
        page.push_str("</tr>");
    }
    page.push_str("</table></div>");
}

fn cells(page: &mut String, comparison: &Comparison, is_guardrail: bool) {
    let _ = write!(
        page,
        "<td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>",
        number(comparison.difference),
        interval(comparison.lower, comparison.upper),
        percent(comparison.lift),
        number(comparison.p_value),
        number(comparison.p_corrected)
    );
    if is_guardrail {
        let state = match comparison.guardrail {
            Some(GuardrailState::Passed) => "passed",
            Some(GuardrailState::Lost) => "lost",
            Some(GuardrailState::NotYet) => "not yet",
            None => "–",
        };
        let _ = write!(page, "<td>{state}</td>");
    }
}

/// The weights over time, the newest last.
fn weights(page: &mut String, epochs: &[Epoch]) {
    if epochs.is_empty() {
        return;
    }
    page.push_str("<h2>Weights</h2>");
    let left_out = epochs.len().saturating_sub(EPOCHS);
    if left_out > 0 {
        let _ = write!(page, "<p class=\"small\">{left_out} earlier changes are left out.</p>");
    }
    page.push_str("<div class=\"scroll\"><table class=\"words\"><tr><th>from</th><th>shares</th><th>by</th><th>why</th></tr>");
    for epoch in epochs.iter().skip(left_out) {
        let share = |arm: &domain::route::Arm| {
            let share = f64::from(arm.share_ppm) / f64::from(BUCKETS);
            format!("{}: {}", arm.version, percent(Some(share)))
        };
        let shares: Vec<String> = epoch.arms.iter().map(share).collect();
        let why = if epoch.reason.is_empty() { "–".to_owned() } else { prose(&epoch.reason) };
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"long\">{why}</td></tr>",
            moment(epoch.from),
            shares.join(", "),
            escaped(&epoch.by),
        );
    }
    page.push_str("</table></div>");
}

fn interval(lower: Option<f64>, upper: Option<f64>) -> String {
    match (lower, upper) {
        (Some(_), Some(_)) => format!("{} to {}", number(lower), number(upper)),
        _ => "–".to_owned(),
    }
}

/// A share as a percentage, with two decimals at most.
fn percent(share: Option<f64>) -> String {
    let percent = share.map(|share| (share * 10_000.0).round() / 100.0);
    match percent.filter(|percent| percent.is_finite()) {
        Some(percent) => format!("{} %", format!("{}", percent + 0.0).replace('-', "−")),
        None => "–".to_owned(),
    }
}
