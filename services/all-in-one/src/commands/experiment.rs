//! `decision-engine experiment ...`: of a running engine through its public API.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use contracts::router::{Comparison, ExperimentList, MetricReport, Report, WhatIfAnswer};
use domain::experiment::{Experiment, ExperimentState};
use domain::{ModelName, PlanId, VersionId};
use serde_json::{Value, json};

use super::door::Engine;
use super::{Running, table};

/// `decision-engine experiment ...`
#[derive(Debug, Subcommand)]
pub enum ExperimentCommand {
    /// All experiments, newest first.
    List {
        /// Only those of this model.
        #[arg(long)]
        model: Option<ModelName>,
    },
    /// One experiment.
    Show {
        /// The id, `exp_...`.
        id: PlanId,
    },
    /// Plan an experiment from a JSON file, as `POST /api/v1/experiments` takes it.
    Create {
        /// The file, or `-` for standard input.
        file: PathBuf,
    },
    /// Start a draft: units are assigned from now on.
    Start {
        /// The id, `exp_...`.
        id: PlanId,
    },
    /// Assign no units for now.
    Pause {
        /// The id, `exp_...`.
        id: PlanId,
    },
    /// Assign units again: each gets the version that it had.
    Resume {
        /// The id, `exp_...`.
        id: PlanId,
    },
    /// Set other weights.
    Weights {
        /// The id, `exp_...`.
        id: PlanId,
        /// Every arm as `<version>=<weight>`.
        #[arg(required = true, value_parser = weight)]
        arms: Vec<(VersionId, f64)>,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// End it, and give everybody a version.
    Promote {
        /// The id, `exp_...`.
        id: PlanId,
        /// The version; without it, the control.
        #[arg(long)]
        version: Option<VersionId>,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Break it off.
    Abort {
        /// The id, `exp_...`.
        id: PlanId,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// What it says now.
    Report {
        /// The id, `exp_...`.
        id: PlanId,
    },
    /// Show the report again and again, until it is interrupted or the experiment has ended.
    Watch {
        /// The id, `exp_...`.
        id: PlanId,
        /// Seconds between two looks.
        #[arg(long, default_value_t = 5)]
        every_s: u64,
        /// Show it once, as it would be shown.
        #[arg(long)]
        once: bool,
    },
    /// What other weights would have earned, by its log.
    WhatIf {
        /// The id, `exp_...`.
        id: PlanId,
        /// The policy as `<version>=<weight>`; a version alone for all to it.
        #[arg(required = true, value_parser = weight)]
        policy: Vec<(VersionId, f64)>,
    },
}

const AT: &str = "/api/v1/experiments";

/// Does what was asked of experiments.
///
/// # Errors
/// What the engine refuses.
pub async fn experiment(running: &Running, command: ExperimentCommand) -> anyhow::Result<()> {
    let engine = running.engine()?;
    let done = match command {
        ExperimentCommand::List { model } => {
            let query: Vec<_> =
                model.iter().map(|model| ("model", model.as_str().to_owned())).collect();
            let list: ExperimentList = engine.get(AT, &query).await?;
            return running.print(&list, || {
                table::of(&FIRST, &list.experiments.iter().map(row).collect::<Vec<_>>())
            });
        }
        ExperimentCommand::Show { id } => engine.get(&format!("{AT}/{id}"), &[]).await?,
        ExperimentCommand::Create { file } => {
            let text = if file.as_os_str() == "-" {
                std::io::read_to_string(std::io::stdin()).context("standard input")?
            } else {
                std::fs::read_to_string(&file).with_context(|| format!("`{}`", file.display()))?
            };
            let plan: Value = serde_json::from_str(&text)
                .with_context(|| format!("`{}` is no JSON", file.display()))?;
            engine.post(AT, &plan).await?
        }
        ExperimentCommand::Start { id } => act(&engine, &id, "start", json!({})).await?,
        ExperimentCommand::Pause { id } => act(&engine, &id, "pause", json!({})).await?,
        ExperimentCommand::Resume { id } => act(&engine, &id, "resume", json!({})).await?,
        ExperimentCommand::Weights { id, arms, reason } => {
            let body = json!({"arms": planned(&arms), "reason": reason});
            engine.put(&format!("{AT}/{id}/weights"), &body).await?
        }
        ExperimentCommand::Promote { id, version, reason } => {
            act(&engine, &id, "promote", json!({"version": version, "reason": reason})).await?
        }
        ExperimentCommand::Abort { id, reason } => {
            act(&engine, &id, "abort", json!({"reason": reason})).await?
        }
        ExperimentCommand::Report { id } => {
            let report = report(&engine, &id).await?;
            return running.print(&report, || in_words(&report));
        }
        ExperimentCommand::Watch { id, every_s, once } => {
            return watch(running, &engine, &id, Duration::from_secs(every_s.max(1)), once).await;
        }
        ExperimentCommand::WhatIf { id, policy } => {
            let body = json!({"policy": planned(&policy)});
            let answer: WhatIfAnswer = engine.post(&format!("{AT}/{id}/what-if"), &body).await?;
            return running.print(&answer, || what_if(&answer));
        }
    };
    running.print(&done, || table::of(&FIRST, &[row(&done)]))
}

async fn act(engine: &Engine, id: &PlanId, what: &str, body: Value) -> anyhow::Result<Experiment> {
    Ok(engine.post(&format!("{AT}/{id}/{what}"), &body).await?)
}

async fn report(engine: &Engine, id: &PlanId) -> anyhow::Result<Report> {
    Ok(engine.get(&format!("{AT}/{id}/report"), &[]).await?)
}

/// Draws the report over the one before.
#[expect(clippy::print_stdout, reason = "what the command line asked for")]
async fn watch(
    running: &Running,
    engine: &Engine,
    id: &PlanId,
    every: Duration,
    once: bool,
) -> anyhow::Result<()> {
    loop {
        let report = report(engine, id).await?;
        if !running.json && !once {
            // Clears the screen, and goes to its top.
            print!("\u{1b}[2J\u{1b}[H");
        }
        running.print(&report, || in_words(&report))?;
        if once || matches!(report.state, ExperimentState::Decided | ExperimentState::Stopped) {
            return Ok(());
        }
        tokio::time::sleep(every).await;
    }
}

fn planned(arms: &[(VersionId, f64)]) -> Vec<Value> {
    arms.iter().map(|(version, weight)| json!({"version": version, "weight": weight})).collect()
}

/// The columns of [`row`] that come first.
const FIRST: [&str; 5] = ["id", "name", "model", "state", "arms"];

/// An experiment in a line.
fn row(experiment: &Experiment) -> Value {
    let arm = |arm: &domain::route::Arm| {
        format!("{}: {} %", arm.version, f64::from(arm.share_ppm) / 10_000.0)
    };
    json!({
        "id": experiment.id,
        "name": experiment.name,
        "model": experiment.model,
        "state": experiment.state,
        "arms": experiment.arms.iter().map(arm).collect::<Vec<_>>().join(", "),
        "layer": experiment.slice.layer,
        "advice": experiment.advice.map(|advice| advice.as_str()),
        "promoted": experiment.verdict.as_ref().and_then(|verdict| verdict.version),
    })
}

/// The report for people.
fn in_words(report: &Report) -> String {
    let mut lines = vec![format!("{} ({})", report.name, report.state.as_str()), String::new()];
    let said = &report.recommendation;
    lines.push(format!("{}: {}", said.action.as_str().replace('_', " "), said.reason));
    lines.push(String::new());
    let arms: Vec<Value> = report
        .arms
        .iter()
        .map(|arm| {
            json!({"version": arm.version, "control": if arm.control { "yes" } else { "" },
                "share": format!("{:.1} %", arm.share * 100.0), "units": arm.units,
                "requests": arm.requests, "outcomes": arm.outcomes})
        })
        .collect();
    lines.push(table::of(&["version", "control", "share"], &arms));
    for metric in &report.metrics {
        let role = serde_json::to_value(metric.role).unwrap_or_default();
        let role = role.as_str().unwrap_or_default();
        lines.extend([String::new(), format!("{} ({role})", metric.name), of_metric(metric)]);
    }
    let ratio = &report.sample_ratio;
    let verdict = if ratio.mismatch { "does not fit" } else { "fits" };
    lines.push(String::new());
    lines.push(format!(
        "split {verdict} the weights (p {}); {} units in several arms",
        short(Some(ratio.p_value)),
        ratio.in_several_arms
    ));
    let power = &report.power;
    let needed = power.units_needed.map_or("-".to_owned(), |units| units.to_string());
    let left = short(power.days_left);
    lines.push(format!("{} units of {needed} needed; {left} days left", power.units));
    lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
    // What others wrote must not steer the terminal.
    let text = lines.join("\n");
    text.chars().filter(|c| *c == '\n' || !c.is_control()).collect()
}

fn of_metric(metric: &MetricReport) -> String {
    let row = |arm: &contracts::router::ArmMean| {
        let found = metric.comparisons.iter().find(|one| one.version == arm.version);
        let of = |value: fn(&Comparison) -> Option<f64>| {
            found.map_or(String::new(), |one| short(value(one)))
        };
        let interval = found
            .map_or(String::new(), |one| format!("{} to {}", short(one.lower), short(one.upper)));
        let mut row = json!({"version": arm.version, "units": arm.units, "mean": short(arm.mean),
            "difference": of(|one| one.difference), "interval": interval,
            "p": of(|one| one.p_value), "p corrected": of(|one| one.p_corrected)});
        if let (Some(state), Some(row)) = (found.and_then(|one| one.guardrail), row.as_object_mut())
        {
            row.insert("guardrail".to_owned(), json!(state));
        }
        row
    };
    let first = ["version", "units", "mean", "difference", "interval"];
    table::of(&first, &metric.arms.iter().map(row).collect::<Vec<_>>())
}

fn what_if(answer: &WhatIfAnswer) -> String {
    let estimates = [
        ("snips (use this)", answer.snips),
        ("doubly robust", answer.doubly_robust),
        ("ips", answer.ips),
    ];
    let row = |(name, estimate): (&str, Option<contracts::router::Estimate>)| {
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
        None => lines
            .push(table::of(&["estimator"], &estimates.into_iter().map(row).collect::<Vec<_>>())),
    }
    lines.join("\n")
}

/// Four digits that count; `-` for none.
fn short(value: Option<f64>) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else { return "-".to_owned() };
    if value == 0.0 {
        return "0".to_owned();
    }
    let size = value.abs().log10().floor();
    if !(-5.0..9.0).contains(&size) {
        return format!("{value:.3e}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 8")]
    let digits = (3.0 - size).clamp(0.0, 8.0) as usize;
    let text = format!("{value:.digits$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `<version>=<weight>`, or a version alone.
fn weight(text: &str) -> Result<(VersionId, f64), String> {
    let (version, weight) = text.split_once('=').unwrap_or((text, "1"));
    let number: f64 =
        weight.parse().map_err(|_cause| format!("`{weight}` is no weight: a number from 0"))?;
    Ok((version.parse().map_err(|error: domain::InvalidId| error.to_string())?, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read_and_numbers_are_short() {
        let (version, number) = weight("2=0.5").unwrap();
        assert_eq!((version.number(), number), (2, 0.5));
        assert_eq!(weight("3").unwrap().1, 1.0);
        assert!(weight("2=x").is_err() && weight("x=1").is_err());
        let told = [None, Some(0.0), Some(0.123_456), Some(-2.5), Some(12_345.6), Some(1e-9)];
        assert_eq!(told.map(short), ["-", "0", "0.1235", "-2.5", "12346", "1.000e-9"]);
    }
}
