//! A running engine's public API, for the command line.

use std::time::Duration;

use contracts::{ApiError, ErrorCode, FieldError};
use reqwest::{Client, Method, RequestBuilder, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A running engine.
pub struct Engine {
    client: Client,
    url: Url,
    token: String,
}

impl Engine {
    /// The engine at a base URL, asked with a token or an API key.
    ///
    /// # Errors
    /// `bad_request` if it is no such URL; `internal` if the HTTP client cannot be set up.
    pub fn new(url: &str, token: &str, patience: Duration) -> Result<Self, ApiError> {
        let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = parsed.ok_or_else(|| {
            let why = format!("`{url}` is no URL of an engine: write `http://<host>:<port>`");
            ApiError::new(ErrorCode::BadRequest, why)
        })?;
        let client = Client::builder().timeout(patience).build();
        let client = client.map_err(|_cause| ApiError::internal())?;
        Ok(Self { client, url, token: token.to_owned() })
    }

    /// `GET`.
    ///
    /// # Errors
    /// What the engine answers; `unavailable` if it cannot be reached.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, ApiError> {
        let mut url = self.at(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.ask(self.client.request(Method::GET, url)).await
    }

    /// `POST`.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        self.ask(self.client.request(Method::POST, self.at(path)?).json(body)).await
    }

    /// `PUT`.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        self.ask(self.client.request(Method::PUT, self.at(path)?).json(body)).await
    }

    /// `PATCH` at the path of these parts, of which each may hold any character.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub async fn patch<T: DeserializeOwned>(
        &self,
        parts: &[&str],
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        self.ask(self.client.request(Method::PATCH, self.of(parts)?).json(body)).await
    }

    /// `DELETE` at the path of these parts.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub async fn delete<T: DeserializeOwned>(&self, parts: &[&str]) -> Result<T, ApiError> {
        self.ask(self.client.request(Method::DELETE, self.of(parts)?)).await
    }

    fn at(&self, path: &str) -> Result<Url, ApiError> {
        self.url.join(path).map_err(|_cause| ApiError::internal())
    }

    fn of(&self, parts: &[&str]) -> Result<Url, ApiError> {
        let mut url = self.url.clone();
        let path = url.path_segments_mut().map_err(|()| ApiError::internal());
        path?.clear().extend(parts);
        Ok(url)
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ApiError> {
        #[derive(Deserialize)]
        struct Problem {
            code: ErrorCode,
            detail: String,
            #[serde(default)]
            errors: Vec<FieldError>,
        }
        let unreachable = |error: reqwest::Error| {
            let why = format!("the engine at `{}` cannot be reached: {error}", self.url);
            ApiError::new(ErrorCode::Unavailable, why)
        };
        let answer = request.bearer_auth(&self.token).send().await.map_err(unreachable)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(unreachable)?;
        if !status.is_success() {
            return Err(match serde_json::from_slice::<Problem>(&body) {
                Ok(Problem { code, detail, errors }) => {
                    ApiError { errors, ..ApiError::new(code, detail) }
                }
                Err(_) => {
                    let why =
                        format!("`{}` answered {status}, but not as an engine does", self.url);
                    ApiError::new(ErrorCode::Unavailable, why)
                }
            });
        }
        serde_json::from_slice(&body).map_err(|error| {
            let why = format!("`{}` answered what does not fit: {error}", self.url);
            ApiError::new(ErrorCode::Unavailable, why)
        })
    }
}
