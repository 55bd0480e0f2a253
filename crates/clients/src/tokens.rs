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
    current: Mutex<Option<Kept>>,
}

struct Kept {
    token: AccessToken,
    renew_at: Instant,
    expires_at: Instant,
}

/// An auth service that did not answer is asked again after this time.
const RETRY: Duration = Duration::from_secs(2);

impl ServiceTokens {
    /// Signs in as `service` with the secret that the services share.
    pub fn new(auth: Arc<dyn AuthApi>, service: &str, secret: &str) -> Self {
        let sign_in = ServiceSignIn { service: service.to_owned(), secret: secret.to_owned() };
        Self { auth, sign_in, current: Mutex::new(None) }
    }

    /// A token good for some time yet. While the auth service cannot be reached, the last one
    /// serves on until it expires.
    ///
    /// # Errors
    /// What the auth service answers; `unavailable` if it cannot be reached.
    pub async fn get(&self) -> Result<AccessToken, ApiError> {
        let mut current = self.current.lock().await;
        if let Some(kept) = &*current
            && Instant::now() < kept.renew_at
        {
            return Ok(kept.token.clone());
        }
        let mut call = Call::service(&self.sign_in.service, Duration::from_secs(5));
        call.principal = None;
        let answer = self.auth.service_token(call, self.sign_in.clone()).await;
        let now = Instant::now();
        let answer = match (answer, &mut *current) {
            (Ok(answer), _) => answer,
            (Err(_), Some(kept)) if now < kept.expires_at => {
                kept.renew_at = now + RETRY;
                return Ok(kept.token.clone());
            }
            (Err(error), _) => return Err(error),
        };
        let good_for = Duration::from_secs(answer.expires_in);
        let token = AccessToken::new(answer.access_token);
        let kept =
            Kept { token: token.clone(), renew_at: now + good_for / 2, expires_at: now + good_for };
        *current = Some(kept);
        Ok(token)
    }
}
