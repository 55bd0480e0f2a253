//! The token a service shows when it calls on its own account.

use std::sync::Arc;
use std::time::{Duration, Instant};

use contracts::auth::ServiceSignIn;
use contracts::call::AccessToken;
use contracts::{ApiError, AuthApi, Call};
use tokio::sync::Mutex;

/// Gets a service's token from the auth service and renews it in time.
pub struct ServiceTokens {
    auth: Arc<dyn AuthApi>,
    sign_in: ServiceSignIn,
    current: Mutex<Option<(AccessToken, Instant)>>,
}

impl ServiceTokens {
    /// Signs in as `service` with the secret that the services share.
    pub fn new(auth: Arc<dyn AuthApi>, service: &str, secret: &str) -> Self {
        let sign_in = ServiceSignIn { service: service.to_owned(), secret: secret.to_owned() };
        Self { auth, sign_in, current: Mutex::new(None) }
    }

    /// A token good for some time yet.
    ///
    /// # Errors
    /// What the auth service answers; `unavailable` if it cannot be reached.
    pub async fn get(&self) -> Result<AccessToken, ApiError> {
        let mut current = self.current.lock().await;
        if let Some((token, renew_at)) = &*current
            && Instant::now() < *renew_at
        {
            return Ok(token.clone());
        }
        let mut call = Call::service(&self.sign_in.service, Duration::from_secs(5));
        call.principal = None;
        let token = self.auth.service_token(call, self.sign_in.clone()).await?;
        let good_for = Duration::from_secs(token.expires_in);
        let token_text = AccessToken::new(token.access_token);
        *current = Some((token_text.clone(), Instant::now() + good_for / 2));
        Ok(token_text)
    }
}
