//! The SHA-256 that an artefact is found by, in lower-case hex.

use domain::hex;
use sha2::{Digest as _, Sha256};

/// The digest of these bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The folder and the file that the bytes with this digest lie in; `None` if it is no digest, so
/// that no path can be smuggled in.
pub(crate) fn place(sha256: &str) -> Option<(&str, &str)> {
    let is_digest =
        sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    sha256.split_at_checked(2).filter(|_| is_digest)
}
