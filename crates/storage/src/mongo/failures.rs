//! The driver's errors, by what a caller would do about them.

use std::io;

use mongodb::error::{Error, ErrorKind, InsertManyError, WriteFailure};
use tokio::time::error::Elapsed;

use crate::StoreError;
use crate::error::Cause;

/// The server's code for a key that is there already.
const KNOWN_KEY: i32 = 11000;

/// Codes of a server that stops, restarts or is not the primary (any longer). Another connection
/// finds the one that is.
const GOING: [i32; 11] = [6, 7, 89, 91, 189, 9001, 10107, 11600, 11602, 13435, 13436];

/// Codes by which trying again may help, but not at once: locked (24), out of time (50, 202, 262),
/// write concern not met in time (64), write conflict (112), no fitting member (133, 134), index
/// build interrupted (276), operation interrupted (11601), disk full (14031).
const BUSY: [i32; 11] = [24, 50, 64, 112, 133, 134, 202, 262, 276, 11601, 14031];

/// Sorts a driver's error.
pub(super) fn failure(shown: &str, action: &'static str, cause: &Error) -> StoreError {
    let store = shown.to_owned();
    let source = reason(cause);
    if is_passing(cause) {
        StoreError::Unavailable { store, action, source }
    } else {
        StoreError::Failed { store, action, source }
    }
}

/// The error for an answer that did not come in time.
pub(super) fn late(shown: &str, action: &'static str, cause: Elapsed) -> StoreError {
    StoreError::Unavailable { store: shown.to_owned(), action, source: cause.into() }
}

/// Whether the connection or its server is gone, so that another one may do the work at once.
pub(super) fn is_gone(cause: &Error) -> bool {
    match &*cause.kind {
        ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. } => true,
        _ => code(cause).is_some_and(|code| GOING.contains(&code)),
    }
}

/// Whether all that is wrong is that the key is there already.
pub(super) fn is_known(cause: &Error) -> bool {
    match &*cause.kind {
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.code == KNOWN_KEY,
        ErrorKind::InsertMany(InsertManyError {
            write_errors: Some(errors),
            write_concern_error: None,
            ..
        }) => errors.iter().all(|error| error.code == KNOWN_KEY),
        _ => false,
    }
}

/// The server's code, if the error is the server's. Where several, the first that is not about a
/// known key.
pub(super) fn code(cause: &Error) -> Option<i32> {
    server_error(cause).map(|(code, _)| code)
}

fn is_passing(cause: &Error) -> bool {
    match &*cause.kind {
        ErrorKind::ServerSelection { .. } | ErrorKind::DnsResolve { .. } => true,
        _ => is_gone(cause) || code(cause).is_some_and(|code| BUSY.contains(&code)),
    }
}

fn server_error(cause: &Error) -> Option<(i32, &str)> {
    match &*cause.kind {
        ErrorKind::Command(error) => Some((error.code, &error.message)),
        ErrorKind::Write(WriteFailure::WriteError(error)) => Some((error.code, &error.message)),
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => {
            Some((error.code, &error.message))
        }
        ErrorKind::InsertMany(errors) => {
            let mut refused = errors.write_errors.iter().flatten();
            let refused = refused.find(|error| error.code != KNOWN_KEY);
            let refused = refused.map(|error| (error.code, error.message.as_str()));
            let concern = errors.write_concern_error.as_ref();
            refused.or_else(|| concern.map(|error| (error.code, error.message.as_str())))
        }
        _ => None,
    }
}

/// What went wrong, in a sentence. The driver's own text quotes the server's whole answer, and so
/// may hold people's data.
fn reason(cause: &Error) -> Cause {
    if let ErrorKind::Io(cause) = &*cause.kind {
        return Cause::from(io::Error::new(cause.kind(), cause.to_string()));
    }
    server_error(cause)
        .map_or_else(
            || cause.kind.to_string(),
            |(code, message)| format!("the server answered with error {code}: {message}"),
        )
        .into()
}

#[cfg(test)]
mod tests {
    use mongodb::error::CommandError;
    use serde_json::json;

    use super::*;

    fn failure_of(kind: ErrorKind) -> StoreError {
        failure("mongodb://h/engine", "read", &Error::from(kind))
    }

    fn command(code: i32) -> ErrorKind {
        let error = json!({ "code": code, "codeName": "Name", "errmsg": "why" });
        ErrorKind::Command(serde_json::from_value::<CommandError>(error).unwrap())
    }

    fn insert_many(codes: &[i32], concern: Option<i32>) -> ErrorKind {
        let errors = codes.iter().map(|code| json!({ "code": code, "errmsg": code.to_string() }));
        let error = json!({
            "writeErrors": errors.collect::<Vec<_>>(),
            "writeConcernError": concern.map(|code| json!({ "code": code, "errmsg": "slow" })),
        });
        ErrorKind::InsertMany(serde_json::from_value(error).unwrap())
    }

    #[test]
    fn passing_failures_are_unavailable_and_others_are_not() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let passing = [ErrorKind::Io(refused.into())];
        for kind in passing.into_iter().chain([10107, 91, 11600, 50, 64].map(command)) {
            let error = failure_of(kind);
            assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        }
        // Not authorised, wrong password, unknown command.
        for code in [13, 18, 59] {
            let error = failure_of(command(code));
            assert!(matches!(error, StoreError::Failed { .. }), "{error:?}");
        }
        let StoreError::Failed { source, .. } = failure_of(command(13)) else {
            panic!("not `failed`");
        };
        assert_eq!(source.to_string(), "the server answered with error 13: why");
    }

    #[test]
    fn known_keys_are_passed_over_only_if_nothing_else_is_wrong() {
        let known = |kind| is_known(&Error::from(kind));
        assert!(known(insert_many(&[11000, 11000], None)));
        assert!(!known(insert_many(&[11000, 10334], None)));
        assert!(!known(insert_many(&[11000], Some(64))));
        assert!(!known(insert_many(&[], Some(64))));
        assert!(!known(command(64)));
        assert_eq!(code(&Error::from(insert_many(&[11000, 10334], Some(64)))), Some(10334));
        assert_eq!(code(&Error::from(insert_many(&[11000], Some(91)))), Some(91));
    }
}
