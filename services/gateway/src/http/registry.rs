//! Models, versions, aliases and routes.

use actix_web::web::{Data, Json, Path};
use actix_web::{HttpResponse, Responder};
use contracts::inference::Target;
use contracts::router::{
    ModelDetail, ModelList, NewModel, NewRoute, PutPolicy, PutRoute, SetAlias,
};
use contracts::{ApiError, ErrorCode};
use domain::{Model, ModelName, ModelPolicy, Route, Version, VersionId};
use runtime::http::{Caller, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Gateway, card};

/// A model's versions.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VersionList {
    /// Oldest first.
    versions: Vec<Version>,
}

/// The version an alias is to name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAlias {
    /// The version.
    version: VersionId,
}

/// All models.
#[utoipa::path(get, path = "/api/v1/models", tag = "registry", responses((status = 200, body = ModelList)))]
pub(super) async fn models(
    gateway: Data<Gateway>,
    Caller(call): Caller,
) -> Result<impl Responder, Problem> {
    Ok(Json(gateway.deps.router.models(call).await?))
}

/// Registers a model: a name to put versions under. 409 if the name is taken.
#[utoipa::path(post, path = "/api/v1/models", tag = "registry", request_body = NewModel, responses((status = 201, body = Model)))]
pub(super) async fn create_model(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    Json(request): Json<NewModel>,
) -> Result<impl Responder, Problem> {
    Ok(HttpResponse::Created().json(gateway.deps.router.create_model(call, request).await?))
}

/// One model with its versions and its route.
#[utoipa::path(get, path = "/api/v1/models/{model}", tag = "registry", params(("model" = String, Path)), responses((status = 200, body = ModelDetail)))]
pub(super) async fn model(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    name: Path<String>,
) -> Result<impl Responder, Problem> {
    Ok(Json(gateway.deps.router.model(call, parse_model(&name)?).await?))
}

/// A model's versions.
#[utoipa::path(get, path = "/api/v1/models/{model}/versions", tag = "registry", params(("model" = String, Path)), responses((status = 200, body = VersionList)))]
pub(super) async fn versions(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    name: Path<String>,
) -> Result<impl Responder, Problem> {
    let detail = gateway.deps.router.model(call, parse_model(&name)?).await?;
    told_of_versions(&detail)?;
    Ok(Json(VersionList { versions: detail.versions }))
}

/// One version: manifest, files, who registered it and when.
#[utoipa::path(get, path = "/api/v1/models/{model}/versions/{version}", tag = "registry", params(("model" = String, Path), ("version" = String, Path)), responses((status = 200, body = Version)))]
pub(super) async fn version(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    path: Path<(String, String)>,
) -> Result<impl Responder, Problem> {
    Ok(Json(gateway.deps.router.version(call, parse_target(&path)?).await?))
}

/// The version's model card as Markdown.
#[utoipa::path(get, path = "/api/v1/models/{model}/versions/{version}/card", tag = "registry", params(("model" = String, Path), ("version" = String, Path)), responses((status = 200, body = String, content_type = "text/markdown")))]
pub(super) async fn card(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    path: Path<(String, String)>,
) -> Result<impl Responder, Problem> {
    let version = gateway.deps.router.version(call, parse_target(&path)?).await?;
    Ok(HttpResponse::Ok().content_type("text/markdown; charset=utf-8").body(card::render(&version)))
}

/// Sets or moves an alias, such as `champion` or `challenger`.
#[utoipa::path(put, path = "/api/v1/models/{model}/aliases/{alias}", tag = "registry", params(("model" = String, Path), ("alias" = String, Path)), request_body = NewAlias, responses((status = 200, body = Model)))]
pub(super) async fn set_alias(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    path: Path<(String, String)>,
    Json(request): Json<NewAlias>,
) -> Result<impl Responder, Problem> {
    let (model, alias) = path.into_inner();
    let request = SetAlias { model: parse_model(&model)?, alias, version: Some(request.version) };
    Ok(Json(gateway.deps.router.set_alias(call, request).await?))
}

/// Removes an alias. Removing one that is not there changes nothing.
#[utoipa::path(delete, path = "/api/v1/models/{model}/aliases/{alias}", tag = "registry", params(("model" = String, Path), ("alias" = String, Path)), responses((status = 200, body = Model)))]
pub(super) async fn remove_alias(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    path: Path<(String, String)>,
) -> Result<impl Responder, Problem> {
    let (model, alias) = path.into_inner();
    let request = SetAlias { model: parse_model(&model)?, alias, version: None };
    Ok(Json(gateway.deps.router.set_alias(call, request).await?))
}

/// Which versions answer, and who gets which.
#[utoipa::path(get, path = "/api/v1/models/{model}/route", tag = "routing", params(("model" = String, Path)), responses((status = 200, body = Route)))]
pub(super) async fn route(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    name: Path<String>,
) -> Result<impl Responder, Problem> {
    Ok(Json(gateway.deps.router.route(call, parse_model(&name)?).await?))
}

/// Replaces the route. The versions are loaded first; units move as little as the new weights allow.
/// With `generation`, 409 if another change came first.
#[utoipa::path(put, path = "/api/v1/models/{model}/route", tag = "routing", params(("model" = String, Path)), request_body = NewRoute, responses((status = 200, body = Route)))]
pub(super) async fn put_route(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    name: Path<String>,
    Json(route): Json<NewRoute>,
) -> Result<impl Responder, Problem> {
    let request = PutRoute { model: parse_model(&name)?, route };
    Ok(Json(gateway.deps.router.put_route(call, request).await?))
}

/// What is ruled for a model: who sees its versions, whether answers are kept, what may go in and
/// come out.
#[utoipa::path(get, path = "/api/v1/models/{model}/policy", tag = "registry", params(("model" = String, Path)), responses((status = 200, body = ModelPolicy)))]
pub(super) async fn policy(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    name: Path<String>,
) -> Result<impl Responder, Problem> {
    Ok(Json(gateway.deps.router.policy(call, parse_model(&name)?).await?))
}

/// Replaces a model's policy. It is in force everywhere when this returns. What is left out is as
/// without a policy. With `revision`, 409 if another change came first.
#[utoipa::path(put, path = "/api/v1/models/{model}/policy", tag = "registry", params(("model" = String, Path)), request_body = ModelPolicy, responses((status = 200, body = ModelPolicy)))]
pub(super) async fn put_policy(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    name: Path<String>,
    Json(policy): Json<ModelPolicy>,
) -> Result<impl Responder, Problem> {
    let request = PutPolicy { model: parse_model(&name)?, policy };
    Ok(Json(gateway.deps.router.put_policy(call, request).await?))
}

/// Refuses who is not told of a model's versions.
pub(super) fn told_of_versions(detail: &ModelDetail) -> Result<(), ApiError> {
    if detail.interface.is_none() { Ok(()) } else { Err(not_shown(&detail.model.name)) }
}

pub(super) fn not_shown(model: &ModelName) -> ApiError {
    ApiError::new(
        ErrorCode::Forbidden,
        format!("the policy of model `{model}` does not show versions to your role"),
    )
}

pub(super) fn parse_model(name: &str) -> Result<ModelName, ApiError> {
    Ok(name.parse()?)
}

pub(super) fn parse_target(path: &(String, String)) -> Result<Target, ApiError> {
    Ok(Target { model: path.0.parse()?, version: path.1.parse()? })
}
