//! Why a request would get the version that it would get.

use actix_web::Responder;
use actix_web::web::{Data, Json, Path};
use contracts::router::{Asked, Explain, Explained};
use runtime::http::{Caller, Problem};

use super::registry::parse_model;
use crate::Gateway;

/// Which version a request would get, and why, step by step. Nothing is served, and nothing logged.
#[utoipa::path(post, path = "/api/v1/models/{model}/route/explain", tag = "routing", params(("model" = String, Path)), request_body = Asked, responses((status = 200, body = Explained)))]
pub(super) async fn explain(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    name: Path<String>,
    Json(asked): Json<Asked>,
) -> Result<impl Responder, Problem> {
    let request = Explain { model: parse_model(&name)?, asked };
    Ok(Json(gateway.deps.router.explain(call, request).await?))
}
