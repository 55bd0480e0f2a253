//! One call over HTTP.

use std::sync::Arc;
use std::time::Duration;

use contracts::{ApiError, Call, Deadline, Endpoint, ErrorCode, FieldError, Wire};
use domain::Role;
use reqwest::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use reqwest::{Client, Response};
use serde::Deserialize;

use crate::ServiceTokens;

/// Calls one service at one base URL, over kept connections.
#[derive(Clone)]
pub struct Transport {
    client: Client,
    name: &'static str,
    base: String,
    tokens: Option<Arc<ServiceTokens>>,
}

impl Transport {
    /// Calls the service `name` at `base`, such as `http://127.0.0.1:8002`. Calls on the service's
    /// own account carry a token of `tokens`.
    ///
    /// # Errors
    /// `internal` if the HTTP client cannot be set up.
    pub fn new(
        name: &'static str,
        base: &str,
        tokens: Option<Arc<ServiceTokens>>,
    ) -> Result<Self, ApiError> {
        let client = Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(2))
            .tcp_nodelay(true)
            .build()
            .map_err(|error| {
                tracing::error!(%error, "failed to set up the HTTP client");
                ApiError::internal()
            })?;
        Ok(Self { client, name, base: base.trim_end_matches('/').to_owned(), tokens })
    }

    /// Sends a request and reads its answer.
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
        let url = format!("{}{}", self.base, endpoint.path);
        let mut first = true;
        let response = loop {
            let left = call.deadline.left();
            if left.is_zero() {
                return Err(Deadline::passed());
            }
            let sent = self.client.post(&url).headers(headers.clone()).body(body.clone());
            match sent.timeout(left).send().await {
                Ok(response) => break response,
                // Nothing was sent yet, so once more does no harm.
                Err(error) if error.is_connect() && first => first = false,
                Err(error) => return Err(self.failed(&error)),
            }
        };
        if response.status().is_success() {
            let body = response.bytes().await.map_err(|error| self.failed(&error))?;
            return Res::from_wire(body).map_err(|error| {
                tracing::error!(service = self.name, %error, "an answer does not fit its contract");
                ApiError::internal()
            });
        }
        Err(self.refused(response).await)
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
            &call.deadline.left().as_millis().to_string(),
        );
        if !call.trace.parent.is_empty() {
            set(HeaderName::from_static("traceparent"), &call.trace.parent);
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

    fn failed(&self, error: &reqwest::Error) -> ApiError {
        if error.is_timeout() && !error.is_connect() {
            return Deadline::passed();
        }
        tracing::warn!(service = self.name, url = self.base, %error, "failed to reach a service");
        ApiError::new(
            ErrorCode::Unavailable,
            format!("the {} service cannot be reached", self.name),
        )
        .retry_after(1)
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
                ApiError { code, message: detail, errors, retry_after_s }
            }
            Err(error) => {
                tracing::error!(service = self.name, %status, %error, "a service failed without a problem document");
                ApiError::new(ErrorCode::Unavailable, format!("the {} service failed", self.name))
                    .retry_after(1)
            }
        }
    }
}
