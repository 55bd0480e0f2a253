//! What the command line does to a model's route: it asks a running engine, whose routers all follow.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use contracts::ApiError;
use contracts::router::{
    Asked, Explained, History, NewArm, NewRollback, NewRoute, NewSwitch, RolledBack,
};
use domain::route::{Arm, BUCKETS};
use domain::targeting::{Condition, Range};
use domain::{ModelName, Route, VersionId};
use serde_json::{Value, json};

use super::{Running, table};

/// `decision-engine route ...`
#[derive(Debug, Subcommand)]
pub enum RouteCommand {
    /// Which versions answer, which stand by, and which are blocked.
    Show {
        /// The model.
        model: ModelName,
    },
    /// Replace a route. What is left out is as without it: no rules, no shadows, no standby.
    Put {
        /// The model.
        model: ModelName,
        /// A version and its weight, `2=90`; again for more.
        #[arg(long = "arm", value_parser = weighted)]
        arms: Vec<NewArm>,
        /// A version of the standby set and its weight, `3=100`; again for more.
        #[arg(long = "standby", value_parser = weighted)]
        standby: Vec<NewArm>,
        /// A file with all of the route as JSON, as `PUT /api/v1/models/{model}/route` takes it, in
        /// the place of `--arm`.
        #[arg(long, conflicts_with_all = ["arms", "standby"])]
        file: Option<PathBuf>,
        /// Why; kept in the history.
        #[arg(long, default_value = "")]
        reason: String,
        /// Refuse if the route is not at this generation.
        #[arg(long)]
        generation: Option<u64>,
    },
    /// Which version a request would get, and why. Nothing is served.
    Explain {
        /// The model.
        model: ModelName,
        /// The request's unit.
        #[arg(long)]
        unit: Option<String>,
        /// A field of its context, `country=DE`; again for more. What reads as JSON is taken so.
        #[arg(long = "context", value_parser = field)]
        fields: Vec<(String, Value)>,
        /// A header, `x-plan=gold`; again for more.
        #[arg(long = "header", value_parser = header)]
        headers: Vec<(String, String)>,
        /// The version that it names.
        #[arg(long)]
        version: Option<VersionId>,
    },
    /// A model's routes over time, newest first.
    History {
        /// The model.
        model: ModelName,
        /// Only the one that served at this moment, such as `2030-01-31T12:00:00Z`.
        #[arg(long)]
        at: Option<String>,
        /// Only those before this generation.
        #[arg(long)]
        before: Option<u64>,
        /// Routes at most.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Have the standby set and the one that serves change places. Once more switches back.
    Switch {
        /// The model.
        model: ModelName,
        /// Why; kept in the history.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Let a blocked version be routed again.
    Clear {
        /// The model.
        model: ModelName,
        /// The version.
        version: VersionId,
        /// Why; kept in the history.
        #[arg(long)]
        reason: String,
    },
}

/// `decision-engine rollback ...`
#[derive(Debug, Args)]
pub struct RollbackCommand {
    /// The model.
    model: ModelName,
    /// The version that is to have everything; without it, the last stable one.
    #[arg(long)]
    to: Option<VersionId>,
    /// Why; kept in the history.
    #[arg(long)]
    reason: String,
}

/// Does what was asked of a route.
///
/// # Errors
/// What the engine refuses.
pub async fn route(running: &Running, command: RouteCommand) -> anyhow::Result<()> {
    let engine = running.engine()?;
    match command {
        RouteCommand::Show { model } => {
            show(running, &engine.get(&at(&model, "route"), &[]).await?)
        }
        RouteCommand::Put { model, arms, standby, file, reason, generation } => {
            let mut new = match file {
                Some(file) => read(&file)?,
                None if arms.is_empty() => bail!("say who is to answer: `--arm 2=90`, or `--file`"),
                None => NewRoute { arms, standby, ..NewRoute::default() },
            };
            if !reason.is_empty() {
                new.reason = reason;
            }
            new.generation = generation.or(new.generation);
            show(running, &engine.put(&at(&model, "route"), &new).await?)
        }
        RouteCommand::Explain { model, unit, fields, headers, version } => {
            let headers = headers.into_iter().collect();
            let context = fields.into_iter().collect();
            let asked = Asked { unit, context, headers, version, ..Asked::default() };
            explain(running, &engine.post(&at(&model, "route/explain"), &asked).await?)
        }
        RouteCommand::History { model, at: moment, before, limit } => {
            let mut query = vec![("limit", limit.to_string())];
            query.extend(moment.map(|moment| ("at", moment)));
            query.extend(before.map(|before| ("before", before.to_string())));
            history(running, &engine.get(&at(&model, "history"), &query).await?)
        }
        RouteCommand::Switch { model, reason } => {
            let asked = NewSwitch { reason, generation: None };
            show(running, &engine.post(&at(&model, "route/switch"), &asked).await?)
        }
        RouteCommand::Clear { model, version, reason } => {
            let path = at(&model, &format!("blocks/{version}"));
            show(running, &engine.delete_with(&path, &[("reason", reason)]).await?)
        }
    }
}

/// Rolls a model back.
///
/// # Errors
/// What the engine refuses. Also if a router did not confirm it, after the answer is printed, so that
/// a script does not take it for done.
pub async fn rollback(running: &Running, command: RollbackCommand) -> anyhow::Result<()> {
    let engine = running.engine()?;
    let RollbackCommand { model, to, reason } = command;
    let asked = NewRollback { to, reason };
    let done: RolledBack = engine.post(&at(&model, "rollback"), &asked).await.map_err(with_hint)?;
    let list =
        |items: Vec<String>| if items.is_empty() { "-".to_owned() } else { items.join(", ") };
    let rows = [
        ("version", done.version.to_string()),
        ("stable", if done.stable { "yes" } else { "no" }.to_owned()),
        ("blocked", list(done.blocked.iter().map(ToString::to_string).collect())),
        ("generation", done.generation.to_string()),
        ("in force at", list(done.acknowledged.clone())),
        ("unconfirmed", list(done.unconfirmed.clone())),
        ("stored", if done.stored { "yes" } else { "later" }.to_owned()),
        ("ended", list(done.ended.iter().map(ToString::to_string).collect())),
        ("took", format!("{:.1} ms", done.took_ms)),
        (
            "repeated",
            if done.repeated {
                "yes: another had just done it; `--to` goes further back"
            } else {
                "no"
            }
            .to_owned(),
        ),
    ];
    let rows: Vec<_> = rows.map(|(what, is)| json!({"a rollback": what, "is": is})).to_vec();
    running.print(&done, || table::of(&["a rollback"], &rows))?;
    if done.unconfirmed.is_empty() {
        return Ok(());
    }
    bail!("{} of the routers did not confirm it: they follow if they live", done.unconfirmed.len())
}

/// The API speaks of its own field where a person has an option.
fn with_hint(mut error: ApiError) -> ApiError {
    if error.message.contains("`to`") {
        error.message.push_str("\n  with this command: `--to <version>`");
    }
    error
}

fn at(model: &ModelName, what: &str) -> String {
    format!("/api/v1/models/{model}/{what}")
}

fn show(running: &Running, route: &Route) -> anyhow::Result<()> {
    running.print(route, || {
        let Route { model, generation, updated_by, updated_at, .. } = route;
        let (cause, updated_at) = (cause(route), table::moment(*updated_at));
        format!(
            "{model}: generation {generation}, {cause} by {updated_by} at {updated_at}\n{}",
            table::of(&["part", "versions"], &parts(route))
        )
    })
}

fn history(running: &Running, history: &History) -> anyhow::Result<()> {
    let rows: Vec<_> = history
        .routes
        .iter()
        .map(|served| {
            let route = &served.route;
            json!({
                "generation": route.generation,
                "from": table::moment(route.updated_at),
                "until": served.until.map_or_else(|| "now".to_owned(), table::moment),
                "arms": arms(&route.arms),
                "made": cause(route),
                "by": route.updated_by,
                "reason": route.reason,
            })
        })
        .collect();
    let first = ["generation", "from", "until", "arms", "made", "by"];
    running.print(history, || table::of(&first, &rows))
}

fn explain(running: &Running, explained: &Explained) -> anyhow::Result<()> {
    running.print(explained, || {
        format!("version {}\n{}", explained.version, explained.steps.join("\n"))
    })
}

/// The parts of a route, a row for each.
fn parts(route: &Route) -> Vec<Value> {
    let row = |part: &str, versions: String, note: String| json!({"part": part, "versions": versions, "note": note});
    let mut rows = vec![row("arms", arms(&route.arms), String::new())];
    for rule in &route.rules {
        let when: Vec<String> = rule.when.iter().map(condition).collect();
        let when = if when.is_empty() { "always".to_owned() } else { when.join(" and ") };
        rows.push(row("rule", arms(&rule.arms), format!("{}: {when}", rule.name)));
    }
    for trial in &route.trials {
        rows.push(row("experiment", arms(&trial.arms), trial.experiment.to_string()));
    }
    for shadow in &route.shadows {
        let note = format!("{} of the requests", table::percent(shadow.share));
        rows.push(row("shadow", shadow.version.to_string(), note));
    }
    if !route.standby.is_empty() {
        rows.push(row("standby", arms(&route.standby), String::new()));
    }
    if !route.fallback.is_none() {
        let versions: Vec<_> = route.fallback.versions.iter().map(ToString::to_string).collect();
        let last_good = route.fallback.last_good.then(|| "the last good answer".to_owned());
        let default = route.fallback.default.as_ref().map(|answer| format!("the answer {answer}"));
        let then: Vec<String> = last_good.into_iter().chain(default).collect();
        let note = then.iter().map(|then| format!("then {then}")).collect::<Vec<_>>().join(", ");
        rows.push(row("fallback", versions.join(", "), note));
    }
    if let Some(rollout) = &route.rollout {
        rows.push(row("rollout", String::new(), rollout.to_string()));
    }
    let mut blocked: Vec<_> = route.blocked.iter().collect();
    blocked.sort_by_key(|blocked| blocked.version);
    for blocked in blocked {
        let at = table::moment(blocked.at);
        let note = format!("{} (by {} at {at})", blocked.reason, blocked.by);
        rows.push(row("blocked", blocked.version.to_string(), note));
    }
    rows
}

/// A condition in a few words.
fn condition(condition: &Condition) -> String {
    let Condition { field, equals, one_of, range, prefix, exists, audience, not } = condition;
    let text = if let Some(audience) = audience {
        format!("in audience {audience}")
    } else if let Some(value) = equals {
        format!("{field} = {value}")
    } else if let Some(values) = one_of {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        format!("{field} in [{}]", values.join(", "))
    } else if let Some(Range { min, max }) = range {
        let min = min.map(|min| format!("{field} >= {min}"));
        let max = max.map(|max| format!("{field} < {max}"));
        min.into_iter().chain(max).collect::<Vec<_>>().join(" and ")
    } else if let Some(prefix) = prefix {
        format!("{field} begins with {prefix}")
    } else {
        format!("{field} is {}", if *exists == Some(false) { "absent" } else { "there" })
    };
    if *not { format!("not ({text})") } else { text }
}

/// Versions with their shares: `1: 90 %, 2: 10 %`.
pub(super) fn arms(arms: &[Arm]) -> String {
    let share = |arm: &Arm| table::percent(f64::from(arm.share_ppm) / f64::from(BUCKETS));
    let arms: Vec<_> = arms.iter().map(|arm| format!("{}: {}", arm.version, share(arm))).collect();
    arms.join(", ")
}

fn cause(route: &Route) -> String {
    let name = serde_json::to_value(route.cause).ok();
    name.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn read(file: &PathBuf) -> anyhow::Result<NewRoute> {
    let text = std::fs::read_to_string(file).with_context(|| format!("`{}`", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("`{}` is no route", file.display()))
}

fn weighted(text: &str) -> Result<NewArm, String> {
    let wrong = || format!("`{text}` must be a version and its weight, such as `2=90`");
    let (version, weight) = text.split_once('=').ok_or_else(wrong)?;
    let version = version.parse().map_err(|_cause| wrong())?;
    Ok(NewArm { version, weight: weight.parse().map_err(|_cause| wrong())? })
}

fn field(text: &str) -> Result<(String, Value), String> {
    let wrong = || format!("`{text}` must be a name and its value, such as `country=DE`");
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    let value = serde_json::from_str(value).unwrap_or_else(|_text| value.into());
    Ok((name.to_owned(), value))
}

fn header(text: &str) -> Result<(String, String), String> {
    let wrong = || format!("`{text}` must be a header and its value, such as `x-plan=gold`");
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_and_fields_are_read_and_what_is_neither_is_named() {
        let arm = weighted("2=90").unwrap();
        assert_eq!((arm.version.number(), arm.weight), (2, 90.0));
        for bad in ["2", "x=1", "2=", "=90", "2=much"] {
            assert!(weighted(bad).unwrap_err().contains(&format!("`{bad}`")), "{bad}");
        }
        assert_eq!(field("country=DE").unwrap(), ("country".to_owned(), json!("DE")));
        assert_eq!(field("age=12").unwrap(), ("age".to_owned(), json!(12)));
        assert_eq!(field("q=a=b").unwrap(), ("q".to_owned(), json!("a=b")));
        assert!(field("country").is_err());
        assert_eq!(header("x-v=007").unwrap(), ("x-v".to_owned(), "007".to_owned()));
        assert!(header("x-app-version").unwrap_err().contains("`x-plan=gold`"));
    }

    #[test]
    fn conditions_are_told_in_a_few_words() {
        let told = [
            (json!({"field": "unit", "equals": "a"}), "unit = \"a\""),
            (json!({"field": "role", "in": ["a", 1], "not": true}), "not (role in [\"a\", 1])"),
            (
                json!({"field": "context.age", "range": {"min": 1.0, "max": 2.5}}),
                "context.age >= 1 and context.age < 2.5",
            ),
            (json!({"field": "context.age", "exists": false}), "context.age is absent"),
            (json!({"field": "header.x-a", "prefix": "1."}), "header.x-a begins with 1."),
            (json!({"audience": "staff"}), "in audience staff"),
        ];
        for (value, text) in told {
            assert_eq!(condition(&serde_json::from_value(value).unwrap()), text);
        }
    }

    #[test]
    fn a_route_tells_all_of_its_fallback_and_blocked_versions_in_order() {
        let blocked = |version: &str| {
            json!({"version": version, "reason": "bad", "by": "anna",
            "at": "2026-01-02T00:00:00Z"})
        };
        let route = json!({
            "model": "iris", "generation": 3, "salt": "s", "arms": [], "segments": [], "cause": "put",
            "updated_by": "anna", "updated_at": "2026-01-02T00:00:00Z",
            "rules": [{"name": "staff", "when": [{"field": "role", "equals": "admin"}],
                "arms": [{"version": "2", "weight": 1.0, "share_ppm": 1_000_000}]}],
            "fallback": {"versions": ["1"], "last_good": true, "default": {"label": "no"}},
            "blocked": [blocked("10"), blocked("9")],
        });
        let rows = parts(&serde_json::from_value(route).unwrap());
        let notes: Vec<_> = rows.iter().map(|row| row["note"].as_str().unwrap()).collect();
        assert_eq!(notes[1], "staff: role = \"admin\"");
        assert_eq!(notes[2], "then the last good answer, then the answer {\"label\":\"no\"}");
        assert_eq!((&rows[3]["versions"], &rows[4]["versions"]), (&json!("9"), &json!("10")));
    }
}
