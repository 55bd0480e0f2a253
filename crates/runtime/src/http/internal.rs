//! Endpoints between services, bound by type.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::BoxBody;
use actix_web::dev::ServiceRequest;
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, Bytes, ServiceConfig};
use contracts::{ApiError, Call, Endpoint, Wire};

use super::caller::{CLIENT_ADDRESS, Caller, admit};
use super::problem::Problem;
use crate::Authenticator;

/// Collects a service's endpoints.
pub struct InternalRoutes<'a> {
    config: &'a mut ServiceConfig,
    authenticator: &'a Arc<Authenticator>,
    request_timeout: Duration,
}

impl<'a> InternalRoutes<'a> {
    /// Endpoints are added to `config`; tokens are verified by `authenticator`.
    pub fn new(
        config: &'a mut ServiceConfig,
        authenticator: &'a Arc<Authenticator>,
        request_timeout: Duration,
    ) -> Self {
        Self { config, authenticator, request_timeout }
    }
}

/// Binds an endpoint to what answers it. That checks the caller's role itself, as it does in
/// process.
pub fn bind<Req, Res, F, Fut>(
    routes: &mut InternalRoutes<'_>,
    endpoint: &'static Endpoint<Req, Res>,
    handler: F,
) where
    Req: Wire,
    Res: Wire,
    F: Fn(Call, Req) -> Fut + Clone + 'static,
    Fut: Future<Output = Result<Res, ApiError>> + 'static,
{
    let authenticator = Arc::clone(routes.authenticator);
    let request_timeout = routes.request_timeout;
    let check = move |request: ServiceRequest, next: Next<BoxBody>| {
        let said = request.headers().get(CLIENT_ADDRESS).and_then(|value| value.to_str().ok());
        let client = said.and_then(|address| address.parse().ok());
        admit(request, next, Arc::clone(&authenticator), client, request_timeout, |_| Ok(()))
    };
    let answer = move |Caller(call): Caller, body: Bytes| {
        let handler = handler.clone();
        async move {
            let result = async { handler(call, Req::from_wire(body)?).await?.to_wire() }.await;
            let body = result.map_err(Problem)?;
            Ok::<_, Problem>(HttpResponse::Ok().content_type(Res::CONTENT_TYPE).body(body))
        }
    };
    routes
        .config
        .service(web::resource(endpoint.path).route(web::post().to(answer).wrap(from_fn(check))));
}
