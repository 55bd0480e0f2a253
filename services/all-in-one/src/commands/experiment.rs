//! `decision-engine experiment ...`: of a running engine through its public API.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use contracts::router::{ExperimentList, Report, WhatIfAnswer};
use domain::experiment::{Experiment, ExperimentState};
use domain::{ModelName, PlanId, VersionId};
use serde_json::{Value, json};

use super::door::Engine;
use super::{Running, routes, table};

mod text;

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
        ExperimentCommand::Show { id } => {
            let experiment: Experiment = engine.get(&format!("{AT}/{id}"), &[]).await?;
            return running.print(&experiment, || text::experiment(&experiment));
        }
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
            return running.print(&report, || text::report(&report));
        }
        ExperimentCommand::Watch { id, every_s, once } => {
            return watch(running, &engine, &id, Duration::from_secs(every_s.max(1)), once).await;
        }
        ExperimentCommand::WhatIf { id, policy } => {
            let body = json!({"policy": planned(&policy)});
            let answer: WhatIfAnswer = engine.post(&format!("{AT}/{id}/what-if"), &body).await?;
            return running.print(&answer, || text::what_if(&answer));
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
        running.print(&report, || text::report(&report))?;
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
    json!({
        "id": experiment.id,
        "name": experiment.name,
        "model": experiment.model,
        "state": experiment.state,
        "arms": routes::arms(&experiment.arms),
        "layer": experiment.slice.layer,
        "advice": experiment.advice.map(text::advice),
        "promoted": experiment.verdict.as_ref().and_then(|verdict| verdict.version),
    })
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
    fn weights_are_read() {
        let (version, number) = weight("2=0.5").unwrap();
        assert_eq!((version.number(), number), (2, 0.5));
        assert_eq!(weight("3").unwrap().1, 1.0);
        assert!(weight("2=x").is_err() && weight("x=1").is_err());
    }
}
