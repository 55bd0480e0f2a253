//! Sign-in through an identity provider, by OpenID Connect.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ApiError;

/// A sign-in that was begun: where the browser goes, and what it keeps meanwhile.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct OidcBegun {
    /// The identity provider's page, with all that it has to be told.
    pub location: String,
    /// What the browser shows when it comes back. Nobody else may have it.
    pub cookie: String,
    /// How long the browser keeps it, seconds.
    pub max_age_s: u32,
    /// The path that it is shown at, and below.
    pub path: String,
    /// Whether it is sent over TLS alone.
    pub secure: bool,
}

/// A browser that came back.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct OidcFinish {
    /// What it kept; empty if it shows nothing.
    pub cookie: String,
    /// The provider's `code`, good once.
    pub code: String,
    /// The `state`, as the provider was told.
    pub state: String,
    /// Who says so (`iss`, RFC 9207), if the provider tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Why there is no code, as the provider has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How an identity provider is asked over HTTP. `clients` implements it.
#[async_trait]
pub trait ProviderHttp: Send + Sync {
    /// Asks once and follows no redirect.
    ///
    /// # Errors
    /// `unavailable` that says why there is no whole answer within the limits of the request.
    async fn ask(&self, request: ProviderRequest) -> Result<ProviderAnswer, ApiError>;
}

/// A request to an identity provider.
pub struct ProviderRequest {
    /// Where.
    pub url: String,
    /// The fields of a form that is sent by `POST`; `None` for a `GET`.
    pub form: Option<Vec<(&'static str, String)>>,
    /// The header `Authorization`.
    pub authorization: Option<String>,
    /// How long to wait for the whole answer.
    pub patience: Duration,
    /// The most bytes of an answer.
    pub max_bytes: usize,
}

/// What an identity provider answered.
pub struct ProviderAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}
