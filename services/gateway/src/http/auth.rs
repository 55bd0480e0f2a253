//! Signing in and out.

use actix_web::http::header;
use actix_web::web::{Bytes, Data, Json};
use actix_web::{HttpResponse, Responder};
use contracts::auth::{ChangePassword, Jwks, Refresh, SignIn, SignOut, Token};
use domain::Principal;
use runtime::http::{Caller, Problem};

use super::v2::optional;
use crate::Gateway;

/// Signs in by user name and password. The token goes into `Authorization: Bearer`; the refresh token
/// gets the next one. 429 after too many failures under one name.
#[utoipa::path(post, path = "/api/v1/auth/token", tag = "auth", request_body = SignIn, responses((status = 200, body = Token)))]
pub(super) async fn token(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    Json(request): Json<SignIn>,
) -> Result<impl Responder, Problem> {
    Ok(fresh(gateway.deps.auth.sign_in(call, request).await?))
}

/// Gets new tokens. A refresh token is good once: shown again, it ends its session.
#[utoipa::path(post, path = "/api/v1/auth/refresh", tag = "auth", request_body = Refresh, responses((status = 200, body = Token)))]
pub(super) async fn refresh(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    Json(request): Json<Refresh>,
) -> Result<impl Responder, Problem> {
    Ok(fresh(gateway.deps.auth.refresh(call, request).await?))
}

/// Ends the session, or with `everywhere` all of the user's. Its tokens are refused within a second.
#[utoipa::path(post, path = "/api/v1/auth/logout", tag = "auth", request_body = Option<SignOut>, responses((status = 204)))]
pub(super) async fn logout(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    body: Bytes,
) -> Result<impl Responder, Problem> {
    let request: SignOut = optional(&body)?;
    gateway.deps.auth.sign_out(call, request).await?;
    Ok(HttpResponse::NoContent())
}

/// Replaces your own password: all of your sessions end, and a new one begins.
#[utoipa::path(put, path = "/api/v1/auth/password", tag = "auth", request_body = ChangePassword, responses((status = 200, body = Token)))]
pub(super) async fn change_password(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    Json(request): Json<ChangePassword>,
) -> Result<impl Responder, Problem> {
    Ok(fresh(gateway.deps.auth.change_password(call, request).await?))
}

/// New tokens, which nobody on the way keeps.
pub(super) fn fresh(token: Token) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(token)
}

/// Makes a new signing key. It is published at once, and signs a little later.
#[utoipa::path(post, path = "/api/v1/auth/signing-keys", tag = "auth", responses((status = 201, body = Jwks)))]
pub(super) async fn rotate_signing_key(
    gateway: Data<Gateway>,
    Caller(call): Caller,
) -> Result<impl Responder, Problem> {
    Ok(HttpResponse::Created().json(gateway.deps.auth.rotate_signing_key(call).await?))
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
