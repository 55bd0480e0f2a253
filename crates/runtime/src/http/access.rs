//! Public routes: each names who may use it, before its body is read.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpMessage, HttpRequest, Responder, Route};
use contracts::ApiError;
use domain::Role;

use super::caller::admit;
use crate::Authenticator;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone, signed in or not.
    Anyone,
    /// Whoever is signed in.
    SignedIn,
    /// These roles, and those that stand in for them.
    Roles(&'static [Role]),
}

impl Access {
    fn check(self, call: &contracts::Call) -> Result<(), ApiError> {
        const ANY_PERSON: &[Role] = &[Role::Client, Role::Analyst];
        match self {
            Self::Anyone => Ok(()),
            Self::SignedIn => call.require(ANY_PERSON).map(drop),
            Self::Roles(roles) => call.require(roles).map(drop),
        }
    }
}

/// A public route: where, for whom, and what answers.
pub struct PublicRoute {
    /// The verb.
    pub method: Method,
    /// The path, with `{name}` for a part that varies.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
    route: Route,
}

/// The path of the route that a request matched; actix would search for it once more.
#[derive(Debug, Clone, Copy)]
struct Matched(&'static str);

/// The path of the route that a request matched, with its `{names}`.
pub fn matched_path(request: &HttpRequest) -> Cow<'static, str> {
    match request.extensions().get::<Matched>() {
        Some(Matched(path)) => Cow::Borrowed(path),
        None => request.match_pattern().map_or(Cow::Borrowed("unmatched"), Cow::Owned),
    }
}

/// Declares a public route.
pub fn public<F, Args>(
    method: Method,
    path: &'static str,
    access: Access,
    handler: F,
) -> PublicRoute
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    PublicRoute { route: web::method(method.clone()).to(handler), method, path, access }
}

/// Puts public routes in place, each behind the check of its access.
pub fn mount(
    config: &mut ServiceConfig,
    routes: Vec<PublicRoute>,
    authenticator: &Arc<Authenticator>,
    request_timeout: Duration,
) {
    for PublicRoute { method, path, access, route } in routes {
        let authenticator = Arc::clone(authenticator);
        let check = move |request, next: Next<BoxBody>| {
            let authenticator = Arc::clone(&authenticator);
            let request: ServiceRequest = request;
            request.extensions_mut().insert(Matched(path));
            admit(request, next, authenticator, request_timeout, move |call| access.check(call))
        };
        config.service(
            web::resource(path)
                .guard(actix_web::guard::fn_guard(move |context| context.head().method == method))
                .route(route.wrap(from_fn(check))),
        );
    }
}
