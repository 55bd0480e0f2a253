//! The [`Call`] of a request: id, trace, deadline, and the principal its token proves.

use std::future::{Ready, ready};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest};
use contracts::{ApiError, Call, Deadline, ErrorCode, TraceContext};
use domain::RequestId;

use super::inflate::inflate;
use super::problem::Problem;
use crate::Authenticator;

/// The header with a request's id, in and out.
pub(super) const REQUEST_ID: &str = "x-request-id";
/// The header with the address of the client at the door, between services.
pub(super) const CLIENT_ADDRESS: &str = "x-client-address";
/// The header with an API key.
pub(super) const API_KEY: &str = "x-api-key";
/// The header with the time left, milliseconds.
pub(super) const DEADLINE: &str = "x-deadline-ms";

/// What a handler may take beyond its limit, so that it can tell what was too slow.
const GRACE: Duration = Duration::from_millis(500);

/// Hands a handler the [`Call`] of its request. Only a route whose access was checked has one.
#[derive(Debug, Clone)]
pub struct Caller(pub Call);

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // A route that names nobody is denied.
        let denied = || {
            Problem(ApiError::new(
                ErrorCode::Forbidden,
                "this route names no role: nobody may use it",
            ))
        };
        ready(request.extensions().get::<Self>().cloned().ok_or_else(denied))
    }
}

/// The request's id, taken from the client or made.
pub(super) fn request_id(request: &HttpRequest) -> RequestId {
    match request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok()) {
        Some(text) => RequestId::accept(text),
        None => RequestId::new(),
    }
}

/// Around a route: builds the call, asks whether it may go on, and hands it to the handler.
pub(super) async fn admit(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    authenticator: Arc<Authenticator>,
    client: Option<IpAddr>,
    request_timeout: Duration,
    may: impl FnOnce(&Call) -> Result<(), ApiError>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let call = authenticate(&request, &authenticator, client, request_timeout).await;
    let allowed = call.and_then(|call| {
        let (allowed, left) = (may(&call), call.deadline.left());
        // One who is refused is known, too.
        request.extensions_mut().insert(Caller(call));
        allowed.map(|()| left)
    });
    let left = match allowed.and_then(|left| inflate(&mut request).map(|()| left)) {
        Ok(left) => left,
        Err(error) => return Ok(request.error_response(Problem(error)).map_into_boxed_body()),
    };
    let asked = request.request().clone();
    // What the handler waits for ends at the call's deadline; a body that does not come ends here.
    match tokio::time::timeout(left + GRACE, next.call(request)).await {
        Ok(answer) => Ok(answer?.map_into_boxed_body()),
        Err(_elapsed) => Ok(ServiceResponse::from_err(Problem(Deadline::passed()), asked)),
    }
}

/// Builds the call. A token that is there must be good, also where none is needed.
async fn authenticate(
    request: &ServiceRequest,
    authenticator: &Arc<Authenticator>,
    client: Option<IpAddr>,
    request_timeout: Duration,
) -> Result<Call, ApiError> {
    let asked = match request.headers().get(DEADLINE) {
        None => None,
        Some(value) => {
            let number = value.to_str().ok().and_then(|text| text.parse::<u64>().ok());
            let number = number.filter(|number| *number > 0).ok_or_else(|| {
                ApiError::new(
                    ErrorCode::BadRequest,
                    "the header `X-Deadline-Ms` must be a whole number of milliseconds above 0",
                )
            })?;
            Some(Duration::from_millis(number))
        }
    };
    let request_id = request.extensions().get::<RequestId>().cloned();
    let mut call = Call {
        request_id: request_id.unwrap_or_else(RequestId::new),
        client,
        trace: request.extensions().get::<TraceContext>().cloned().unwrap_or_default(),
        principal: None,
        token: None,
        deadline: Deadline::after(
            asked.map_or(request_timeout, |asked| asked.min(request_timeout)),
        ),
    };
    if let Some(credential) = credential(request)? {
        let proof = authenticator.verify(credential).await?;
        call.principal = Some(Arc::unwrap_or_clone(proof.principal));
        call.token = Some(proof.token);
    }
    Ok(call)
}

/// What the request shows: a token or an API key, in one header.
fn credential(request: &ServiceRequest) -> Result<Option<&str>, ApiError> {
    let headers = request.headers();
    let refuse = |code, why: &str| Err(ApiError::new(code, why));
    let (bearer, key) = (headers.get(header::AUTHORIZATION), headers.get(API_KEY));
    match (bearer, key) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => refuse(
            ErrorCode::Unauthenticated,
            "credentials refused: send either `Authorization` or `X-API-Key`, not both",
        ),
        (None, Some(key)) => match key.to_str() {
            Ok(key) if key.starts_with("key_") => Ok(Some(key.trim())),
            _ => refuse(ErrorCode::Unauthenticated, "API key refused: it must begin with `key_`"),
        },
        (Some(value), None) => {
            let token = value.to_str().ok().and_then(|value| {
                let (scheme, token) = value.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
            });
            match token {
                Some(token) => Ok(Some(token)),
                None => refuse(
                    ErrorCode::Unauthenticated,
                    "bearer token refused: the header must read `Authorization: Bearer <token>`",
                ),
            }
        }
    }
}
