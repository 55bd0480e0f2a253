//! What travels with every call: headers over HTTP, an argument in process.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use domain::{ModelName, Principal, RequestId, Role};

use crate::{ApiError, ErrorCode};

/// The caller, the request and the time left.
#[derive(Debug, Clone)]
pub struct Call {
    /// Names the request on all hops.
    pub request_id: RequestId,
    /// W3C trace context.
    pub trace: TraceContext,
    /// The address of the client at the door; `None` in a call on a service's own account.
    pub client: Option<IpAddr>,
    /// Who calls; `None` where nobody signed in.
    pub principal: Option<Principal>,
    /// The access token that proved it, for the next hop to verify again. `None` in a call that
    /// a service makes on its own account: its client then adds the service's own token.
    pub token: Option<AccessToken>,
    /// When the answer is due.
    pub deadline: Deadline,
}

impl Call {
    /// A call that a service makes on its own account, such as a background task.
    pub fn service(name: &str, time_left: Duration) -> Self {
        Self {
            request_id: RequestId::new(),
            trace: TraceContext::default(),
            client: None,
            principal: Some(Principal::service(name)),
            token: None,
            deadline: Deadline::after(time_left),
        }
    }

    /// The caller, if its role may use what asks for one of `roles`; each service asks again.
    ///
    /// # Errors
    /// `unauthenticated` without a principal, `forbidden` with another role.
    pub fn require(&self, roles: &[Role]) -> Result<&Principal, ApiError> {
        let Some(principal) = &self.principal else {
            return Err(ApiError::new(
                ErrorCode::Unauthenticated,
                "missing bearer token: send `Authorization: Bearer <token>`, got from `POST /api/v1/auth/token`",
            ));
        };
        if roles.iter().any(|role| principal.role.may(*role)) {
            return Ok(principal);
        }
        let names: Vec<_> = roles.iter().map(|role| format!("`{}`", role.as_str())).collect();
        Err(ApiError::new(
            ErrorCode::Forbidden,
            format!(
                "role `{}` may not do this: it takes {} or higher; ask an admin",
                principal.role.as_str(),
                names.join(" or ")
            ),
        ))
    }

    /// Whether the caller may use this model, which need not exist: what is outside of a caller's
    /// scope cannot be told from what is not there.
    ///
    /// # Errors
    /// `forbidden` if its scope does not name the model.
    pub fn require_model(&self, model: &ModelName) -> Result<(), ApiError> {
        match &self.principal {
            Some(principal) if !principal.scope.has_model(model) => Err(ApiError::new(
                ErrorCode::Forbidden,
                format!("`{}` may not use the model `{model}`: ask an admin", principal.name),
            )),
            _ => Ok(()),
        }
    }
}

/// When an answer is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(Instant);

impl Deadline {
    /// Due after this time.
    pub fn after(time_left: Duration) -> Self {
        Self(Instant::now() + time_left)
    }

    /// The time left; zero when it has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// The moment it is due.
    pub fn instant(self) -> Instant {
        self.0
    }

    /// # Errors
    /// `timeout` when it has passed.
    pub fn check(self) -> Result<(), ApiError> {
        if self.left().is_zero() { Err(Self::passed()) } else { Ok(()) }
    }

    /// The error of a passed deadline.
    pub fn passed() -> ApiError {
        ApiError::new(ErrorCode::Timeout, "not done before the request's deadline")
    }
}

/// W3C trace context: `traceparent` as it came, or one of ours; `tracestate` passed through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// `00-<32 hex>-<16 hex>-<2 hex>`, checked; empty where no trace runs.
    pub parent: String,
    /// Vendors' list, as it came.
    pub state: String,
}

impl TraceContext {
    /// Takes a `traceparent` if it is well formed (W3C Trace Context 1, section 3.2).
    pub fn accept(parent: &str, state: &str) -> Option<Self> {
        let mut parts = parent.split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, length: usize| {
            text.len() == length
                && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let zero = |text: &str| text.bytes().all(|byte| byte == b'0');
        let well_formed = hex(version, 2)
            && version != "ff"
            && (version != "00" || parts.next().is_none())
            && hex(trace, 32)
            && !zero(trace)
            && hex(span, 16)
            && !zero(span)
            && hex(flags, 2);
        well_formed.then(|| Self {
            parent: format!("00-{trace}-{span}-{flags}"),
            state: state.chars().filter(char::is_ascii_graphic).take(512).collect(),
        })
    }

    /// The trace id, 32 hex digits; empty where no trace runs.
    pub fn trace_id(&self) -> &str {
        self.parent.split('-').nth(1).unwrap_or_default()
    }

    /// The id of the span that called, 16 hex digits; empty where no trace runs.
    pub fn span_id(&self) -> &str {
        self.parent.split('-').nth(2).unwrap_or_default()
    }

    /// Whether the caller records this trace.
    pub fn sampled(&self) -> bool {
        let flags = self.parent.split('-').nth(3).unwrap_or_default();
        u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1)
    }

    /// The same trace, as a span of ours hands it on.
    #[must_use]
    pub fn within(&self, trace: &str, span: &str, sampled: bool) -> Self {
        let flags = if sampled { "01" } else { "00" };
        Self { parent: format!("00-{trace}-{span}-{flags}"), state: self.state.clone() }
    }
}

/// A signed token. Its text never shows in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(String);

impl AccessToken {
    /// Wraps the token's text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the `Authorization` header and nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_good_traceparent_is_kept() {
        let trace = TraceContext::accept(GOOD, "").unwrap();
        assert_eq!(trace.parent, GOOD);
        assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((trace.span_id(), trace.sampled()), ("00f067aa0ba902b7", true));
    }

    #[test]
    fn only_the_first_flag_says_that_a_trace_is_recorded() {
        let sampled = |flags| {
            let parent = GOOD.replace("-01", &format!("-{flags}"));
            TraceContext::accept(&parent, "").unwrap().sampled()
        };
        assert_eq!(["00", "01", "02", "03"].map(sampled), [false, true, false, true]);
        assert!(!TraceContext::default().sampled());
    }

    #[test]
    fn a_bad_traceparent_starts_anew() {
        for bad in [
            "",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
        ] {
            assert_eq!(TraceContext::accept(bad, ""), None, "{bad}");
        }
    }

    #[test]
    fn require_tells_401_from_403() {
        let mut call = Call::service("router", Duration::from_secs(1));
        assert_eq!(call.require(&[Role::Client]).unwrap_err().code, ErrorCode::Forbidden);
        assert!(call.require(&[Role::Client, Role::Service]).is_ok());
        call.principal = None;
        assert_eq!(call.require(&[Role::Client]).unwrap_err().code, ErrorCode::Unauthenticated);
    }
}
