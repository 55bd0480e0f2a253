//! One call over HTTP: headers, deadline, errors, and which of several base URLs takes it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use contracts::{ApiError, Call, Deadline, Endpoint, ErrorCode, FieldError, Wire};
use domain::Role;
use reqwest::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use reqwest::{Client, Response};
use serde::Deserialize;

use crate::ServiceTokens;
use crate::observe::Observed;
use crate::places::{Base, Places};

/// Calls one service over kept connections. Where it has several base URLs, calls take turns.
#[derive(Clone)]
pub struct Transport {
    client: Client,
    name: &'static str,
    places: Arc<Places>,
    tokens: Option<Arc<ServiceTokens>>,
    /// Whether the caller chooses among replicas by itself. It then has to tell a replica that
    /// cannot be reached (no time to try again) from one that has too much to do.
    replica: bool,
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// A call that waited this long for nothing shows that the other side hangs.
const HANGS: Duration = Duration::from_secs(1);

/// The HTTP client of all transports.
pub(crate) fn http_client() -> Result<Client, ApiError> {
    let client =
        Client::builder().no_proxy().connect_timeout(Duration::from_secs(2)).tcp_nodelay(true);
    client.build().map_err(|error| {
        tracing::error!(%error, "failed to set up the HTTP client");
        ApiError::internal()
    })
}

impl Transport {
    /// Calls the service `name` at `place`: base URLs such as `http://127.0.0.1:8002`, separated by
    /// commas, or `dns+http://router:8002` for all addresses of a name. Calls on the service's own
    /// account carry a token of `tokens`.
    ///
    /// # Errors
    /// `unprocessable` if `place` is neither; `internal` if the HTTP client cannot be set up.
    pub fn new(
        name: &'static str,
        place: &str,
        tokens: Option<Arc<ServiceTokens>>,
    ) -> Result<Self, ApiError> {
        let places = Arc::new(Places::new(name, place)?);
        Ok(Self { client: http_client()?, name, places, tokens, replica: false })
    }

    /// Calls one replica of the service `name`.
    pub(crate) fn replica(
        client: &Client,
        name: &'static str,
        url: &str,
        tokens: Arc<ServiceTokens>,
    ) -> Self {
        Self {
            client: client.clone(),
            name,
            places: Arc::new(Places::one(name, url)),
            tokens: Some(tokens),
            replica: true,
        }
    }

    /// Sends a request and reads its answer. A base URL that refuses the connection is passed over;
    /// a request that was sent but not answered goes to one other, if the endpoint is repeatable.
    ///
    /// # Errors
    /// What the service answered; `unavailable` if it cannot be reached; `timeout` at the deadline.
    pub async fn call<Req: Wire, Res: Wire>(
        &self,
        endpoint: &Endpoint<Req, Res>,
        call: &Call,
        request: &Req,
    ) -> Result<Res, ApiError> {
        let headers = self.headers::<Req>(call).await?;
        let body = request.to_wire()?;
        let mut bases = self.places.in_turn().await;
        if let [only] = bases.as_slice() {
            // A connection refused may be one dropped in a restart: once more does no harm.
            let again = Arc::clone(only);
            bases.push(again);
        }
        let mut attempts = 0;
        let mut repeats = u32::from(endpoint.repeatable && !self.replica);
        let mut last: Option<ApiError> = None;
        let mut sent_to: Option<Arc<Base>> = None;
        for base in bases {
            if sent_to.as_ref().is_some_and(|first| first.url == base.url) {
                continue;
            }
            let sent = self.send(&base, endpoint.path, call, &headers, &body, attempts).await;
            attempts += 1;
            let failure = match sent {
                Ok(response) if response.status().is_success() => match response.bytes().await {
                    Ok(body) => return self.read(body),
                    Err(error) => error,
                },
                Ok(response) => return Err(self.refused(response).await),
                Err(Some(error)) => error,
                Err(None) => return Err(last.unwrap_or_else(Deadline::passed)),
            };
            last = Some(self.failed(&base, &failure));
            if failure.is_connect() {
                continue;
            }
            if failure.is_timeout() || repeats == 0 {
                break;
            }
            repeats -= 1;
            sent_to = Some(base);
        }
        Err(last.unwrap_or_else(|| self.unreachable()))
    }

    /// Sends a request to one base URL. The error is `None` when the deadline has passed.
    async fn send(
        &self,
        base: &Base,
        path: &'static str,
        call: &Call,
        headers: &HeaderMap,
        body: &Bytes,
        resent: u32,
    ) -> Result<Response, Option<reqwest::Error>> {
        let left = call.deadline.left();
        if left.is_zero() {
            return Err(None);
        }
        let url = format!("{}{path}", base.url);
        let (observed, trace) = Observed::begin(&call.trace, self.name, path, resent);
        let mut headers = headers.clone();
        if let Some(parent) = trace.and_then(|own| HeaderValue::from_str(&own.parent).ok()) {
            headers.insert(TRACEPARENT, parent);
        }
        let request = self.client.post(url).headers(headers).body(body.clone());
        let sent = request.timeout(left).send().await;
        observed.end(&sent);
        sent.map_err(|error| {
            // Whoever had little time learns nothing of the other side.
            if !error.is_timeout() || error.is_connect() || left >= HANGS {
                base.rest();
            }
            Some(error)
        })
    }

    fn read<Res: Wire>(&self, body: Bytes) -> Result<Res, ApiError> {
        Res::from_wire(body).map_err(|error| {
            tracing::error!(service = self.name, %error, "an answer does not fit its contract");
            ApiError::internal()
        })
    }

    async fn headers<Req: Wire>(&self, call: &Call) -> Result<HeaderMap, ApiError> {
        let mut headers = HeaderMap::with_capacity(6);
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        set(CONTENT_TYPE, Req::CONTENT_TYPE);
        set(HeaderName::from_static("x-request-id"), call.request_id.as_str());
        set(
            HeaderName::from_static("x-deadline-ms"),
            &call.deadline.left().as_millis().max(1).to_string(),
        );
        if let Some(client) = call.client {
            set(HeaderName::from_static("x-client-address"), &client.to_string());
        }
        if !call.trace.parent.is_empty() {
            set(TRACEPARENT, &call.trace.parent);
            set(HeaderName::from_static("tracestate"), &call.trace.state);
        }
        let own_account =
            call.principal.as_ref().is_some_and(|caller| caller.role == Role::Service);
        let token = match (&call.token, &self.tokens) {
            (Some(token), _) => Some(token.clone()),
            (None, Some(tokens)) if own_account => Some(tokens.get().await?),
            (None, _) => None,
        };
        if let Some(token) = token {
            set(AUTHORIZATION, &format!("Bearer {}", token.reveal()));
        }
        Ok(headers)
    }

    fn failed(&self, base: &Base, error: &reqwest::Error) -> ApiError {
        if error.is_timeout() && !error.is_connect() {
            return Deadline::passed();
        }
        tracing::warn!(service = self.name, url = base.url, %error, "failed to reach a service");
        self.unreachable()
    }

    fn unreachable(&self) -> ApiError {
        self.unavailable("cannot be reached")
    }

    fn unavailable(&self, how: &str) -> ApiError {
        let text = format!("the {} service {how}", self.name);
        let error = ApiError::new(ErrorCode::Unavailable, text);
        if self.replica { error } else { error.retry_after(1) }
    }

    async fn refused(&self, response: Response) -> ApiError {
        #[derive(Deserialize)]
        struct Problem {
            code: ErrorCode,
            detail: String,
            #[serde(default)]
            errors: Vec<FieldError>,
        }
        let status = response.status();
        let retry_after_s = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse().ok());
        match response.json::<Problem>().await {
            Ok(Problem { code, detail, errors }) => {
                ApiError { errors, retry_after_s, ..ApiError::new(code, detail) }
            }
            Err(error) => {
                tracing::error!(service = self.name, %status, %error, "a service failed without a problem document");
                self.unavailable("failed")
            }
        }
    }
}
