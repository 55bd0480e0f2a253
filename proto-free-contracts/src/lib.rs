//! What the services say to each other, in JSON over HTTP or as plain calls in one process.
//!
//! Reading order: [`call`] (what travels with every call), [`error`] (the closed list of failures),
//! [`endpoint`] (a path and its types, declared once), then one module per service: its requests,
//! its answers and **one trait**. A service implements its trait; `clients` implements the same
//! trait over HTTP; a caller holds `Arc<dyn RouterApi>` and cannot tell near from far. [`outbound`] is
//! for programs that are none of ours.
//!
//! Invariant: nothing here opens a socket, reads a clock or knows a web framework.

pub mod auth;
pub mod call;
pub mod drift;
pub mod endpoint;
pub mod error;
pub mod feedback;
pub mod inference;
pub mod outbound;
pub mod router;

pub use auth::AuthApi;
pub use call::{Call, Deadline, TraceContext};
pub use drift::DriftApi;
pub use endpoint::{Endpoint, Framed, Wire};
pub use error::{ApiError, ErrorCode, Faults, FieldError};
pub use feedback::FeedbackApi;
pub use inference::InferenceApi;
pub use outbound::Outbound;
pub use router::RouterApi;

/// The answer of a call that has nothing to say but that it was done.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    utoipa::ToSchema,
)]
pub struct Done {}
