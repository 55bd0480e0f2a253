//! What every adapter makes of a record: the values it keeps beside it, and what it says where one
//! is missing or does not fit.

use std::collections::{BTreeMap, HashMap};

use domain::counts::CountBatch;
use domain::prediction::Exposure;
use domain::{
    AuditRow, Credential, Feedback, InvalidId, Model, ModelName, ModelPolicy, Outcome, Plan,
    PredictionId, PredictionRecord, Revocation, Role, Scope, Subject, Tally, User, UserId, Version,
    VersionId,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::error::Cause;
use crate::{StoreError, json};

/// Nanoseconds since 1970. Moments outside of the years 1677 to 2262 count as the nearest within.
pub(crate) fn nanoseconds(moment: OffsetDateTime) -> i64 {
    let exact = moment.unix_timestamp_nanos();
    i64::try_from(exact).unwrap_or(if exact < 0 { i64::MIN } else { i64::MAX })
}

/// A prediction's id and its text. `Invalid` if a number of it is none.
pub(crate) fn prediction(record: &PredictionRecord) -> Result<(String, String), StoreError> {
    let id = record.prediction_id.to_string();
    json::finite("prediction", &id, "propensity", record.decision.propensity)?;
    json::finite("prediction", &id, "confidence", record.confidence.unwrap_or_default())?;
    json::finite("prediction", &id, "value", record.value.unwrap_or_default())?;
    let text = json::write("prediction", &id, record)?;
    Ok((id, text))
}

/// The plan that a prediction was part of, and what analyses read of it.
pub(crate) fn exposure(record: &PredictionRecord) -> Result<Option<(&str, String)>, StoreError> {
    let Some(plan) = &record.decision.plan else { return Ok(None) };
    let exposure = Exposure::from(record);
    let text = json::write("prediction", &record.prediction_id.to_string(), &exposure)?;
    Ok(Some((plan.as_str(), text)))
}

/// What is kept of feedback.
pub(crate) struct StoredFeedback<'a> {
    /// The prediction's id, or the model and the unit.
    pub(crate) id: String,
    /// What makes two of a subject and a source one: what happened and, where it is said, when.
    pub(crate) outcome: String,
    pub(crate) kind: &'a str,
    pub(crate) source: &'a str,
    pub(crate) received_at_ns: i64,
    pub(crate) record: String,
}

impl<'a> StoredFeedback<'a> {
    /// `Invalid` if its number is none.
    pub(crate) fn of(feedback: &'a Feedback) -> Result<Self, StoreError> {
        #[derive(Serialize)]
        struct Known {
            #[serde(flatten)]
            outcome: Outcome,
            #[serde(skip_serializing_if = "Option::is_none")]
            at_ns: Option<i64>,
        }
        let id = match &feedback.subject {
            Subject::Prediction { prediction_id } => prediction_id.to_string(),
            Subject::Unit { model, unit } => format!("{model}/{unit}"),
        };
        json::finite("feedback", &id, "value", feedback.outcome.number().unwrap_or_default())?;
        let mut outcome = feedback.outcome.clone();
        if let Outcome::Value(value) | Outcome::Metric { value, .. } = &mut outcome {
            // Negative zero is zero: the two are one outcome.
            *value += 0.0;
        }
        let known = Known { outcome, at_ns: feedback.occurred_at.map(nanoseconds) };
        Ok(Self {
            outcome: json::write("feedback", &id, &known)?,
            kind: feedback.outcome.kind(),
            source: &feedback.source,
            received_at_ns: nanoseconds(feedback.received_at),
            record: json::write("feedback", &id, feedback)?,
            id,
        })
    }
}

/// Prediction ids from their texts.
pub(crate) fn prediction_id(text: &str) -> Result<PredictionId, StoreError> {
    text.parse().map_err(|cause: InvalidId| StoreError::Corrupt {
        what: "prediction",
        id: text.to_owned(),
        source: cause.into(),
    })
}

/// Which predictions are in the log, from their rows: id, model.
pub(crate) fn known_predictions(
    rows: Vec<(String, String)>,
) -> Result<HashMap<PredictionId, ModelName>, StoreError> {
    let known = |(id, model): (String, String)| {
        let model = model.parse().map_err(|cause: InvalidId| StoreError::Corrupt {
            what: "prediction",
            id: id.clone(),
            source: cause.into(),
        })?;
        Ok((prediction_id(&id)?, model))
    };
    rows.into_iter().map(known).collect()
}

/// The ids of each model, as texts.
pub(crate) fn by_model(
    known: &HashMap<PredictionId, ModelName>,
) -> BTreeMap<&ModelName, Vec<String>> {
    let mut models: BTreeMap<&ModelName, Vec<String>> = BTreeMap::new();
    for (id, model) in known {
        models.entry(model).or_default().push(id.to_string());
    }
    models
}

/// What a tally is made of: kind, for known predictions, for pending ones, for units.
pub(crate) type Counted = (String, i64, i64, i64);

/// One tally a kind, in order.
pub(crate) fn tallies(counted: impl IntoIterator<Item = Counted>) -> Vec<Tally> {
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for (kind, matched, pending, of_units) in counted {
        let tally =
            tallies.entry(kind.clone()).or_insert_with(|| Tally { kind, ..Tally::default() });
        tally.matched += matched.unsigned_abs();
        tally.pending += pending.unsigned_abs();
        tally.of_units += of_units.unsigned_abs();
    }
    tallies.into_values().collect()
}

/// A user's row: name, id, role, password's hash, when it was made and by whom; then revision,
/// whether it is disabled, since when tokens are good, and the rest as JSON.
pub(crate) type UserRow = (String, String, String, String, String, String, i64, bool, i64, String);

/// The columns of [`UserRow`].
macro_rules! user_columns {
    () => {
        "username, id, role, password_hash, created_at, created_by, revision, disabled, \
         tokens_from, more"
    };
}
pub(crate) use user_columns;

/// What of a user is kept as JSON.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct More {
    scope: Scope,
    identity: Option<String>,
}

/// The texts of a user's `created_at` and of the rest.
pub(crate) fn texts_of(user: &User) -> Result<(String, String), StoreError> {
    let created_at = user.created_at.format(&Rfc3339).map_err(|cause| StoreError::Invalid {
        what: "user",
        id: user.username.clone(),
        why: format!("`created_at`: {cause}"),
    })?;
    let more = More { scope: user.scope.clone(), identity: user.identity.clone() };
    Ok((created_at, json::write("user", &user.username, &more)?))
}

/// A user from its row.
pub(crate) fn user(row: UserRow) -> Result<User, StoreError> {
    let (username, id, role, password_hash, created_at, created_by, ..) = row;
    let (.., revision, disabled, tokens_from, more) = row;
    let corrupt = |cause| corrupt_user(&username, cause);
    let id: Uuid = id.parse().map_err(|cause: uuid::Error| corrupt(cause.into()))?;
    let created_at =
        OffsetDateTime::parse(&created_at, &Rfc3339).map_err(|cause| corrupt(cause.into()))?;
    let role =
        Role::parse(&role).ok_or_else(|| corrupt(format!("there is no role `{role}`").into()))?;
    let More { scope, identity } = json::read("user", &username, &more)?;
    Ok(User {
        id: UserId::from(id),
        role,
        password_hash,
        created_at,
        created_by,
        scope,
        disabled,
        tokens_from: moment(tokens_from),
        identity,
        revision: revision_of(revision),
        username,
    })
}

pub(crate) fn revision_of(stored: i64) -> u32 {
    u32::try_from(stored).unwrap_or(u32::MAX)
}

/// The moment so many nanoseconds after 1970.
pub(crate) fn moment(nanoseconds: i64) -> OffsetDateTime {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds.into());
    moment.unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// A change that came second.
pub(crate) fn changed_meanwhile(what: &'static str, id: &str) -> StoreError {
    let why = "was changed meanwhile: read it and try again".to_owned();
    StoreError::Conflict { what, id: id.to_owned(), why }
}

/// A change that would lock everybody out.
pub(crate) fn last_admin(username: &str) -> StoreError {
    let why = "is the last admin who can sign in: make another one first".to_owned();
    StoreError::Conflict { what: "user", id: username.to_owned(), why }
}

pub(crate) fn corrupt_user(username: &str, source: Cause) -> StoreError {
    StoreError::Corrupt { what: "user", id: username.to_owned(), source }
}

/// What is kept of a credential beside its id.
pub(crate) struct Stored {
    pub(crate) kind: &'static str,
    pub(crate) revision: i64,
    pub(crate) ended_at: Option<i64>,
    pub(crate) expires_at: Option<i64>,
    pub(crate) record: String,
}

impl Stored {
    pub(crate) fn of(credential: &Credential) -> Result<Self, StoreError> {
        Ok(Self {
            kind: credential.kind().as_str(),
            revision: credential.revision().into(),
            ended_at: credential.ended_at().map(nanoseconds),
            expires_at: credential.forgotten_at().map(nanoseconds),
            record: json::write("credential", credential.id(), credential)?,
        })
    }
}

/// What is kept of a plan.
pub(crate) struct StoredPlan<'a> {
    pub(crate) id: &'a str,
    pub(crate) kind: &'static str,
    pub(crate) name: &'a str,
    pub(crate) model: Option<&'a str>,
    pub(crate) open: bool,
    pub(crate) revision: i64,
    pub(crate) record: String,
}

impl<'a> StoredPlan<'a> {
    pub(crate) fn of(plan: &'a Plan) -> Result<Self, StoreError> {
        Ok(Self {
            id: plan.id().as_str(),
            kind: plan.kind().as_str(),
            name: plan.unique(),
            model: plan.model().map(ModelName::as_str),
            open: plan.is_open(),
            revision: plan.revision().into(),
            record: json::write("plan", plan.id().as_str(), plan)?,
        })
    }

    /// Whether another plan has the name.
    pub(crate) fn name_is_taken(&self, holder: Option<String>) -> bool {
        holder.is_some_and(|holder| holder != self.id)
    }

    pub(crate) fn taken(&self) -> StoreError {
        taken(self.kind, self.name)
    }

    pub(crate) fn changed_meanwhile(&self) -> StoreError {
        changed_meanwhile(self.kind, self.id)
    }
}

/// Counts from their rows: id, record.
pub(crate) fn count_batches(rows: &[(String, String)]) -> Result<Vec<CountBatch>, StoreError> {
    rows.iter().map(|(id, record)| json::read("counts", id, record)).collect()
}

/// What ended, from its rows.
pub(crate) fn revocations(rows: Vec<(String, i64)>) -> Vec<Revocation> {
    rows.into_iter().map(|(id, at)| Revocation { id, at: moment(at) }).collect()
}

/// A row of the audit trail: place, moment, actor, action, target, record, seal.
pub(crate) type StoredAudit = (i64, i64, String, String, String, String, String);

/// The rows of the audit trail.
pub(crate) fn audit_rows(rows: Vec<StoredAudit>) -> Vec<AuditRow> {
    let row = |(seq, at, actor, action, target, record, seal): StoredAudit| AuditRow {
        seq: seq.unsigned_abs(),
        at: moment(at),
        actor,
        action,
        target,
        record,
        seal,
    };
    rows.into_iter().map(row).collect()
}

/// A row that does not follow the last one.
pub(crate) fn not_next(seq: u64) -> StoreError {
    changed_meanwhile("audit entry", &seq.to_string())
}

/// A model's record with an alias set to a version, which must be there, or removed.
pub(crate) fn with_alias(
    name: &ModelName,
    record: &str,
    alias: &str,
    version: Option<VersionId>,
) -> Result<String, StoreError> {
    let mut model: Model = json::read("model", name.as_str(), record)?;
    match version {
        Some(version) => model.aliases.insert(alias.to_owned(), version),
        None => model.aliases.remove(alias),
    };
    json::write("model", name.as_str(), &model)
}

/// A model's record with a policy in the place of the one it has, and that policy with its revision.
pub(crate) fn with_policy(
    name: &ModelName,
    record: &str,
    mut policy: ModelPolicy,
) -> Result<(String, ModelPolicy), StoreError> {
    let mut model: Model = json::read("model", name.as_str(), record)?;
    let current = model.policy.map_or(0, |policy| policy.revision);
    if policy.revision != 0 && policy.revision != current {
        return Err(StoreError::Conflict {
            what: "policy of model",
            id: name.to_string(),
            why: format!("is at revision {current}, not {}: read it again", policy.revision),
        });
    }
    policy.revision = current + 1;
    model.policy = Some(policy.clone());
    Ok((json::write("model", name.as_str(), &model)?, policy))
}

/// Versions from their rows: model, number, whether enabled (which wins over the record), record.
pub(crate) fn versions(rows: Vec<(String, i64, bool, String)>) -> Result<Vec<Version>, StoreError> {
    let version = |(model, number, enabled, record): (String, i64, bool, String)| {
        let version: Version = json::read("version", &format!("{model}/{number}"), &record)?;
        Ok(Version { enabled, ..version })
    };
    rows.into_iter().map(version).collect()
}

pub(crate) fn version_id(model: &ModelName, number: i64) -> Result<VersionId, StoreError> {
    u32::try_from(number).ok().and_then(VersionId::new).ok_or_else(|| StoreError::Invalid {
        what: "version",
        id: format!("{model}/{number}"),
        why: "version numbers end at 4294967295".to_owned(),
    })
}

pub(crate) fn id_of(model: &ModelName, version: VersionId) -> String {
    format!("{model}/{version}")
}

pub(crate) fn taken(what: &'static str, id: &str) -> StoreError {
    StoreError::Conflict { what, id: id.to_owned(), why: "exists already".to_owned() }
}

pub(crate) fn no_model(name: &ModelName) -> StoreError {
    StoreError::NotFound { what: "model", id: name.to_string() }
}

pub(crate) fn no_version(name: &ModelName, version: VersionId) -> StoreError {
    StoreError::NotFound { what: "version", id: id_of(name, version) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_out_of_range_keep_their_order() {
        let least = time::macros::datetime!(0001-01-01 0:00 UTC);
        let greatest = time::macros::datetime!(9999-12-31 0:00 UTC);
        assert_eq!(nanoseconds(least), i64::MIN);
        assert_eq!(nanoseconds(OffsetDateTime::UNIX_EPOCH), 0);
        assert_eq!(nanoseconds(greatest), i64::MAX);
    }
}
