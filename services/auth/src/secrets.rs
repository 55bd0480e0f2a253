//! Secrets that we make: 256 random bits, of which only the digest is kept. They need no slow hash,
//! since nobody can try 2^256 of them.

use domain::hex;
use sha2::{Digest as _, Sha256};

use crate::{AuthError, random};

/// A new secret, and what is kept of it.
pub(crate) fn make() -> Result<(String, String), AuthError> {
    let secret = random::token()?;
    let digest = digest(&secret);
    Ok((secret, digest))
}

/// SHA-256, lower-case hex.
pub(crate) fn digest(text: &str) -> String {
    hex(&Sha256::digest(text))
}

/// Whether the secret has this digest; takes the same time whatever part of it is right.
pub(crate) fn matches(secret: &str, kept: &str) -> bool {
    let given = digest(secret);
    let differences =
        given.bytes().zip(kept.bytes()).fold(0, |sum, (ours, theirs)| sum | (ours ^ theirs));
    given.len() == kept.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_itself_matches() {
        let (secret, kept) = make().unwrap();
        assert!(matches(&secret, &kept));
        assert!(!matches(&secret, ""));
        assert!(!matches(&format!("{secret} "), &kept) && !matches("", &kept));
        assert_eq!(digest("abc").get(..8), Some("ba7816bf"), "FIPS 180-2, B.1");
    }
}
