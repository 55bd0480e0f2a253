//! The audit trail.

use actix_web::web::{Bytes, Data, Json, Query};
use actix_web::{HttpResponse, Responder};
use contracts::auth::{AuditPage, AuditQuery, AuditVerdict};
use contracts::{ApiError, ErrorCode};
use domain::AuditFilter;
use runtime::http::{Caller, Problem};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::IntoParams;

use crate::Gateway;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Only entries after this place, oldest first.
    after: Option<u64>,
    /// Only entries before this place, newest first. Without `after` and `before`: the newest.
    before: Option<u64>,
    /// Only from this moment on (RFC 3339).
    from: Option<String>,
    /// Only before this moment (RFC 3339).
    to: Option<String>,
    /// Only by whoever has this name.
    actor: Option<String>,
    /// Only this action, or the group of this name: `route.put`, `user`.
    action: Option<String>,
    /// Only on this: `model:iris`, `user:anna`.
    target: Option<String>,
    /// Entries at most, 1 to 1000. Default: 100.
    limit: Option<u32>,
    /// `ndjson` for one entry a line, to keep elsewhere.
    format: Option<String>,
}

/// Who did what, and what was refused. Analysts see what was done to models.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(Filter), responses((status = 200, content((AuditPage = "application/json"), (String = "application/x-ndjson")))))]
pub(super) async fn audit(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    Query(filter): Query<Filter>,
) -> Result<HttpResponse, Problem> {
    let as_lines = match filter.format.as_deref() {
        None | Some("json") => false,
        Some("ndjson") => true,
        Some(other) => return Err(bad("format", other, "`json` or `ndjson`").into()),
    };
    if let (Some(after), Some(before)) = (filter.after, filter.before) {
        let both = format!("{after}&before={before}");
        return Err(bad("after", &both, "alone: `after` or `before`, not both").into());
    }
    let newest_before = match (filter.after, filter.before) {
        (None, None) => Some(u64::try_from(i64::MAX).unwrap_or(u64::MAX)),
        (_, before) => before,
    };
    let limit = filter.limit.unwrap_or(100);
    let filter = AuditFilter {
        after: filter.after.unwrap_or_default(),
        newest_before,
        from: moment("from", filter.from)?,
        to: moment("to", filter.to)?,
        actor: filter.actor,
        action: filter.action,
        target: filter.target,
    };
    let query = AuditQuery { filter, limit };
    let page = gateway.deps.auth.audit(call, query).await?;
    if as_lines { Ok(lines(&page)?) } else { Ok(HttpResponse::Ok().json(page)) }
}

/// Looks whether each entry is there and as it was written; names those that are not.
#[utoipa::path(get, path = "/api/v1/audit/verify", tag = "audit", responses((status = 200, body = AuditVerdict)))]
pub(super) async fn verify(
    gateway: Data<Gateway>,
    Caller(call): Caller,
) -> Result<impl Responder, Problem> {
    Ok(Json(gateway.deps.auth.verify_audit(call).await?))
}

fn lines(page: &AuditPage) -> Result<HttpResponse, ApiError> {
    let mut text = Vec::new();
    for entry in &page.entries {
        serde_json::to_writer(&mut text, entry).map_err(|_cause| ApiError::internal())?;
        text.push(b'\n');
    }
    Ok(HttpResponse::Ok().content_type("application/x-ndjson").body(Bytes::from(text)))
}

pub(super) fn moment(name: &str, text: Option<String>) -> Result<Option<OffsetDateTime>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    match OffsetDateTime::parse(&text, &Rfc3339) {
        Ok(moment) => Ok(Some(moment)),
        Err(_) => Err(bad(name, &text, "a moment like `2030-01-31T12:00:00Z`")),
    }
}

pub(super) fn bad(name: &str, value: &str, must_be: &str) -> ApiError {
    let what = format!("query: `{name}` must be {must_be}, got `{}`", value.escape_debug());
    ApiError::new(ErrorCode::Unprocessable, what)
}
