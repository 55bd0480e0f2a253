//! Public routes: each names who may use it, before its body is read.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::guard::{self, Any};
use actix_web::http::Method;
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpMessage, HttpRequest, HttpResponse, Responder, Route};
use contracts::{ApiError, ErrorCode};
use domain::Role;

use super::caller::admit;
use super::client::client_address;
use super::problem::Problem;
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
    fn check(self, call: &contracts::Call, route: &str) -> Result<(), ApiError> {
        const ANY_PERSON: &[Role] = &[Role::Client, Role::Analyst];
        let caller = match self {
            Self::Anyone => return Ok(()),
            Self::SignedIn => call.require(ANY_PERSON)?,
            Self::Roles(roles) => call.require(roles)?,
        };
        if caller.scope.has_route(route) {
            return Ok(());
        }
        let why = format!("`{}` may not use `{route}`: ask an admin", caller.name);
        Err(ApiError::new(ErrorCode::Forbidden, why))
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
    /// What the header `Idempotency-Key` does here.
    pub idempotency: Idempotency,
    route: Route,
    upload: bool,
}

/// What the header `Idempotency-Key` does at a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idempotency {
    /// Nothing: sending the request again does no harm, or counts as another one.
    Ignored,
    /// A repeat gets the first answer.
    Kept,
    /// It is refused: the answer holds a secret, which is kept nowhere.
    Refused,
}

impl PublicRoute {
    /// Gives it the time that an upload of model files takes.
    #[must_use]
    pub fn upload(mut self) -> Self {
        self.upload = true;
        self
    }

    /// Whether it takes the time of an upload.
    pub fn is_upload(&self) -> bool {
        self.upload
    }

    /// A repeat with the same `Idempotency-Key` gets the first answer.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.idempotency = Idempotency::Kept;
        self
    }

    /// Its answer holds a secret and is kept nowhere.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.idempotency = Idempotency::Refused;
        self
    }

    /// Verb and path, as settings and scopes name the route.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Puts a step between the check of access, which comes first, and the handler. It answers
    /// failures itself and returns no error.
    #[must_use]
    pub fn behind<F, Fut>(mut self, step: F) -> Self
    where
        F: Fn(ServiceRequest, Next<BoxBody>) -> Fut + 'static,
        Fut: Future<Output = Result<ServiceResponse<BoxBody>, actix_web::Error>> + 'static,
    {
        self.route = self.route.wrap(from_fn(step));
        self
    }
}

/// The verbs of a path whose verb was refused, for the header `Allow`.
#[derive(Debug, Clone)]
pub(super) struct Allowed(pub(super) String);

/// The path of the route that a request matched; actix would search for it once more.
#[derive(Debug, Clone, Copy)]
struct Matched(&'static str);

/// The path of the route that a request matched, with its `{names}`.
pub fn matched_path(request: &HttpRequest) -> Cow<'static, str> {
    matched_in(&request.extensions(), request)
}

/// As [`matched_path`], where the extensions are at hand.
pub(super) fn matched_in(extensions: &Extensions, request: &HttpRequest) -> Cow<'static, str> {
    match extensions.get::<Matched>() {
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
    let verb = match method {
        Method::GET => web::route().guard(Any(guard::Get()).or(guard::Head())),
        ref method => web::method(method.clone()),
    };
    let route = verb.to(handler);
    PublicRoute { route, method, path, access, idempotency: Idempotency::Ignored, upload: false }
}

/// How long requests may take, their bodies' way in included.
#[derive(Debug, Clone, Copy)]
pub struct TimeLimits {
    /// Every request, but for uploads.
    pub request: Duration,
    /// An upload of model files.
    pub upload: Duration,
}

/// Puts public routes in place, each behind the check of its access. A path with several routes is
/// one resource, which answers 405 for other verbs; what answers GET answers HEAD, too.
pub fn mount(
    config: &mut ServiceConfig,
    routes: Vec<PublicRoute>,
    authenticator: &Arc<Authenticator>,
    limits: TimeLimits,
) {
    let mut paths: Vec<(&'static str, Vec<PublicRoute>)> = Vec::new();
    for route in routes {
        match paths.iter_mut().find(|(path, _)| *path == route.path) {
            Some((_, routes)) => routes.push(route),
            None => paths.push((route.path, vec![route])),
        }
    }
    for (path, routes) in paths {
        let mut allowed: Vec<&str> = routes.iter().map(|route| route.method.as_str()).collect();
        if allowed.contains(&"GET") {
            allowed.push("HEAD");
        }
        let allowed = allowed.join(", ");
        let mut resource = web::resource(path);
        for declared in routes {
            let name: Arc<str> = declared.name().into();
            let PublicRoute { access, route, upload, .. } = declared;
            let authenticator = Arc::clone(authenticator);
            let limit = if upload { limits.upload } else { limits.request };
            let check = move |request: ServiceRequest, next: Next<BoxBody>| {
                let authenticator = Arc::clone(&authenticator);
                request.extensions_mut().insert(Matched(path));
                let client = client_address(request.request());
                let name = Arc::clone(&name);
                let may = move |call: &contracts::Call| access.check(call, &name);
                admit(request, next, authenticator, client, limit, may)
            };
            resource = resource.route(route.wrap(from_fn(check)));
        }
        config.service(resource.default_service(web::to(move |request: HttpRequest| {
            let refused = wrong_method(&request, &allowed);
            async move { Err::<HttpResponse, _>(refused) }
        })));
    }
}

fn wrong_method(request: &HttpRequest, allowed: &str) -> Problem {
    request.extensions_mut().insert(Allowed(allowed.to_owned()));
    let verb: String = request.method().as_str().chars().take(20).collect();
    Problem(ApiError::new(
        ErrorCode::MethodNotAllowed,
        format!("this path does not take `{verb}`, but {allowed}"),
    ))
}
