//! The server of a process.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::Method;
use actix_web::http::header::HeaderMap;
use actix_web::middleware::{Condition, from_fn};
use actix_web::web::{self, PayloadConfig, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, HttpServer};
use contracts::{ApiError, ErrorCode};

use super::client::TrustedProxies;
use super::cors::CorsSettings;
use super::observe::{AccessLog, Refusals, observe};
use super::problem::{ErrorFace, Problem, problem_json};
use super::tls::Tls;
use crate::settings::Http;
use crate::telemetry::metrics;
use crate::{Recorder, RuntimeError};

/// Sets headers of every answer; a request that was refused before it was read has none.
pub type SetHeaders = fn(&HttpRequest, &mut HeaderMap);

/// What a server serves.
#[derive(Clone)]
pub struct App {
    /// Adds the routes, once per worker thread.
    pub configure: Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>,
    /// How failures look.
    pub face: fn(&HttpRequest, &ApiError, &str) -> HttpResponse,
    /// Whether requests are logged.
    pub access_log: bool,
    /// Who is believed about the client's address.
    pub trusted_proxies: TrustedProxies,
    /// Who is told of what callers were not allowed to do.
    pub recorder: Option<Arc<Recorder>>,
    /// Which pages of other origins may ask.
    pub cors: CorsSettings,
    /// The headers of every answer.
    pub headers: SetHeaders,
}

impl App {
    /// An app for other services: failures are problem documents. `GET /livez` and `/metrics` come
    /// with it.
    pub fn internal(
        access_log: bool,
        configure: impl Fn(&mut ServiceConfig) + Send + Sync + 'static,
    ) -> Self {
        let configure = move |config: &mut ServiceConfig| {
            config
                .route("/livez", web::get().to(async || HttpResponse::Ok().body("ok")))
                .route("/metrics", web::get().to(async || prometheus_text()));
            configure(config);
        };
        let trusted_proxies = TrustedProxies::default();
        Self {
            configure: Arc::new(configure),
            face: problem_json,
            access_log,
            trusted_proxies,
            recorder: None,
            cors: CorsSettings::default(),
            headers: |_, _| {},
        }
    }
}

/// The metrics as a response.
pub fn prometheus_text() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(metrics().render())
}

/// A server that is listening.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    tls: Option<Tls>,
    handle: ServerHandle,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Listens and serves. `setting` names the setting that `listen` came from.
    ///
    /// # Errors
    /// If the address cannot be listened on, or the certificate cannot be used.
    pub fn start(
        listen: &str,
        setting: &'static str,
        settings: &Http,
        app: App,
    ) -> Result<Self, RuntimeError> {
        let failed = |source| RuntimeError::Listen { address: listen.to_owned(), setting, source };
        let tls = Tls::of(settings)?;
        let listener = TcpListener::bind(listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let max_body = settings.max_body_bytes;
        let factory = move || {
            let configure = Arc::clone(&app.configure);
            actix_web::App::new()
                .app_data(PayloadConfig::new(max_body))
                .app_data(web::JsonConfig::default().limit(max_body))
                .app_data(ErrorFace(app.face))
                .app_data(AccessLog(app.access_log))
                .app_data(app.trusted_proxies.clone())
                .app_data(Refusals(app.recorder.clone()))
                .app_data(app.headers)
                .wrap(Condition::new(app.cors.is_on(), app.cors.layer()))
                .wrap(from_fn(observe))
                .configure(move |config| configure(config))
                .default_service(web::to(unmatched))
        };
        let workers = match settings.workers {
            0 => available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let server = HttpServer::new(factory)
            .workers(workers)
            .keep_alive(Duration::from_secs(settings.keep_alive_s))
            .client_request_timeout(Duration::from_millis(settings.header_timeout_ms))
            .shutdown_timeout(settings.shutdown_timeout_s)
            .disable_signals();
        let server = match &tls {
            Some(tls) => server
                .tls_handshake_timeout(Duration::from_millis(settings.header_timeout_ms))
                .listen_rustls_0_23(listener, tls.config()?),
            None => server.listen(listener),
        };
        let server = server.map_err(failed)?.run();
        let handle = server.handle();
        Ok(Self { address, tls, handle, task: tokio::spawn(server) })
    }

    /// What clients write before a path: `http://127.0.0.1:8000`, or with `https` where TLS is on.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Takes no new requests, lets those under way end, and returns.
    pub async fn stop(self) {
        self.handle.stop(true).await;
        if let Ok(Err(error)) = self.task.await {
            tracing::error!(%error, "the HTTP server failed");
        }
    }
}

async fn unmatched(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let verb = if *request.method() == Method::HEAD { "GET" } else { request.method().as_str() };
    let shown: String = request.path().chars().take(200).collect();
    Err(Problem(ApiError::new(
        ErrorCode::NotFound,
        format!("there is no `{verb} {shown}`: see `GET /docs` for what there is"),
    )))
}
