//! Experiments and their reports as text for people.

use contracts::router::{
    Advice, ArmMean, Comparison, Estimate, GuardrailState, MetricReport, MetricRole, Report,
    WhatIfAnswer, short_number,
};
use domain::experiment::{Experiment, GuardrailMetric, Measure, Metric};
use domain::route::BUCKETS;
use serde_json::{Value, json};

use crate::commands::{routes, table};

/// Changes of the weights that are shown: a bandit makes thousands.
const EPOCHS: usize = 20;

/// All that is known of an experiment but its report.
pub(super) fn experiment(experiment: &Experiment) -> String {
    let design = &experiment.design;
    let moment = |at: Option<time::OffsetDateTime>| at.map_or("-".to_owned(), table::moment);
    let slice = &experiment.slice;
    let traffic = f64::from(slice.end.saturating_sub(slice.start)) / f64::from(BUCKETS);
    let guardrail = |one: &GuardrailMetric| {
        format!("{}, worse by {} at most", metric(&one.metric), short(Some(one.margin)))
    };
    let list = |items: Vec<String>| match items.is_empty() {
        true => "-".to_owned(),
        false => items.join("; "),
    };
    let advice_is = if experiment.state.is_open() { "advice" } else { "last advice" };
    let mut facts = vec![
        ("model", experiment.model.to_string()),
        ("hypothesis", experiment.hypothesis.clone()),
        ("primary metric", metric(&design.primary)),
        ("minimum effect", short(Some(design.minimum_effect))),
        ("secondary metrics", list(design.secondary.iter().map(metric).collect())),
        ("guardrails", list(design.guardrails.iter().map(guardrail).collect())),
        ("arms", routes::arms(&experiment.arms)),
        ("control", design.control.to_string()),
        ("layer", slice.layer.clone()),
        ("traffic", format!("{} of the layer", table::percent(traffic))),
        ("made", format!("{} by {}", table::moment(experiment.created_at), experiment.created_by)),
        ("started", moment(experiment.started_at)),
        ("ended", moment(experiment.ended_at)),
        (advice_is, experiment.advice.map_or("-".to_owned(), |said| advice(said).to_owned())),
    ];
    if let Some(verdict) = &experiment.verdict {
        let version = verdict.version.map_or("none".to_owned(), |version| version.to_string());
        facts.push(("promoted", version));
        facts.push(("decided", format!("{} by {}", table::moment(verdict.at), verdict.by)));
        facts.push(("why", verdict.reason.clone()));
    }
    let (id, name) = (&experiment.id, table::plain(&experiment.name));
    let mut lines = vec![format!("{id}: {name} ({})", experiment.state.as_str())];
    let fact = |(what, is): (&str, String)| format!("{what:<17}  {}", table::plain(&is));
    lines.extend(facts.into_iter().map(fact));
    let left_out = experiment.epochs.len().saturating_sub(EPOCHS);
    let epochs: Vec<Value> = experiment
        .epochs
        .iter()
        .skip(left_out)
        .map(|epoch| {
            json!({"weights from": table::moment(epoch.from), "arms": routes::arms(&epoch.arms),
                "by": epoch.by, "why": epoch.reason})
        })
        .collect();
    if left_out > 0 {
        lines.extend([
            String::new(),
            format!("{left_out} earlier changes of weights: see `--json`"),
        ]);
    }
    if !epochs.is_empty() {
        lines.extend([String::new(), table::of(&["weights from", "arms", "by", "why"], &epochs)]);
    }
    joined(&lines)
}

/// A metric in a few words: its name, and what it is made of.
fn metric(metric: &Metric) -> String {
    let Metric { name, of, per_unit, better } = metric;
    let word = |value: Value| value.as_str().unwrap_or_default().to_owned();
    let kind = serde_json::to_value(of).unwrap_or_default();
    let kind = kind.get("measure").and_then(Value::as_str).unwrap_or_default().replace('_', " ");
    let measure = match of {
        Measure::Slow { over_ms } => format!("{kind} over {over_ms} ms"),
        Measure::LowConfidence { below } => format!("{kind} below {below}"),
        Measure::LabelIs { label } => format!("{kind} {label}"),
        Measure::Named { metric, .. } => format!("{kind} {metric}"),
        _ => kind,
    };
    let per_unit = word(serde_json::to_value(per_unit).unwrap_or_default());
    let better = word(serde_json::to_value(better).unwrap_or_default());
    format!("{name} ({measure}, {per_unit} per unit, {better} is better)")
}

/// The report for people.
pub(super) fn report(report: &Report) -> String {
    let said = &report.recommendation;
    let said = format!("{}: {}", advice(said.action), said.reason);
    let mut lines = vec![format!("{} ({})", report.name, report.state.as_str()), String::new()];
    match report.ending() {
        Some(ending) => lines.extend([
            ending.title,
            ending.sentence,
            String::new(),
            format!("what the evidence said: {said}"),
        ]),
        None => lines.push(said),
    }
    lines.push(String::new());
    let arms: Vec<Value> = report
        .arms
        .iter()
        .map(|arm| {
            json!({"version": arm.version, "control": if arm.control { "yes" } else { "" },
                "share": table::percent(arm.share), "units": arm.units,
                "requests": arm.requests, "outcomes": arm.outcomes})
        })
        .collect();
    lines.push(table::of(&["version", "control", "share", "units", "requests", "outcomes"], &arms));
    for metric in &report.metrics {
        let role = match metric.role {
            MetricRole::Primary => "primary",
            MetricRole::Secondary => "secondary",
            MetricRole::Guardrail => "guardrail",
        };
        lines.extend([String::new(), format!("{} ({role})", metric.name), of_metric(metric)]);
    }
    lines.push(String::new());
    lines.extend(report.split_text());
    lines.push(report.power_text());
    lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
    joined(&lines)
}

fn of_metric(metric: &MetricReport) -> String {
    let row = |arm: &ArmMean| {
        let found = metric.comparisons.iter().find(|one| one.version == arm.version);
        let of = |value: fn(&Comparison) -> Option<f64>| {
            found.map_or(String::new(), |one| short(value(one)))
        };
        let interval = found.map_or(String::new(), |one| match (one.lower, one.upper) {
            (Some(_), Some(_)) => format!("{} to {}", short(one.lower), short(one.upper)),
            _ => "-".to_owned(),
        });
        let mut row = json!({"version": arm.version, "units": arm.units, "mean": short(arm.mean),
            "difference": of(|one| one.difference), "interval": interval,
            "p": of(|one| one.p_value), "p corrected": of(|one| one.p_corrected)});
        if let (Some(state), Some(row)) = (found.and_then(|one| one.guardrail), row.as_object_mut())
        {
            row.insert("guardrail".to_owned(), json!(guardrail(state)));
        }
        row
    };
    let first = ["version", "units", "mean", "difference", "interval", "p", "p corrected"];
    table::of(&first, &metric.arms.iter().map(row).collect::<Vec<_>>())
}

fn guardrail(state: GuardrailState) -> &'static str {
    match state {
        GuardrailState::Passed => "passed",
        GuardrailState::Lost => "lost",
        GuardrailState::NotYet => "not yet",
    }
}

/// Advice in words.
pub(super) fn advice(advice: Advice) -> &'static str {
    match advice {
        Advice::Ship => "ship",
        Advice::RollBack => "roll back",
        Advice::KeepGoing => "keep going",
        Advice::NoDifference => "no difference",
        Advice::Inconclusive => "inconclusive",
        Advice::Invalid => "invalid",
    }
}

pub(super) fn what_if(answer: &WhatIfAnswer) -> String {
    let estimates = [
        ("snips (use this)", answer.snips),
        ("doubly robust", answer.doubly_robust),
        ("ips", answer.ips),
    ];
    let row = |(name, estimate): (&str, Option<Estimate>)| {
        json!({"estimator": name, "value": short(estimate.map(|one| one.value)),
            "lower": short(estimate.map(|one| one.lower)),
            "upper": short(estimate.map(|one| one.upper))})
    };
    let mut lines = vec![format!(
        "earned {}; {} decisions, worth {} of the policy's own; largest weight {}",
        short(answer.earned),
        answer.decisions,
        short(Some(answer.effective_sample_size)),
        short(Some(answer.largest_weight))
    )];
    match &answer.refused {
        Some(why) => lines.push(format!("no verdict: {why}")),
        None => {
            lines.push(table::of(&["estimator", "value", "lower", "upper"], &estimates.map(row)))
        }
    }
    lines.join("\n")
}

/// Four digits that count; `-` for none.
fn short(value: Option<f64>) -> String {
    value.filter(|value| value.is_finite()).map_or_else(|| "-".to_owned(), short_number)
}

/// Lines, in which what others wrote must not steer the terminal.
fn joined(lines: &[String]) -> String {
    lines.join("\n").chars().filter(|c| *c == '\n' || !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let told = [None, Some(0.0), Some(0.123_456), Some(-2.5), Some(12_345.6), Some(1e-9)];
        assert_eq!(told.map(short), ["-", "0", "0.1235", "-2.5", "12346", "1.000e-9"]);
    }
}
