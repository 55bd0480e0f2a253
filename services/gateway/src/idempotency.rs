//! What is done once, however often it is sent: the key, what it stands for, what is kept.

use std::sync::Arc;
use std::time::Duration;

use contracts::{ApiError, ErrorCode};
use domain::{RequestId, hex};
use memchr::memmem;
use runtime::telemetry::{label, metrics};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use storage::StoreError;
use storage::ports::{Begun, Claim, Idempotency};

/// `[gateway.idempotency]`: see `settings.default.toml`, which says what each is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file says it")]
pub struct Settings {
    pub retention_s: u32,
    pub lease_s: u32,
    pub max_answer_bytes: usize,
}

/// Characters of a key at most.
const KEY_CHARS: usize = 255;

/// Claims keys and keeps answers.
pub struct Once {
    store: Arc<dyn Idempotency>,
    retention: Duration,
    lease: Duration,
    max_answer_bytes: usize,
}

/// An answer that is kept: this line, and then the body.
#[derive(Debug, Serialize, Deserialize)]
pub struct Kept {
    /// The HTTP status.
    pub status: u16,
    /// The headers that describe the body.
    pub headers: Vec<(String, String)>,
    /// The failure, where it was one.
    pub refused: Option<ApiError>,
    /// Whether the body was too large to be kept.
    pub too_large: bool,
}

/// What to do with a request.
pub enum First {
    /// Do it, then keep the answer under this claim.
    Do(Claim),
    /// Answer this.
    Replay(Kept, Vec<u8>),
}

impl Once {
    /// Keeps them in `store`.
    pub fn new(settings: &Settings, store: Arc<dyn Idempotency>) -> Self {
        for outcome in ["first", "replayed", "running", "refused", "unavailable"] {
            count(outcome, 0);
        }
        Self {
            store,
            retention: Duration::from_secs(settings.retention_s.into()),
            lease: Duration::from_secs(settings.lease_s.into()),
            max_answer_bytes: settings.max_answer_bytes,
        }
    }

    /// Claims `key` for a request of this client at this route, which takes `time` at most.
    ///
    /// # Errors
    /// `unprocessable` if the key stands for another request, `conflict` while the first is under
    /// way, `unavailable` if the store does not answer.
    pub async fn begin(
        &self,
        (client, route, key): (&str, &str, &str),
        fingerprint: String,
        time: Duration,
    ) -> Result<First, ApiError> {
        let claim = Claim {
            key: format!("{client}:{route}:{key}"),
            fingerprint,
            holder: RequestId::new().to_string(),
            lease: time + self.lease,
        };
        match self.store.begin(&claim).await.map_err(|error| unavailable(&error))? {
            Begun::Claimed => Ok(First::Do(claim)),
            Begun::Done(kept) => replay(&kept),
            Begun::Mismatch => Err(ApiError::new(
                ErrorCode::Unprocessable,
                format!(
                    "the `Idempotency-Key` `{key}` was used for another request: take a new key"
                ),
            )),
            Begun::Running => Err(ApiError::new(
                ErrorCode::Conflict,
                format!(
                    "the first request with the `Idempotency-Key` `{key}` is under way: try again"
                ),
            )
            .retry_after(1)),
        }
    }

    /// Keeps an answer for repeats.
    pub async fn complete(&self, claim: &Claim, mut kept: Kept, body: &[u8]) {
        kept.too_large = body.len() > self.max_answer_bytes;
        let mut bytes = serde_json::to_vec(&kept).unwrap_or_default();
        bytes.push(b'\n');
        if !kept.too_large {
            bytes.extend_from_slice(body);
        }
        match self.store.complete(claim, bytes.into(), self.retention).await {
            Ok(true) => {}
            Ok(false) => tracing::warn!(
                "the answer to a request with an idempotency key came after the key's lease: a repeat may be done again"
            ),
            Err(error) => {
                tracing::warn!(%error, "the answer to a request with an idempotency key is not kept: a repeat may be done again after the key's lease")
            }
        }
    }

    /// Gives the key back: nothing was done.
    pub async fn abandon(&self, claim: &Claim) {
        if let Err(error) = self.store.abandon(claim).await {
            tracing::warn!(%error, "an idempotency key stays taken until its lease ends");
        }
    }
}

/// Counts requests by what became of them.
pub fn count(outcome: &'static str, number: u64) {
    metrics().idempotent_requests.add(number, &[label("outcome", outcome)]);
}

fn unavailable(error: &StoreError) -> ApiError {
    tracing::warn!(%error, "a request with an idempotency key is refused");
    let message = "whether this request was done before cannot be told now: try again, with the same `Idempotency-Key`";
    ApiError::new(ErrorCode::Unavailable, message).retry_after(1)
}

fn replay(bytes: &[u8]) -> Result<First, ApiError> {
    let (line, body) = match memchr::memchr(b'\n', bytes) {
        Some(end) => bytes.split_at(end),
        None => (bytes, &[][..]),
    };
    let kept: Kept = serde_json::from_slice(line).map_err(|error| {
        tracing::error!(%error, "a kept answer cannot be read");
        ApiError::internal()
    })?;
    if kept.too_large {
        return Err(ApiError::new(
            ErrorCode::Conflict,
            format!(
                "this request was done before and answered {}; the answer was too large to be kept (`gateway.idempotency.max_answer_bytes`)",
                kept.status
            ),
        ));
    }
    Ok(First::Replay(kept, body.get(1..).unwrap_or_default().to_vec()))
}

/// The key of the header: a quoted string, as the IETF's draft has it, or bare.
///
/// # Errors
/// `bad_request` if it is none.
pub fn key(header: &str) -> Result<&str, ApiError> {
    let header = header.trim();
    let quoted = header.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let key = quoted.unwrap_or(header);
    let plain = |letter: char| letter.is_ascii_graphic() && !matches!(letter, '"' | '\\');
    if key.is_empty() || key.len() > KEY_CHARS || !key.chars().all(plain) {
        return Err(ApiError::new(
            ErrorCode::BadRequest,
            format!(
                "the header `Idempotency-Key` must be 1 to {KEY_CHARS} visible characters, best a UUID in quotes: `\"8e03978e-40d5-43e8-bc93-6894a57f9324\"`"
            ),
        ));
    }
    Ok(key)
}

/// What tells one request from another: where it goes, and what it brings. Boundaries of forms, which
/// clients make anew for each try, do not count.
pub fn fingerprint(path: &str, content_type: &str, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    };
    add(path.as_bytes());
    let (kind, rest) = content_type.split_once(';').unwrap_or((content_type, ""));
    let kind = kind.trim().to_ascii_lowercase();
    add(kind.as_bytes());
    let boundary = rest.split(';').find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then(|| value.trim_matches('"'))
    });
    match boundary.filter(|boundary| kind.starts_with("multipart/") && !boundary.is_empty()) {
        None => add(body),
        Some(boundary) => {
            let mut from = 0;
            for at in memmem::find_iter(body, boundary.as_bytes()) {
                add(body.get(from..at).unwrap_or_default());
                from = at + boundary.len();
            }
            add(body.get(from..).unwrap_or_default());
        }
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_be_quoted_or_bare() {
        assert_eq!(key("\"8e03978e\"").unwrap(), "8e03978e");
        assert_eq!(key(" 8e03978e ").unwrap(), "8e03978e");
        let long = "x".repeat(256);
        for bad in ["", "\"\"", "a b", "\"a", "a\"b", "a\\b", "é", &long] {
            assert_eq!(key(bad).unwrap_err().code, ErrorCode::BadRequest, "{bad}");
        }
    }

    #[test]
    fn the_fingerprint_sees_what_is_asked_and_not_how_it_is_packed() {
        let form = |boundary: &str, text: &str| {
            let body = format!("--{boundary}\r\nx: y\r\n\r\n{text}\r\n--{boundary}--\r\n");
            let kind = format!("multipart/form-data; boundary=\"{boundary}\"");
            fingerprint("/a", &kind, body.as_bytes())
        };
        assert_eq!(form("----one", "text"), form("----two2", "text"));
        assert_ne!(form("----one", "text"), form("----one", "texts"));
        let json = |path, body| fingerprint(path, "application/json", body);
        assert_eq!(json("/a", b"{}"), json("/a", b"{}"));
        assert_ne!(json("/a", b"{}"), json("/b", b"{}"));
        assert_ne!(json("/a", b"{}"), json("/a", b"{ }"));
        assert_ne!(json("/a", b"{}"), fingerprint("/a", "text/csv", b"{}"));
    }
}
