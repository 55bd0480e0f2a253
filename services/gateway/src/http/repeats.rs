//! `Idempotency-Key`: a repeat of a request gets the first answer, and nothing is done twice.

use std::sync::Arc;

use actix_web::body::{BoxBody, to_bytes};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, BytesMut};
use actix_web::{Error, HttpRequest, HttpResponse, rt};
use contracts::{ApiError, ErrorCode};
use futures_util::StreamExt;
use runtime::http::{Idempotency, Problem};
use storage::ports::Claim;

use super::door::{Door, client_of};
use crate::Gateway;
use crate::idempotency::{First, Kept, count, fingerprint, key};

const KEY: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The headers that are kept: those that describe the answer.
const DESCRIBING: [HeaderName; 4] =
    [header::CONTENT_TYPE, header::LOCATION, header::ETAG, header::CACHE_CONTROL];
/// A body above this is hashed apart from other requests.
const LARGE: usize = 256 << 10;

/// Answers a request: by the handler, or as it was answered before.
pub(super) async fn answer(
    request: ServiceRequest,
    next: Next<BoxBody>,
    gateway: &Arc<Gateway>,
    door: &Arc<Door>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if door.idempotency == Idempotency::Ignored || !request.headers().contains_key(KEY) {
        return next.call(request).await;
    }
    let client = client_of(&request);
    let (request, payload) = request.into_parts();
    match begin(&request, payload, &client, gateway, door).await {
        Ok((First::Do(claim), body)) => {
            count("first", 1);
            let asked = ServiceRequest::from_parts(request.clone(), Payload::from(body));
            let gateway = Arc::clone(gateway);
            // It goes on if the client hangs up: the repeat is to find what was done.
            let work = rt::spawn(async move { work(asked, next, &gateway, &claim).await });
            match work.await {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::error!(%error, "request failed");
                    Ok(ServiceResponse::from_err(Problem(ApiError::internal()), request))
                }
            }
        }
        Ok((First::Replay(kept, body), _)) => {
            count("replayed", 1);
            Ok(replay(request, kept, body))
        }
        Err(error) => {
            let outcome = match error.code {
                ErrorCode::Conflict => "running",
                ErrorCode::Unavailable => "unavailable",
                _ => "refused",
            };
            count(outcome, 1);
            Ok(ServiceResponse::from_err(Problem(error), request))
        }
    }
}

/// Reads the whole body, and claims the key.
async fn begin(
    request: &HttpRequest,
    payload: Payload,
    client: &str,
    gateway: &Gateway,
    door: &Door,
) -> Result<(First, Bytes), ApiError> {
    if door.idempotency == Idempotency::Refused {
        return Err(ApiError::new(
            ErrorCode::BadRequest,
            "`Idempotency-Key` is not taken here: the answer holds a secret, which is kept nowhere and so cannot be sent again; leave the header out",
        ));
    }
    let mut lines = request.headers().get_all(KEY);
    let line = lines.next().and_then(|line| line.to_str().ok()).unwrap_or_default();
    if lines.next().is_some() {
        return Err(ApiError::new(
            ErrorCode::BadRequest,
            "there are two headers `Idempotency-Key`",
        ));
    }
    let key = key(line)?;
    let body = read(payload, door.max_body_bytes).await?;
    let path = request.uri().to_string();
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let content_type =
        content_type.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let print = if body.len() > LARGE {
        let body = body.clone();
        let hash = rt::task::spawn_blocking(move || fingerprint(&path, &content_type, &body));
        hash.await.map_err(|error| {
            tracing::error!(%error, "a request cannot be hashed");
            ApiError::internal()
        })?
    } else {
        fingerprint(&path, &content_type, &body)
    };
    let first = gateway.once.begin((client, &door.route, key), print, door.time).await?;
    Ok((first, body))
}

async fn read(mut payload: Payload, limit: usize) -> Result<Bytes, ApiError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| {
            ApiError::new(ErrorCode::BadRequest, format!("the body cannot be read: {error}"))
        })?;
        if body.len() + chunk.len() > limit {
            return Err(ApiError::new(
                ErrorCode::TooLarge,
                format!(
                    "the body has more than the {limit} bytes allowed: see the settings `http.max_body_bytes` and `http.max_upload_bytes`"
                ),
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Lets the handler answer, and keeps the answer if the request was done or rightly refused.
async fn work(
    request: ServiceRequest,
    next: Next<BoxBody>,
    gateway: &Gateway,
    claim: &Claim,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let answer = match next.call(request).await {
        Ok(answer) => answer,
        Err(error) => {
            gateway.once.abandon(claim).await;
            return Err(error);
        }
    };
    let status = answer.status();
    if let Some(error) = answer.response().error() {
        let refused = error.as_error::<Problem>().map(|Problem(error)| error.clone());
        let lasting =
            |error: &ApiError| error.code.status() < 500 && error.code != ErrorCode::RateLimited;
        match refused.filter(lasting) {
            Some(error) => {
                let kept = kept(status, &HeaderMap::new(), Some(error));
                gateway.once.complete(claim, kept, &[]).await;
            }
            None => gateway.once.abandon(claim).await,
        }
        return Ok(answer);
    }
    if status.is_server_error() {
        gateway.once.abandon(claim).await;
        return Ok(answer);
    }
    let (request, response) = answer.into_parts();
    let (response, body) = response.into_parts();
    let Ok(body) = to_bytes(body).await else {
        gateway.once.abandon(claim).await;
        return Ok(ServiceResponse::from_err(Problem(ApiError::internal()), request));
    };
    gateway.once.complete(claim, kept(status, response.headers(), None), &body).await;
    Ok(ServiceResponse::new(request, response.set_body(BoxBody::new(body))))
}

fn kept(status: StatusCode, headers: &HeaderMap, refused: Option<ApiError>) -> Kept {
    let describing = DESCRIBING.iter().filter_map(|name| {
        let value = headers.get(name)?.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    Kept { status: status.as_u16(), headers: describing.collect(), refused, too_large: false }
}

fn replay(request: HttpRequest, kept: Kept, body: Vec<u8>) -> ServiceResponse<BoxBody> {
    let mut answer = match kept.refused {
        Some(error) => ServiceResponse::from_err(Problem(error), request),
        None => {
            let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
            let mut response = HttpResponse::build(status);
            for header in kept.headers {
                response.insert_header(header);
            }
            ServiceResponse::new(request, response.body(body))
        }
    };
    answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    answer
}
