//! `decision-engine rollout ...`: what the public API does to rollouts, for people at a terminal.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use contracts::router::{GuardrailView, NewRollout, RolloutList, RolloutView};
use domain::rollout::RolloutPlan;
use domain::{ModelName, PlanId, VersionId};
use serde_json::{Value, json};

use super::door::Engine;
use super::{Running, table};

/// `decision-engine rollout ...`
#[derive(Debug, Subcommand)]
pub enum RolloutCommand {
    /// Begin one: the version gets the first step's share at once.
    Start {
        /// The model.
        model: ModelName,
        /// The version that is to get everything in the end.
        version: VersionId,
        /// The shares of the steps, separated by commas, such as `0.01,0.1,1`.
        #[arg(long, value_delimiter = ',')]
        steps: Option<Vec<f64>>,
        /// The share of all requests that may, with confidence, go badly on top at the next step.
        #[arg(long)]
        harm_budget: Option<f64>,
        /// The shares before which a person has to approve, separated by commas.
        #[arg(long, value_delimiter = ',')]
        approve: Option<Vec<f64>>,
        /// A file with the whole plan as JSON; the options above come before it.
        #[arg(long)]
        plan: Option<PathBuf>,
        /// Why; kept in the history.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// All rollouts, newest first.
    List {
        /// Only those of this model.
        #[arg(long)]
        model: Option<ModelName>,
        /// Only those that are not over.
        #[arg(long)]
        open: bool,
    },
    /// One rollout: where it stands and why, its guardrails, and the steps it took.
    Show {
        /// The id, `rol_...`.
        id: PlanId,
    },
    /// Follow one until it is over, and print what changes. Fails if it does not end in success.
    Watch {
        /// The id, `rol_...`.
        id: PlanId,
        /// How often to look, seconds.
        #[arg(long, default_value_t = 2)]
        every_s: u64,
    },
    /// Hold one at its step. Guardrails still roll it back.
    Pause {
        /// The id, `rol_...`.
        id: PlanId,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Go on with one that was paused.
    Resume {
        /// The id, `rol_...`.
        id: PlanId,
    },
    /// Give the version everything now, whatever the evidence says.
    Promote {
        /// The id, `rol_...`.
        id: PlanId,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Let the next step begin that waits for a person.
    Approve {
        /// The id, `rol_...`.
        id: PlanId,
    },
    /// Give everything back, and block nothing.
    Abort {
        /// The id, `rol_...`.
        id: PlanId,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// Does what was asked of rollouts.
///
/// # Errors
/// What the engine refuses; also if a rollout that is watched does not end in success.
pub async fn rollout(running: &Running, command: RolloutCommand) -> anyhow::Result<()> {
    let engine = running.engine()?;
    let act = async |id: &PlanId, action: &str, body: Value| -> anyhow::Result<()> {
        let path = format!("/api/v1/rollouts/{id}/{action}");
        let view: RolloutView = engine.post(&path, &body).await?;
        print(running, &view)
    };
    match command {
        RolloutCommand::Start { model, version, steps, harm_budget, approve, plan, reason } => {
            let mut plan = match plan {
                None => RolloutPlan::default(),
                Some(file) => {
                    let shown = file.display().to_string();
                    let text = std::fs::read_to_string(file).with_context(|| shown.clone())?;
                    serde_json::from_str(&text).with_context(|| shown)?
                }
            };
            steps.into_iter().for_each(|steps| plan.steps = steps);
            harm_budget.into_iter().for_each(|budget| plan.harm_budget = budget);
            approve.into_iter().for_each(|approve| plan.approve = approve);
            let new = NewRollout { model, canary: version, baseline: None, plan, reason };
            print(running, &engine.post("/api/v1/rollouts", &new).await?)
        }
        RolloutCommand::List { model, open } => {
            let mut query = vec![("open", open.to_string())];
            query.extend(model.map(|model| ("model", model.to_string())));
            list(running, &engine.get("/api/v1/rollouts", &query).await?)
        }
        RolloutCommand::Show { id } => print(running, &look(&engine, &id).await?),
        RolloutCommand::Watch { id, every_s } => watch(running, &engine, &id, every_s).await,
        RolloutCommand::Pause { id, reason } => act(&id, "pause", json!({"reason": reason})).await,
        RolloutCommand::Resume { id } => act(&id, "resume", json!({})).await,
        RolloutCommand::Promote { id, reason } => {
            act(&id, "promote", json!({"reason": reason})).await
        }
        RolloutCommand::Approve { id } => act(&id, "approve", json!({})).await,
        RolloutCommand::Abort { id, reason } => act(&id, "abort", json!({"reason": reason})).await,
    }
}

async fn look(engine: &Engine, id: &PlanId) -> anyhow::Result<RolloutView> {
    Ok(engine.get(&format!("/api/v1/rollouts/{id}"), &[]).await?)
}

#[expect(clippy::print_stdout, reason = "what the command line asked for")]
async fn watch(
    running: &Running,
    engine: &Engine,
    id: &PlanId,
    every_s: u64,
) -> anyhow::Result<()> {
    let mut before = String::new();
    loop {
        let view = look(engine, id).await?;
        let now = if running.json { serde_json::to_string(&view)? } else { line(&view) };
        if now != before {
            println!("{now}");
            before = now;
        }
        if !view.rollout.state.is_open() {
            if view.rollout.state == domain::rollout::RolloutState::Promoted {
                return Ok(());
            }
            anyhow::bail!("{}", view.rollout.status);
        }
        tokio::time::sleep(Duration::from_secs(every_s.max(1))).await;
    }
}

/// A rollout in a line.
fn line(view: &RolloutView) -> String {
    format!(
        "{:>9} {}  {} canary requests, {} of the baseline  {}",
        state(view),
        table::percent(share(view)),
        view.canary_requests,
        view.baseline_requests,
        table::plain(&view.rollout.status),
    )
}

fn list(running: &Running, rollouts: &RolloutList) -> anyhow::Result<()> {
    let row = |view: &RolloutView| {
        json!({
            "id": view.rollout.id, "model": view.rollout.model,
            "versions": format!("{} -> {}", view.rollout.baseline, view.rollout.canary),
            "state": state(view), "share": table::percent(share(view)),
            "canary requests": view.canary_requests, "status": view.rollout.status,
        })
    };
    let first = ["id", "model", "versions", "state", "share", "canary requests"];
    running.print(rollouts, || {
        table::of(&first, &rollouts.rollouts.iter().map(row).collect::<Vec<_>>())
    })
}

fn print(running: &Running, view: &RolloutView) -> anyhow::Result<()> {
    running.print(view, || in_words(view))
}

fn in_words(view: &RolloutView) -> String {
    let rollout = &view.rollout;
    let head = format!(
        "{} of model {}: version {} in the place of version {}\n{} at {}, begun by {}: {}",
        rollout.id,
        rollout.model,
        rollout.canary,
        rollout.baseline,
        state(view),
        table::percent(share(view)),
        table::plain(&rollout.created_by),
        table::plain(&rollout.status)
    );
    let guardrails: Vec<_> = view.guardrails.iter().map(guardrail).collect();
    let first = ["guardrail", "canary", "baseline", "ratio from", "ratio to"];
    let guardrails = table::of(&first, &guardrails);
    let moves = rollout.moves.iter().map(|step| {
        json!({
            "at": table::moment(step.at), "share": table::percent(step.share), "generation": step.generation,
            "by": step.by, "why": step.reason,
        })
    });
    let moves = table::of(&["at", "share", "generation", "by"], &moves.collect::<Vec<_>>());
    format!("{head}\n\n{guardrails}\n\n{moves}")
}

fn guardrail(view: &GuardrailView) -> Value {
    let rate = |bad: u64, requests: u64| match requests {
        0 => "-".to_owned(),
        _ => format!("{bad} of {requests} ({})", table::percent(bad as f64 / requests as f64)),
    };
    let bound = |bound: Option<f64>| bound.map(|bound| format!("{bound:.2}"));
    json!({
        "guardrail": view.name,
        "canary": rate(view.canary_bad, view.canary_requests),
        "baseline": rate(view.baseline_bad, view.baseline_requests),
        "ratio from": bound(view.ratio_lower), "ratio to": bound(view.ratio_upper),
        "harm at next step": view.harm_at_next_step.map(table::percent),
    })
}

fn state(view: &RolloutView) -> String {
    let state = serde_json::to_value(view.rollout.state).unwrap_or_default();
    state.as_str().unwrap_or_default().replace('_', " ")
}

fn share(view: &RolloutView) -> f64 {
    view.rollout.moves.last().map_or(0.0, |last| last.share)
}
