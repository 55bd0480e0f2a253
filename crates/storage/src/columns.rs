//! What every adapter makes of a record: the values it keeps beside it, and what it says where one
//! is missing or does not fit.

use domain::{
    Feedback, Model, ModelName, ModelPolicy, Outcome, PredictionRecord, Role, User, UserId,
    Version, VersionId,
};
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

/// The outcome by which feedback is known.
pub(crate) fn outcome(feedback: &Feedback) -> Result<Outcome, StoreError> {
    Ok(match &feedback.outcome {
        Outcome::Label(label) => Outcome::Label(label.clone()),
        Outcome::Value(value) => {
            json::finite("feedback", &feedback.prediction_id.to_string(), "value", *value)?;
            // Negative zero is zero: the two are one outcome.
            Outcome::Value(if *value == 0.0 { 0.0 } else { *value })
        }
    })
}

/// The text of a user's `created_at`.
pub(crate) fn created_at(user: &User) -> Result<String, StoreError> {
    user.created_at.format(&Rfc3339).map_err(|cause| StoreError::Invalid {
        what: "user",
        id: user.username.clone(),
        why: format!("`created_at`: {cause}"),
    })
}

/// A user from its row: name, id, role, password's hash, when it was made and by whom.
pub(crate) fn user(
    row: (String, String, String, String, String, String),
) -> Result<User, StoreError> {
    let (username, id, role, password_hash, created_at, created_by) = row;
    let corrupt = |cause| corrupt_user(&username, cause);
    let id: Uuid = id.parse().map_err(|cause: uuid::Error| corrupt(cause.into()))?;
    let created_at =
        OffsetDateTime::parse(&created_at, &Rfc3339).map_err(|cause| corrupt(cause.into()))?;
    let role =
        Role::parse(&role).ok_or_else(|| corrupt(format!("there is no role `{role}`").into()))?;
    Ok(User { id: UserId::from(id), role, password_hash, created_at, created_by, username })
}

pub(crate) fn corrupt_user(username: &str, source: Cause) -> StoreError {
    StoreError::Corrupt { what: "user", id: username.to_owned(), source }
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
