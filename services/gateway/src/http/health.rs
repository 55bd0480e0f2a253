//! Whether the engine lives, and whether it can answer. No token needed.

use std::time::Duration;

use actix_web::web::{Data, Query};
use actix_web::{HttpResponse, Responder};
use contracts::router::{Readiness, ServingState};
use contracts::{ApiError, Deadline};
use runtime::http::Caller;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Gateway;

/// A probe should not wait for a request's whole time.
const LIMIT: Duration = Duration::from_secs(3);

/// What `/readyz` tells.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    /// `ready`, `degraded` or `not ready`.
    status: &'static str,
    /// Each check with its result.
    checks: std::collections::BTreeMap<String, String>,
}

/// What `/health` tells.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `healthy`, or `unavailable` with status 503.
    #[schema(example = "healthy")]
    status: &'static str,
    /// Whether a model is loaded and every routed one can answer.
    model_loaded: bool,
}

#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct Verbose {
    /// Present: plain text, a line per check.
    verbose: Option<String>,
}

/// Whether the process lives. Looks at nothing else. (`/healthz` is the same.)
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn livez() -> impl Responder {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok")
}

/// Alias of `/livez`.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = String, content_type = "text/plain")))]
#[expect(dead_code, reason = "only for the document: the route answers with `livez`")]
fn healthz() {}

/// Whether predictions can be answered now. Stores that they do not need show as `degraded`.
#[utoipa::path(get, path = "/readyz", tag = "health", params(Verbose), responses((status = 200, content((Ready = "application/json"), (String = "text/plain"))), (status = 503, content((Ready = "application/json"), (String = "text/plain")))))]
pub(super) async fn readyz(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    Query(query): Query<Verbose>,
) -> impl Responder {
    let (readiness, limits) = tokio::join!(readiness(&gateway, call), gateway.limiter.check());
    let (status, mut checks) = match readiness {
        Ok(Readiness { ready: true, degraded: false, checks, .. }) => ("ready", checks),
        Ok(Readiness { ready: true, checks, .. }) => ("degraded", checks),
        Ok(Readiness { checks, .. }) => ("not ready", checks),
        Err(error) => ("not ready", [("router".to_owned(), error.message)].into()),
    };
    let status = if status == "ready" && !limits { "degraded" } else { status };
    let said = if limits {
        "ok"
    } else {
        "the cache store does not answer: each gateway counts for itself"
    };
    checks.insert("limits".to_owned(), said.to_owned());
    let mut response =
        if status == "not ready" { HttpResponse::ServiceUnavailable() } else { HttpResponse::Ok() };
    if query.verbose.is_none() {
        return response.json(Ready { status, checks });
    }
    let line = |(name, result): (&String, &String)| match result.as_str() {
        "ok" => format!("[+]{name} ok\n"),
        wrong => format!("[-]{name} failed: {wrong}\n"),
    };
    let lines: String = checks.iter().map(line).collect();
    response.content_type("text/plain; charset=utf-8").body(format!("{lines}{status}\n"))
}

/// As many systems expect it: 200 and `healthy` only while a model can answer.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, body = Health), (status = 503, body = Health)))]
pub(super) async fn health(gateway: Data<Gateway>, Caller(call): Caller) -> impl Responder {
    let model_loaded = readiness(&gateway, call).await.is_ok_and(|readiness| {
        readiness.ready && readiness.versions.iter().any(|one| one.state == ServingState::Ready)
    });
    if model_loaded {
        HttpResponse::Ok().json(Health { status: "healthy", model_loaded })
    } else {
        HttpResponse::ServiceUnavailable().json(Health { status: "unavailable", model_loaded })
    }
}

/// Metrics in the Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn metrics() -> impl Responder {
    runtime::http::prometheus_text()
}

/// What the router says of itself, within a probe's time.
pub(super) async fn readiness(
    gateway: &Gateway,
    mut call: contracts::Call,
) -> Result<Readiness, ApiError> {
    call.deadline = Deadline::after(LIMIT.min(call.deadline.left()));
    gateway.deps.router.readiness(call).await
}
