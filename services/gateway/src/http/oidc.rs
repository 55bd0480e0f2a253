//! Signing in through an identity provider, in a browser.

use actix_web::http::header;
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse, Responder};
use contracts::auth::{OidcBegun, OidcFinish, Token};
use runtime::http::{Caller, Problem};
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::fresh;
use crate::Gateway;

/// What the browser keeps while it is at the provider.
const COOKIE: &str = "engine-sign-in";

/// How the provider sends a browser back. It may add more.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Return {
    /// Good once.
    code: Option<String>,
    /// As the provider was told.
    state: Option<String>,
    /// Who says so (RFC 9207).
    iss: Option<String>,
    /// Why there is no code.
    error: Option<String>,
}

/// Sends the browser to the identity provider. 404 where none is set up, 503 where it cannot be
/// reached.
#[utoipa::path(get, path = "/api/v1/auth/oidc/login", operation_id = "oidc_login", tag = "auth", responses((status = 302, description = "The provider's page is at `Location`.")))]
pub(super) async fn login(
    gateway: Data<Gateway>,
    Caller(call): Caller,
) -> Result<impl Responder, Problem> {
    let begun = gateway.deps.auth.oidc_begin(call).await?;
    let OidcBegun { location, cookie, max_age_s, path, secure } = begun;
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!(
        "{COOKIE}={cookie}; Path={path}; Max-Age={max_age_s}; HttpOnly; SameSite=Lax{secure}"
    );
    let mut answer = HttpResponse::Found();
    answer.insert_header((header::LOCATION, location));
    answer.insert_header((header::SET_COOKIE, cookie));
    Ok(answer.insert_header((header::CACHE_CONTROL, "no-store")).finish())
}

/// Where the identity provider sends the browser back to: begins a session. Good once, and only in the
/// browser that began.
#[utoipa::path(get, path = "/api/v1/auth/oidc/callback", operation_id = "oidc_callback", tag = "auth", params(Return), responses((status = 200, body = Token)))]
pub(super) async fn callback(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    request: HttpRequest,
    Query(returned): Query<Return>,
) -> Result<impl Responder, Problem> {
    let Return { code, state, iss, error } = returned;
    let request = OidcFinish {
        cookie: cookie_of(&request).unwrap_or_default().to_owned(),
        code: code.unwrap_or_default(),
        state: state.unwrap_or_default(),
        issuer: iss,
        error,
    };
    Ok(fresh(gateway.deps.auth.oidc_finish(call, request).await?))
}

fn cookie_of(request: &HttpRequest) -> Option<&str> {
    let headers = request.headers().get_all(header::COOKIE);
    let cookies = headers.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(';'));
    let mut named = cookies.filter_map(|cookie| cookie.trim().split_once('='));
    named.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let found = |text: &str| {
            let request = TestRequest::default().insert_header((header::COOKIE, text));
            cookie_of(&request.to_http_request()).map(str::to_owned)
        };
        assert_eq!(found("a=b; engine-sign-in=1.x.y; c=d"), Some("1.x.y".to_owned()));
        assert_eq!(found("engine-sign-in=1.x.y"), Some("1.x.y".to_owned()));
        assert_eq!(found("other_engine-sign-in=1; engine-sign-in"), None);
    }
}
