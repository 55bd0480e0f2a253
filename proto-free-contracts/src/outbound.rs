//! How services call programs that are none of ours, at URLs that people gave: webhooks.
//!
//! Whoever implements it guards the engine's own network: it calls public addresses, and others only
//! where a setting allows it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// Calls URLs that people gave.
#[async_trait]
pub trait Outbound: Send + Sync {
    /// Whether this URL may be called, as of now.
    ///
    /// # Errors
    /// [`OutboundError::Refused`] if not, or if its host does not resolve.
    async fn check(&self, url: &str) -> Result<(), OutboundError>;

    /// Posts a body. Whether the URL may be called is checked again, and the connection goes to the
    /// very address that was checked. Redirects are answers like any other.
    ///
    /// # Errors
    /// [`OutboundError`]; an answer with whatever status is none.
    async fn post(&self, post: Post) -> Result<Reply, OutboundError>;
}

/// A body to be posted.
#[derive(Debug, Clone)]
pub struct Post {
    /// Where.
    pub url: String,
    /// With these headers: lower-case names.
    pub headers: Vec<(&'static str, String)>,
    /// What.
    pub body: Bytes,
    /// How long all of it may take, to the end of the answer.
    pub timeout: Duration,
    /// How much of the answer is read.
    pub max_answer_bytes: usize,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The beginning of the body, or all of it.
    pub body: Bytes,
}

/// Why nothing was answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// The URL may not be called: what is wrong with it, and what could be done.
    #[error("{0}")]
    Refused(String),
    /// It was called, or would have been, and nobody answered in time.
    #[error("{0}")]
    Failed(String),
}
