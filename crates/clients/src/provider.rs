//! An identity provider, asked over HTTP.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use contracts::auth::{ProviderAnswer, ProviderHttp, ProviderRequest};
use contracts::{ApiError, ErrorCode};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::sync::OnceCell;

/// The identity provider that the settings of the auth service name. It trusts the authorities that
/// the system does, goes through no proxy and follows no redirect.
#[derive(Default)]
pub struct Provider {
    // Made when first asked: reading the authorities takes time, and most engines have no provider.
    client: OnceCell<Client>,
}

impl Provider {
    async fn client(&self) -> Result<&Client, ApiError> {
        let make = || async {
            let client = Client::builder().no_proxy().redirect(Policy::none()).referer(false);
            client.connect_timeout(Duration::from_secs(2)).build().map_err(|error| {
                let error: &dyn Error = &error;
                tracing::error!(error, "failed to set up TLS for the identity provider");
                unavailable("cannot be asked: the log of the auth service says why")
            })
        };
        self.client.get_or_try_init(make).await
    }
}

#[async_trait]
impl ProviderHttp for Provider {
    async fn ask(&self, request: ProviderRequest) -> Result<ProviderAnswer, ApiError> {
        let ProviderRequest { url, form, authorization, patience, max_bytes } = request;
        let client = self.client().await?;
        let mut asked = match form {
            None => client.get(&url),
            Some(fields) => client
                .post(&url)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(encoded(&fields)?),
        };
        if let Some(authorization) = authorization {
            asked = asked.header(AUTHORIZATION, authorization);
        }
        let failed = |error: reqwest::Error| {
            let late = error.is_timeout();
            // With its causes: a name that is unknown, a certificate that nobody vouches for.
            let error: &dyn Error = &error;
            tracing::warn!(url, error, "failed to ask the identity provider");
            unavailable(if late { "does not answer in time" } else { "cannot be reached" })
        };
        let answer = asked.header(ACCEPT, "application/json").timeout(patience).send().await;
        let mut answer = answer.map_err(failed)?;
        let status = answer.status().as_u16();
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > max_bytes {
                tracing::warn!(url, max_bytes, "an answer of the identity provider is too large");
                return Err(unavailable("answers more than `auth.oidc.max_answer_bytes`"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(ProviderAnswer { status, body: body.freeze() })
    }
}

fn unavailable(how: &str) -> ApiError {
    ApiError::new(ErrorCode::Unavailable, format!("the identity provider {how}")).retry_after(1)
}

/// A form as the query of a URL has it.
fn encoded(fields: &[(&'static str, String)]) -> Result<String, ApiError> {
    let mut url = Url::parse("http://form/").map_err(|_cause| ApiError::internal())?;
    url.query_pairs_mut().extend_pairs(fields);
    Ok(url.query().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_encoded() {
        let fields = [("code", "a b&c=d/é".to_owned()), ("grant_type", "x".to_owned())];
        assert_eq!(encoded(&fields).unwrap(), "code=a+b%26c%3Dd%2F%C3%A9&grant_type=x");
    }
}
