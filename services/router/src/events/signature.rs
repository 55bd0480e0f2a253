//! Signatures of webhooks, as the Standard Webhooks specification has them (`v1`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::WebhookSecret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Bytes of a key, at least and at most.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The key in a secret; `None` if that is not `whsec_` and 24 to 64 bytes in base64.
pub fn key(secret: &WebhookSecret) -> Option<Vec<u8>> {
    let text = secret.reveal().strip_prefix(WebhookSecret::BEGIN)?;
    STANDARD.decode(text).ok().filter(|key| KEY_BYTES.contains(&key.len()))
}

/// The secret of this key.
pub fn secret(key: &[u8]) -> WebhookSecret {
    WebhookSecret::new(format!("{}{}", WebhookSecret::BEGIN, STANDARD.encode(key)))
}

/// The header `webhook-signature`: `v1,` and base64 of the HMAC-SHA-256 of id, moment (seconds since
/// 1970) and body, with dots between them.
pub fn sign(key: &[u8], id: &str, timestamp: i64, body: &[u8]) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_specification() {
        // The example of the specification's reference libraries.
        let secret = WebhookSecret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = br#"{"test": 2432232314}"#;
        let signature =
            sign(&key(&secret).unwrap(), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_has_its_form_and_enough_bytes() {
        for length in [24, 32, 64] {
            let bytes = vec![7; length];
            assert_eq!(key(&secret(&bytes)), Some(bytes));
        }
        for length in [0, 23, 65] {
            assert_eq!(key(&secret(&vec![7; length])), None);
        }
        for bad in
            ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_not base64 at all, is it"]
        {
            assert_eq!(key(&WebhookSecret::new(bad)), None, "{bad}");
        }
    }
}
