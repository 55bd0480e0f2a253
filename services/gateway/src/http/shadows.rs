//! How shadow versions compare.

use actix_web::Responder;
use actix_web::web::{Data, Json, Path, Query};
use contracts::router::{ShadowQuery, ShadowReport};
use runtime::http::{Caller, Problem};
use serde::Deserialize;
use utoipa::IntoParams;

use super::registry::parse_target;
use crate::Gateway;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Window {
    /// How far back to look, seconds. Default: one day.
    #[serde(default = "one_day")]
    window_s: u64,
}

fn one_day() -> u64 {
    24 * 3600
}

/// How a shadow version compares with the versions that answered, request by request: agreement,
/// paired differences with always-valid intervals, the worst disagreements with their inputs.
#[utoipa::path(get, path = "/api/v1/models/{model}/shadows/{version}", tag = "routing", params(("model" = String, Path), ("version" = String, Path), Window), responses((status = 200, body = ShadowReport)))]
pub(super) async fn shadow_report(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    path: Path<(String, String)>,
    Query(window): Query<Window>,
) -> Result<impl Responder, Problem> {
    let target = parse_target(&path)?;
    let query =
        ShadowQuery { model: target.model, version: target.version, window_s: window.window_s };
    Ok(Json(gateway.deps.router.shadow_report(call, query).await?))
}
