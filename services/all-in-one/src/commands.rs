//! What the command line does to users, API keys, the audit trail and routes: of a running engine through its
//! public API, or of its stores, where no engine runs.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use contracts::ApiError;
use contracts::auth::{NewApiKey, NewUser, UserPatch};
use domain::{Clock as _, ModelName, Role, Scope, SealedEntry};
use runtime::SystemClock;
use runtime::service::SettingsFile;
use serde::Serialize;
use serde_json::{Value, json};
use time::Duration;

mod door;
mod experiment;
mod rollout;
mod routes;
mod table;

pub use routes::{RollbackCommand, RouteCommand, rollback, route};

use door::{Door, Engine};

pub use experiment::{ExperimentCommand, experiment};
pub use rollout::{RolloutCommand, rollout};

/// A running engine, or without one the stores of the settings.
#[derive(Debug, Args)]
pub struct Place {
    #[command(flatten)]
    running: Running,
    #[command(flatten)]
    file: SettingsFile,
}

/// A running engine, and how its answer is printed.
#[derive(Debug, Args)]
pub struct Running {
    /// A running engine, such as `http://127.0.0.1:8000`.
    #[arg(long, env = "ENGINE_URL", global = true)]
    url: Option<String>,
    /// A token or API key for that engine, of whoever may do it.
    #[arg(long, env = "ENGINE_TOKEN", hide_env_values = true, global = true)]
    token: Option<String>,
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
}

/// `decision-engine user ...`
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// All users.
    List,
    /// Make a user. The password comes from a file, or is generated and printed.
    Create {
        /// The user name.
        name: String,
        /// admin, engineer, analyst or client.
        #[arg(long, value_parser = role)]
        role: Role,
        /// The models it may use, separated by commas; without it, all.
        #[arg(long, value_delimiter = ',')]
        models: Vec<ModelName>,
        /// A file with the password, or `-` for standard input.
        #[arg(long)]
        password_file: Option<PathBuf>,
    },
    /// Change a user's role.
    Role {
        /// The user name.
        name: String,
        /// admin, engineer, analyst or client.
        #[arg(value_parser = role)]
        role: Role,
    },
    /// Keep a user out: what was got by signing in is refused within a second.
    Disable {
        /// The user name.
        name: String,
    },
    /// Let a user in again.
    Enable {
        /// The user name.
        name: String,
    },
    /// Give a user another password.
    Password {
        /// The user name.
        name: String,
        /// A file with the password, or `-` for standard input; without it, one is generated.
        #[arg(long)]
        password_file: Option<PathBuf>,
    },
}

/// `decision-engine key ...`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// All API keys.
    List,
    /// Make an API key and show it, once.
    Create {
        /// Which program has it.
        name: String,
        /// admin, engineer, analyst or client.
        #[arg(long, value_parser = role)]
        role: Role,
        /// The models it may use, separated by commas; without it, all.
        #[arg(long, value_delimiter = ',')]
        models: Vec<ModelName>,
        /// A route it may use, such as `POST /api/v1/feedback`; again for more; without it, all.
        #[arg(long = "route")]
        routes: Vec<String>,
        /// When it ceases to be good; without it, never.
        #[arg(long)]
        expires_in_days: Option<u16>,
    },
    /// Make a key in the place of another, which is good for a while yet.
    Rotate {
        /// The id, `key_...`.
        id: String,
        /// How long the old one is good for yet, seconds.
        #[arg(long)]
        overlap_s: Option<u64>,
    },
    /// End a key: it is refused within a second.
    Revoke {
        /// The id, `key_...`.
        id: String,
    },
}

/// `decision-engine audit ...`
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// The newest entries.
    List {
        /// Only by whoever has this name.
        #[arg(long)]
        actor: Option<String>,
        /// Only this action, or the group of this name: `route.put`, `user`.
        #[arg(long)]
        action: Option<String>,
        /// Only on this: `model:iris`, `user:anna`.
        #[arg(long)]
        target: Option<String>,
        /// Entries at most.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Look whether each entry is there and as it was written. Fails if one is not.
    Verify,
    /// Print all entries, one JSON object a line, oldest first.
    Export {
        /// Only those after this place.
        #[arg(long, default_value_t = 0)]
        after: u64,
    },
}

/// Does what was asked of users.
///
/// # Errors
/// What the engine or its stores refuse.
pub async fn user(place: &Place, command: UserCommand) -> anyhow::Result<()> {
    let door = place.open().await?;
    let change = |name: String, change: UserPatch| door.change_user(name, change);
    let view = match command {
        UserCommand::List => return place.running.show(&door.users().await?, "users"),
        UserCommand::Create { name, role, models, password_file } => {
            let password = password(password_file, &name)?;
            let scope = Scope { models: models.into_iter().collect(), ..Scope::default() };
            door.create_user(NewUser { username: name, password, role, scope }).await?
        }
        UserCommand::Role { name, role } => {
            change(name, UserPatch { role: Some(role), ..UserPatch::default() }).await?
        }
        UserCommand::Disable { name } => {
            change(name, UserPatch { disabled: Some(true), ..UserPatch::default() }).await?
        }
        UserCommand::Enable { name } => {
            change(name, UserPatch { disabled: Some(false), ..UserPatch::default() }).await?
        }
        UserCommand::Password { name, password_file } => {
            let password = Some(password(password_file, &name)?);
            change(name, UserPatch { password, ..UserPatch::default() }).await?
        }
    };
    place.running.show(&view, "")
}

/// Does what was asked of API keys.
///
/// # Errors
/// What the engine or its stores refuse.
pub async fn key(place: &Place, command: KeyCommand) -> anyhow::Result<()> {
    let door = place.open().await?;
    match command {
        KeyCommand::List => place.running.show(&door.api_keys().await?, "api_keys"),
        KeyCommand::Create { name, role, models, routes, expires_in_days } => {
            let scope = Scope {
                models: models.into_iter().collect(),
                routes: routes.into_iter().collect(),
            };
            let days = expires_in_days.map(|days| Duration::days(days.into()));
            let expires_at = days.map(|days| SystemClock.now() + days);
            let new = NewApiKey { name, role, scope, expires_at };
            place.running.show(&door.create_api_key(new).await?, "")
        }
        KeyCommand::Rotate { id, overlap_s } => {
            place.running.show(&door.rotate_api_key(id, overlap_s).await?, "")
        }
        KeyCommand::Revoke { id } => place.running.show(&door.revoke_api_key(id).await?, ""),
    }
}

/// Does what was asked of the audit trail.
///
/// # Errors
/// What the engine or its stores refuse; also if the trail is not whole.
#[expect(clippy::print_stdout, reason = "what the command line asked for")]
pub async fn audit(place: &Place, command: AuditCommand) -> anyhow::Result<()> {
    let door = place.open().await?;
    match command {
        AuditCommand::List { actor, action, target, limit } => {
            let page = door.audit(None, limit, actor, action, target).await?;
            place.running.print(&page, || {
                table::of(&AUDIT, &page.entries.iter().map(entry).collect::<Vec<_>>())
            })
        }
        AuditCommand::Verify => {
            let verdict = door.verify_audit().await?;
            place.running.show(&verdict, "")?;
            if verdict.whole {
                return Ok(());
            }
            bail!("the audit trail is not whole: {} faults", verdict.faults.len())
        }
        AuditCommand::Export { after } => {
            let mut after = Some(after);
            while let Some(place) = after {
                let page = door.audit(Some(place), 1000, None, None, None).await?;
                for entry in &page.entries {
                    println!("{}", serde_json::to_string(entry)?);
                }
                after = page.next;
            }
            Ok(())
        }
    }
}

impl Place {
    async fn open(&self) -> anyhow::Result<Door> {
        match (&self.running.url, &self.running.token) {
            (Some(url), Some(token)) => Door::engine(url, token),
            (Some(_), None) => {
                bail!("a running engine asks who you are: give `--token`, or set ENGINE_TOKEN")
            }
            (None, _) => Door::stores(&self.file).await,
        }
    }
}

impl Running {
    /// The running engine, for what has to reach its routers.
    fn engine(&self) -> anyhow::Result<Engine> {
        match (&self.url, &self.token) {
            (Some(url), Some(token)) => Ok(Engine::new(url, token, door::PATIENCE)?),
            _ => bail!(
                "this asks a running engine: give `--url` and `--token`, or set ENGINE_URL and ENGINE_TOKEN"
            ),
        }
    }

    /// Prints the answer: as JSON, or its rows as a table.
    fn show(&self, answer: &impl Serialize, rows: &str) -> anyhow::Result<()> {
        let answer = serde_json::to_value(answer)?;
        let rows = match answer.get(rows) {
            Some(Value::Array(rows)) => rows.clone(),
            _ => vec![answer.clone()],
        };
        self.print(&answer, || table::of(&FIRST, &rows))
    }

    /// Prints the answer: as JSON, or as a text for people.
    #[expect(clippy::print_stdout, reason = "what the command line asked for")]
    fn print(&self, answer: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(answer)?);
        } else {
            println!("{}", text());
        }
        Ok(())
    }
}

/// Columns of users and keys that come first.
const FIRST: [&str; 4] = ["username", "name", "role", "id"];

/// Columns of the trail.
const AUDIT: [&str; 9] =
    ["number", "at", "by", "action", "target", "outcome", "reason", "times", "client"];

/// An entry of the trail in a line: what was there before and after has no room in a table.
fn entry(sealed: &SealedEntry) -> Value {
    let entry = &sealed.entry;
    json!({
        "number": sealed.seq, "at": table::moment(entry.at),
        "by": entry.actor.as_ref().map(|actor| &actor.name), "action": entry.action,
        "target": entry.target, "outcome": entry.outcome, "reason": entry.reason,
        "times": entry.count, "client": entry.client, "request": entry.request_id,
    })
}

/// The failure of a command with all the faults that the engine named, one a line: its message tells only the first.
pub fn in_full(error: anyhow::Error) -> anyhow::Error {
    let Some(ApiError { message, errors, .. }) = error.downcast_ref() else { return error };
    let faults: Vec<String> = errors
        .iter()
        .map(|fault| {
            format!("\n  `{}` {}", table::plain(&fault.pointer), table::plain(&fault.detail))
        })
        .collect();
    match faults.len() {
        0 | 1 => error,
        count if *message == ApiError::fields(errors.clone()).message => {
            anyhow::anyhow!("{count} values are at fault:{}", faults.concat())
        }
        _ => anyhow::anyhow!("{}{}", table::plain(message), faults.concat()),
    }
}

/// The password in a file; without one, a generated one, which is printed.
#[expect(clippy::print_stdout, reason = "shown the one time it is known")]
fn password(file: Option<PathBuf>, name: &str) -> anyhow::Result<String> {
    let text = match file {
        None => {
            let password = auth::random_password()?;
            println!("password of `{name}`, shown only now: {password}");
            return Ok(password);
        }
        Some(file) if file.as_os_str() == "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("standard input")?;
            text
        }
        Some(file) => {
            std::fs::read_to_string(&file).with_context(|| format!("`{}`", file.display()))?
        }
    };
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn role(name: &str) -> Result<Role, String> {
    let role = Role::parse(name).filter(|role| *role != Role::Service);
    role.ok_or_else(|| format!("`{name}` is no role: admin, engineer, analyst or client"))
}

#[cfg(test)]
mod tests {
    use contracts::{ErrorCode, FieldError};

    use super::*;

    fn fault(pointer: &str) -> FieldError {
        FieldError { pointer: pointer.to_owned(), detail: "must be\u{1b} a number".to_owned() }
    }

    #[test]
    fn all_faults_are_told_each_on_a_line() {
        let two = vec![fault("#/a"), fault("#/b")];
        let told = |error: ApiError| in_full(error.into()).to_string();
        assert_eq!(
            told(ApiError::fields(two.clone())),
            "2 values are at fault:\n  `#/a` must be a number\n  `#/b` must be a number"
        );
        let named = ApiError { errors: two, ..ApiError::new(ErrorCode::Conflict, "taken") };
        assert!(told(named).starts_with("taken\n  `#/a` must"));
        assert_eq!(told(ApiError::new(ErrorCode::Conflict, "taken")), "taken");
        let one = told(ApiError::at("#/a", "is wrong"));
        assert_eq!(one, "`#/a` is wrong");
    }
}
