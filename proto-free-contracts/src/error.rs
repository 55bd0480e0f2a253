//! The closed list of failures. They cross hops unchanged and become HTTP in one place.

use domain::InvalidId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What kind of failure, by what a caller would do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Malformed: not JSON, a bad header, a bad path.
    BadRequest,
    /// No token, or not a good one.
    Unauthenticated,
    /// A good token, but not for this.
    Forbidden,
    /// No such thing.
    NotFound,
    /// There is something at this path, but not for this verb.
    MethodNotAllowed,
    /// It exists already, or changed meanwhile.
    Conflict,
    /// Larger than a limit.
    TooLarge,
    /// Well formed, but a value breaks a rule.
    Unprocessable,
    /// Too many requests.
    RateLimited,
    /// Not done before the deadline.
    Timeout,
    /// Cannot be done now; trying again may help.
    Unavailable,
    /// A fault of ours. The cause is in the logs, never in the answer.
    Internal,
}

impl ErrorCode {
    /// All codes.
    pub const ALL: [Self; 12] = [
        Self::BadRequest,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::TooLarge,
        Self::Unprocessable,
        Self::RateLimited,
        Self::Timeout,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The HTTP status of this failure.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::Unprocessable => 422,
            Self::RateLimited => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
            Self::Timeout => 504,
        }
    }

    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::Unprocessable => "unprocessable",
            Self::RateLimited => "rate_limited",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

/// One value that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Where: a JSON pointer into the request, as a URI fragment.
    #[schema(example = "#/features/2")]
    pub pointer: String,
    /// What is wrong, and what would be right.
    #[schema(example = "must be a number, got `\"abc\"`")]
    pub detail: String,
}

/// A failure, as services tell it to each other and, as problem+json, to the public.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind.
    pub code: ErrorCode,
    /// What happened and how to mend it. For `internal` only `internal error`.
    pub message: String,
    /// The values at fault, if values are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// When trying again may help, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u32>,
    /// The limits that the request would have broken, by their names.
    #[serde(rename = "violated-policies", default, skip_serializing_if = "Vec::is_empty")]
    pub violated_policies: Vec<String>,
}

impl ApiError {
    /// A failure of this kind.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let (errors, violated_policies) = (Vec::new(), Vec::new());
        Self { code, message: message.into(), errors, retry_after_s: None, violated_policies }
    }

    /// A fault of ours. Log the cause before.
    pub fn internal() -> Self {
        Self::new(ErrorCode::Internal, "internal error")
    }

    /// One value of the request is at fault.
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::fields(vec![FieldError { pointer: pointer.into(), detail: detail.into() }])
    }

    /// Some values of the request are at fault. The message tells the first.
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let message = match errors.as_slice() {
            [] => "the request breaks a rule".to_owned(),
            [one] => format!("`{}` {}", one.pointer, one.detail),
            [first, rest @ ..] => {
                format!("`{}` {} (and {} more)", first.pointer, first.detail, rest.len())
            }
        };
        Self { errors, ..Self::new(ErrorCode::Unprocessable, message) }
    }

    /// Trying again after this many seconds may help.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// These limits would have been broken.
    #[must_use]
    pub fn violates(mut self, policies: Vec<String>) -> Self {
        self.violated_policies = policies;
        self
    }
}

/// Values at fault, found so far, to be told all at once.
#[derive(Debug, Default)]
pub struct Faults(Vec<FieldError>);

impl Faults {
    /// Faults told of one request at most.
    pub const MOST: usize = 100;

    /// One more.
    pub fn add(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        if !self.full() {
            self.0.push(FieldError { pointer: pointer.into(), detail: detail.into() });
        }
    }

    /// Whether more would not be told.
    pub fn full(&self) -> bool {
        self.0.len() >= Self::MOST
    }

    /// `Ok` if there are none.
    ///
    /// # Errors
    /// `unprocessable` with all that were found.
    pub fn check(self) -> Result<(), ApiError> {
        if self.0.is_empty() { Ok(()) } else { Err(ApiError::fields(self.0)) }
    }
}

impl From<InvalidId> for ApiError {
    fn from(error: InvalidId) -> Self {
        Self::new(ErrorCode::BadRequest, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_name_of_a_code_is_its_str() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
