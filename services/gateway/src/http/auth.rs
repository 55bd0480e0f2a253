//! Signing in, and the users.

use actix_web::http::header;
use actix_web::web::{Data, Json};
use actix_web::{HttpResponse, Responder};
use contracts::auth::{Jwks, NewUser, SignIn, Token, UserList, UserView};
use domain::Principal;
use runtime::http::{Caller, Problem};

use crate::Gateway;

/// Signs in by user name and password. The token goes into `Authorization: Bearer`.
#[utoipa::path(post, path = "/api/v1/auth/token", tag = "auth", request_body = SignIn, responses((status = 200, body = Token)))]
pub(super) async fn token(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    Json(request): Json<SignIn>,
) -> Result<impl Responder, Problem> {
    let token = gateway.deps.auth.sign_in(call, request).await?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(token))
}

/// Who the token says you are.
#[utoipa::path(get, path = "/api/v1/auth/me", tag = "auth", responses((status = 200, body = Principal)))]
pub(super) async fn me(Caller(call): Caller) -> impl Responder {
    HttpResponse::Ok().json(call.principal)
}

/// The public keys that tokens are verified with (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "auth", responses((status = 200, body = Jwks)))]
pub(super) async fn jwks(
    gateway: Data<Gateway>,
    Caller(call): Caller,
) -> Result<impl Responder, Problem> {
    let jwks = gateway.deps.auth.jwks(call).await?;
    let cache = (header::CACHE_CONTROL, "public, max-age=300");
    Ok(HttpResponse::Ok().insert_header(cache).json(jwks))
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
    Ok(HttpResponse::Created().json(gateway.deps.auth.create_user(call, request).await?))
}
