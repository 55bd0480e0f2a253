//! What a browser keeps while a person is at the identity provider: a random secret, sealed with the
//! second of its making. All that the provider is told is made from it, so that every replica that has
//! the key can end what another one began, and nothing is kept for who never comes back.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::{AuthError, random};

/// A sign-in under way.
pub(super) struct Ticket {
    /// What the browser keeps.
    pub(super) cookie: String,
    /// The second of its making.
    pub(super) issued_at: i64,
    /// Comes back with the browser, and shows that it was this one that was sent away.
    pub(super) state: String,
    /// Comes back in the ID token, and shows that it was made for this sign-in.
    pub(super) nonce: String,
    /// Shown for the code, which is of no use without it (PKCE, RFC 7636).
    pub(super) verifier: String,
}

impl Ticket {
    /// A new one.
    pub(super) fn issue(key: &[u8; 32], now: i64) -> Result<Self, AuthError> {
        let secret = random::token()?;
        let cookie = format!("{now}.{secret}.{}", derive(key, "seal", &format!("{now}.{secret}")));
        Ok(Self::of(key, cookie, now, &secret))
    }

    /// The one that a browser shows, if we made it.
    pub(super) fn read(key: &[u8; 32], cookie: &str) -> Option<Self> {
        let (sealed, seal) = cookie.rsplit_once('.')?;
        let seal = URL_SAFE_NO_PAD.decode(seal).ok()?;
        mac(key, "seal", sealed).verify_slice(&seal).ok()?;
        let (issued_at, secret) = sealed.split_once('.')?;
        Some(Self::of(key, cookie.to_owned(), issued_at.parse().ok()?, secret))
    }

    fn of(key: &[u8; 32], cookie: String, issued_at: i64, secret: &str) -> Self {
        Self {
            cookie,
            issued_at,
            state: derive(key, "state", secret),
            nonce: derive(key, "nonce", secret),
            verifier: derive(key, "verifier", secret),
        }
    }

    /// What the provider is told of the verifier (`S256`).
    pub(super) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(&self.verifier))
    }
}

fn derive(key: &[u8; 32], what: &str, of: &str) -> String {
    URL_SAFE_NO_PAD.encode(mac(key, what, of).finalize().into_bytes())
}

fn mac(key: &[u8; 32], what: &str, of: &str) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(what.as_bytes());
    mac.update(&[0]);
    mac.update(of.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_as_it_was_made_by_whoever_has_the_key() {
        let made = Ticket::issue(&[7; 32], 1000).unwrap();
        let read = Ticket::read(&[7; 32], &made.cookie).unwrap();
        assert_eq!((read.issued_at, &read.state, &read.nonce), (1000, &made.state, &made.nonce));
        assert_eq!((read.verifier.len(), &read.verifier), (43, &made.verifier));
        assert!(Ticket::read(&[8; 32], &made.cookie).is_none());
        let other = Ticket::issue(&[7; 32], 1000).unwrap();
        assert_ne!(other.state, made.state);
        assert_ne!(made.state, made.nonce);
    }

    #[test]
    fn a_changed_ticket_is_none() {
        let cookie = Ticket::issue(&[7; 32], 1000).unwrap().cookie;
        let later = cookie.replacen("1000.", "2000.", 1);
        let cut = cookie.get(..cookie.len() - 2).unwrap();
        for bad in [later.as_str(), cut, "", ".", "..", "a.b.c"] {
            assert!(Ticket::read(&[7; 32], bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_challenge_is_the_one_of_the_rfc() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned();
        let ticket = Ticket { verifier, ..Ticket::issue(&[7; 32], 1000).unwrap() };
        assert_eq!(
            ticket.challenge(),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            "RFC 7636, B"
        );
    }
}
