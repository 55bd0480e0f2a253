//! Users and API keys.

use actix_web::web::{Bytes, Data, Json, Path};
use actix_web::{HttpResponse, Responder};
use contracts::auth::{
    ApiKeyList, ApiKeyView, NewApiKey, NewUser, RevokeKey, RotateKey, ShownKey, UserChange,
    UserList, UserPatch, UserView,
};
use contracts::{ApiError, Faults};
use domain::Scope;
use runtime::http::{Caller, Problem, PublicRoute};
use serde::Deserialize;
use utoipa::ToSchema;

use super::v2::optional;
use crate::Gateway;

/// How an API key is replaced.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    /// How long the old key is good for yet, seconds; default: the setting `auth.key_overlap_s`.
    #[serde(default)]
    overlap_s: Option<u64>,
}

/// All users.
#[utoipa::path(get, path = "/api/v1/users", tag = "auth", responses((status = 200, body = UserList)))]
pub(super) async fn users(
    gateway: Data<Gateway>,
    Caller(call): Caller,
) -> Result<impl Responder, Problem> {
    Ok(Json(gateway.deps.auth.users(call).await?))
}

/// Makes a user. 409 if the name is taken.
#[utoipa::path(post, path = "/api/v1/users", tag = "auth", request_body = NewUser, responses((status = 201, body = UserView)))]
pub(super) async fn create_user(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    Json(request): Json<NewUser>,
) -> Result<impl Responder, Problem> {
    check_routes(&request.scope)?;
    Ok(HttpResponse::Created().json(gateway.deps.auth.create_user(call, request).await?))
}

/// Changes a user's role, scope, password, or whether the user may sign in. What was got before by
/// signing in is refused within a second. 409 if no admin were left.
#[utoipa::path(patch, path = "/api/v1/users/{username}", tag = "auth", params(("username" = String, Path)), request_body = UserPatch, responses((status = 200, body = UserView)))]
pub(super) async fn change_user(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    username: Path<String>,
    Json(change): Json<UserPatch>,
) -> Result<impl Responder, Problem> {
    if let Some(scope) = &change.scope {
        check_routes(scope)?;
    }
    let request = UserChange { username: username.into_inner(), change };
    Ok(Json(gateway.deps.auth.change_user(call, request).await?))
}

/// All API keys, without their secrets.
#[utoipa::path(get, path = "/api/v1/api-keys", tag = "auth", responses((status = 200, body = ApiKeyList)))]
pub(super) async fn api_keys(
    gateway: Data<Gateway>,
    Caller(call): Caller,
) -> Result<impl Responder, Problem> {
    Ok(Json(gateway.deps.auth.api_keys(call).await?))
}

/// Makes an API key. The answer shows it, and nothing ever does again.
#[utoipa::path(post, path = "/api/v1/api-keys", tag = "auth", request_body = NewApiKey, responses((status = 201, body = ShownKey)))]
pub(super) async fn create_api_key(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    Json(request): Json<NewApiKey>,
) -> Result<impl Responder, Problem> {
    check_routes(&request.scope)?;
    Ok(HttpResponse::Created().json(gateway.deps.auth.create_api_key(call, request).await?))
}

/// Makes an API key in the place of this one, which is good for a while yet.
#[utoipa::path(post, path = "/api/v1/api-keys/{id}/rotate", tag = "auth", params(("id" = String, Path)), request_body = Option<Rotation>, responses((status = 201, body = ShownKey)))]
pub(super) async fn rotate_api_key(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
    body: Bytes,
) -> Result<impl Responder, Problem> {
    let Rotation { overlap_s } = optional(&body)?;
    let request = RotateKey { id: id.into_inner(), overlap_s };
    Ok(HttpResponse::Created().json(gateway.deps.auth.rotate_api_key(call, request).await?))
}

/// Revokes an API key: it is refused within a second. Once more changes nothing.
#[utoipa::path(delete, path = "/api/v1/api-keys/{id}", tag = "auth", params(("id" = String, Path)), responses((status = 200, body = ApiKeyView)))]
pub(super) async fn revoke_api_key(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    id: Path<String>,
) -> Result<impl Responder, Problem> {
    let request = RevokeKey { id: id.into_inner() };
    Ok(Json(gateway.deps.auth.revoke_api_key(call, request).await?))
}

/// Refuses routes that there are not.
fn check_routes(scope: &Scope) -> Result<(), ApiError> {
    let known: Vec<String> = super::routes().iter().map(PublicRoute::name).collect();
    let mut faults = Faults::default();
    for route in scope.routes.iter().filter(|route| !known.contains(route)) {
        let detail = format!(
            "there is no route `{route}`: write it as `POST {}`, with the path as `/openapi.json` has it",
            super::PREDICT
        );
        faults.add("#/scope/routes", detail);
    }
    faults.check()
}
