//! Failures to sign in: after some in a row, each further one under that name has to wait longer,
//! whether or not anybody has the name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use contracts::Call;
use domain::{Credential, CredentialKind, SignIns, User};
use storage::StoreError;
use time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::service::Auth;
use crate::{AuthError, secrets};

/// For how long failures are remembered after the last one.
const MEMORY: Duration = Duration::days(1);

/// The tries under way, by name: no more at once than may fail, so that nobody gains by trying all
/// at the same moment.
#[derive(Default)]
pub(crate) struct Tries(Mutex<HashMap<String, Arc<Semaphore>>>);

impl Tries {
    async fn begin(
        &self,
        name: &str,
        at_once: u32,
        call: &Call,
    ) -> Result<OwnedSemaphorePermit, AuthError> {
        let place = {
            let mut tries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody but the map holds those that are over.
            tries.retain(|_, place| Arc::strong_count(place) > 1);
            let new = || Arc::new(Semaphore::new(usize::try_from(at_once).unwrap_or(1)));
            Arc::clone(tries.entry(name.to_owned()).or_insert_with(new))
        };
        let permit = tokio::time::timeout(call.deadline.left(), place.acquire_owned()).await;
        permit.ok().and_then(Result::ok).ok_or(AuthError::Busy)
    }
}

impl Auth {
    /// The user, if the password is right and the user may sign in; in the same time if not.
    pub(crate) async fn check_password(
        &self,
        call: &Call,
        username: &str,
        user: Option<User>,
        password: String,
    ) -> Result<User, AuthError> {
        let name = secrets::digest(username);
        let _try = self.tries.begin(&name, self.settings.lockout_after, call).await?;
        let known = self.sign_ins(&name).await?;
        let wait = known.blocked_until - self.deps.clock.now();
        if wait.is_positive() {
            let seconds = wait.as_seconds_f64().ceil();
            #[expect(clippy::cast_possible_truncation, reason = "a day at most")]
            return Err(AuthError::LockedOut { seconds: seconds as u32 });
        }
        let user = user.filter(|user| !user.password_hash.is_empty());
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        let matches = self.passwords.matches(password, hash, call.deadline).await?;
        // A user who may not sign in is none, as far as anybody can tell.
        match user.filter(|user| matches && !user.disabled) {
            Some(user) => {
                if known.failures > 0 {
                    self.note(&name, |_| 0).await?;
                }
                Ok(user)
            }
            None => {
                self.note(&name, |failures| failures.saturating_add(1)).await?;
                Err(AuthError::WrongPassword)
            }
        }
    }

    async fn sign_ins(&self, name: &str) -> Result<SignIns, AuthError> {
        let found = self.deps.credentials.get(CredentialKind::SignIns, name).await?;
        Ok(match found {
            Some(Credential::SignIns(known)) => known,
            _ => SignIns {
                id: name.to_owned(),
                failures: 0,
                blocked_until: time::OffsetDateTime::UNIX_EPOCH,
                expires_at: time::OffsetDateTime::UNIX_EPOCH,
                revision: 0,
            },
        })
    }

    async fn note(&self, name: &str, failures: impl Fn(u32) -> u32) -> Result<(), AuthError> {
        loop {
            let known = self.sign_ins(name).await?;
            let now = self.deps.clock.now();
            let failures = failures(known.failures);
            let next = SignIns {
                failures,
                blocked_until: now + self.wait_after(failures),
                expires_at: now + MEMORY,
                revision: known.revision + 1,
                id: known.id,
            };
            match self.deps.credentials.put(Credential::SignIns(next)).await {
                Err(StoreError::Conflict { .. }) => {}
                outcome => return Ok(outcome?),
            }
        }
    }

    /// How long nobody may try after so many failures.
    fn wait_after(&self, failures: u32) -> Duration {
        let Some(beyond) = failures.checked_sub(self.settings.lockout_after) else {
            return Duration::ZERO;
        };
        let seconds = 1_u32.checked_shl(beyond).unwrap_or(u32::MAX);
        Duration::seconds(seconds.min(self.settings.lockout_max_s).into())
    }
}
