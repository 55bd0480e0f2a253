//! Before the handlers, and before a request's body is read: limits, then what is done once.

use std::sync::Arc;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage};
use runtime::http::{Caller, Idempotency, Problem, PublicRoute, TimeLimits, client_address};

use super::{PREDICT_DEFAULT, repeats};
use crate::Gateway;
use crate::limits::settings::UNLIMITED;
use crate::limits::{Asked, Limiter, Policy};

/// What is known of a route.
pub(super) struct Door {
    /// Verb and path.
    pub(super) route: String,
    pub(super) idempotency: Idempotency,
    /// How long its requests may take.
    pub(super) time: Duration,
    pub(super) max_body_bytes: usize,
    is_default: bool,
    policies: Vec<Arc<Policy>>,
}

/// Puts a door before each route that may be limited.
pub(super) fn put_before(
    routes: Vec<PublicRoute>,
    gateway: &Arc<Gateway>,
    time: TimeLimits,
) -> Vec<PublicRoute> {
    let behind = |route: PublicRoute| {
        if UNLIMITED.contains(&route.path) {
            return route;
        }
        let name = route.name();
        let upload = route.is_upload();
        let door = Arc::new(Door {
            policies: gateway.limiter.policies_of(&name),
            route: name,
            idempotency: route.idempotency,
            time: if upload { time.upload } else { time.request },
            max_body_bytes: if upload { gateway.max_upload_bytes } else { gateway.max_body_bytes },
            is_default: route.path == PREDICT_DEFAULT,
        });
        let gateway = Arc::clone(gateway);
        route.behind(move |request, next| {
            pass(request, next, Arc::clone(&gateway), Arc::clone(&door))
        })
    };
    routes.into_iter().map(behind).collect()
}

async fn pass(
    request: ServiceRequest,
    next: Next<BoxBody>,
    gateway: Arc<Gateway>,
    door: Arc<Door>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let place = match gateway.concurrency.enter(|| client_of(&request)) {
        Ok(place) => place,
        Err(error) => return Ok(request.error_response(Problem(error))),
    };
    let (policies, buckets) = buckets_of(&request, &gateway, &door);
    let verdict = match buckets.as_slice() {
        [] => None,
        buckets => Some(gateway.limiter.decide(policies, buckets).await),
    };
    let refusal = verdict.as_ref().and_then(|verdict| verdict.refusal.clone());
    let mut answer = match refusal {
        Some(error) => request.error_response(Problem(error)),
        None => repeats::answer(request, next, &gateway, &door).await?,
    };
    if let Some(verdict) = verdict {
        for (name, value) in verdict.headers(gateway.limiter.legacy_headers) {
            if let Ok(value) = HeaderValue::from_str(&value) {
                answer.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
    }
    drop(place);
    Ok(answer)
}

/// The user or the API key, or the address of who has not signed in.
pub(super) fn client_of(request: &ServiceRequest) -> String {
    let extensions = request.extensions();
    let principal = extensions.get::<Caller>().and_then(|Caller(call)| call.principal.as_ref());
    match principal {
        Some(principal) => principal.id.clone(),
        None => client_address(request.request()).map(|at| at.to_string()).unwrap_or_default(),
    }
}

fn buckets_of(
    request: &ServiceRequest,
    gateway: &Gateway,
    door: &Door,
) -> (Vec<Arc<Policy>>, Vec<storage::ports::Take>) {
    if door.policies.is_empty() {
        return Default::default();
    }
    let extensions = request.extensions();
    let call = extensions.get::<Caller>().map(|Caller(call)| call);
    let default_model = Some(gateway.default_model.as_str()).filter(|name| !name.is_empty());
    let asked = Asked {
        route: &door.route,
        principal: call.and_then(|call| call.principal.as_ref()),
        address: call.and_then(|call| call.client),
        model: if door.is_default { default_model } else { request.match_info().get("model") },
    };
    Limiter::buckets(&door.policies, &asked)
}
