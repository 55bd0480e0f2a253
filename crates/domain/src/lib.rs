//! What things are: ids, manifests, versions, routes, records, principals.
//!
//! Reading order: [`ids`], [`manifest`], [`registry`], [`policy`], [`route`], [`prediction`],
//! [`principal`], [`credential`], [`audit`].
//!
//! Invariant: this crate does no IO, and fails for no reason but its input.

pub mod audit;
pub mod clock;
pub mod credential;
pub mod feedback;
pub mod hex;
pub mod ids;
pub mod manifest;
pub mod metrics;
pub mod policy;
pub mod prediction;
pub mod principal;
pub mod registry;
pub mod route;

pub use audit::{Actor, AuditEntry, AuditFilter, AuditOutcome, AuditQueue, AuditRow, SealedEntry};
pub use clock::Clock;
pub use credential::{
    ApiKey, Credential, CredentialKind, Identity, Revocation, Session, SignIns, UsedState,
};
pub use feedback::{Feedback, Outcome};
pub use hex::hex;
pub use ids::{InvalidId, ModelName, PredictionId, RequestId, UserId, VersionId};
pub use manifest::{Manifest, Modality, Task};
pub use policy::ModelPolicy;
pub use prediction::PredictionRecord;
pub use principal::{Principal, PrincipalKind, Role, Scope, User};
pub use registry::{FileRef, Model, Version};
pub use route::Route;
