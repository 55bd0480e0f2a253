//! What can go wrong in the auth service.

use std::io;
use std::path::PathBuf;

use contracts::{ApiError, Deadline, ErrorCode};
use storage::StoreError;

/// A failure of the auth service.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The caller may not do this, or asked for it in the wrong way.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// The user name or the password is wrong; which one is not told.
    #[error("user name or password is wrong")]
    WrongPassword,
    /// There were too many failures under this name.
    #[error("too many failures to sign in under this name: wait {seconds} s")]
    LockedOut {
        /// How long to wait.
        seconds: u32,
    },
    /// A refresh token that is none, or of a session that is over.
    #[error(
        "refresh token refused: its session is over; sign in again with `POST /api/v1/auth/token`"
    )]
    NoSession,
    /// A refresh token that was used before.
    #[error(
        "refresh token refused: it was used before, so somebody else may have it; the session is ended, sign in again"
    )]
    Replayed,
    /// No identity provider is set up.
    #[error(
        "sign-in through an identity provider is off: an admin can set it up in the section [auth.oidc] of the settings"
    )]
    NoProvider,
    /// Somebody came back from the identity provider without proof of who it is.
    #[error("sign-in refused: {0}; begin again with `GET /api/v1/auth/oidc/login`")]
    NotVouchedFor(String),
    /// Somebody whom the identity provider knows may not sign in here.
    #[error("`{who}` may not sign in: {why}")]
    NotLetIn {
        /// Who.
        who: String,
        /// Why not.
        why: String,
    },
    /// The identity provider does something that it should not, or the settings do not fit it.
    #[error("the identity provider cannot be used: {0}")]
    Provider(String),
    /// An API key is wrong, revoked or expired; which of these is not told.
    #[error("API key refused: it is unknown, revoked or expired; ask an admin for another one")]
    NoKey,
    /// What only a person who signed in can do.
    #[error("this takes a session: sign in with `POST /api/v1/auth/token`; an API key has none")]
    NotASession,
    /// The secret that the services share is wrong.
    #[error(
        "service secret is wrong: give this service the content of the auth service's `service.secret` as the setting `services.secret`"
    )]
    WrongSecret,
    /// No password could be hashed before the request's deadline.
    #[error("passwords are being checked too slowly: all hashing threads are busy")]
    Busy,
    /// The store of the accounts.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A setting has a value that cannot work.
    #[error("setting `{setting}` is `{value}`, but it must be {must_be}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        must_be: String,
    },
    /// A file of keys cannot be read or written.
    #[error("failed to use key file `{path}`: check that its folder may be written")]
    KeyFile {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of keys may be read by other users of the machine.
    #[error(
        "key file `{path}` may be read by others (mode {mode:03o}): run `chmod 600 {path}`, or mount it with mode 0400"
    )]
    KeyFileOpen {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file of keys holds something else.
    #[error(
        "key file `{path}` holds no {must_be}: put the right file there, or move it away to have a new one made"
    )]
    KeyFileContent {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        must_be: &'static str,
        /// Why, if its content was read at all.
        source: Option<ed25519_dalek::pkcs8::Error>,
    },
    /// The system gives no random bytes.
    #[error("failed to get random bytes from the system")]
    Random(#[source] getrandom::Error),
    /// A password cannot be hashed or compared.
    #[error("failed to hash a password")]
    Hash(#[source] argon2::password_hash::Error),
    /// A token cannot be signed.
    #[error("failed to sign a token")]
    Sign(#[source] jsonwebtoken::errors::Error),
    /// An entry of the audit trail cannot be written or read.
    #[error("failed to write or read an entry of the audit trail")]
    Entry(#[source] serde_json::Error),
    /// Work on another thread came to no end.
    #[error("work on another thread was broken off")]
    BrokenOff(#[source] tokio::task::JoinError),
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Refused(error) => error,
            AuthError::WrongPassword
            | AuthError::WrongSecret
            | AuthError::NoSession
            | AuthError::Replayed
            | AuthError::NotVouchedFor(_)
            | AuthError::NoKey => Self::new(ErrorCode::Unauthenticated, error.to_string()),
            AuthError::NotASession | AuthError::NotLetIn { .. } => {
                Self::new(ErrorCode::Forbidden, error.to_string())
            }
            AuthError::NoProvider => Self::new(ErrorCode::NotFound, error.to_string()),
            AuthError::Provider(_) => {
                log(&error);
                let why = "the identity provider cannot be used now: the log of the auth service says why";
                Self::new(ErrorCode::Unavailable, why).retry_after(1)
            }
            AuthError::LockedOut { seconds } => {
                Self::new(ErrorCode::RateLimited, error.to_string()).retry_after(seconds)
            }
            AuthError::Busy => Deadline::passed(),
            AuthError::Store(error) => of_store(error),
            AuthError::Setting { .. }
            | AuthError::KeyFile { .. }
            | AuthError::KeyFileOpen { .. }
            | AuthError::KeyFileContent { .. }
            | AuthError::Random(_)
            | AuthError::Hash(_)
            | AuthError::Sign(_)
            | AuthError::Entry(_)
            | AuthError::BrokenOff(_) => {
                log(&error);
                Self::internal()
            }
        }
    }
}

fn of_store(error: StoreError) -> ApiError {
    match error {
        StoreError::Conflict { .. } => ApiError::new(ErrorCode::Conflict, error.to_string()),
        StoreError::NotFound { .. } => ApiError::new(ErrorCode::NotFound, error.to_string()),
        StoreError::Invalid { .. } => ApiError::new(ErrorCode::Unprocessable, error.to_string()),
        StoreError::Unavailable { .. } => {
            log(&error);
            ApiError::new(ErrorCode::Unavailable, "the user store cannot be reached: try again")
                .retry_after(1)
        }
        _ => {
            log(&error);
            ApiError::internal()
        }
    }
}

fn log(error: &(dyn std::error::Error + 'static)) {
    tracing::error!(error, "auth service failed");
}
