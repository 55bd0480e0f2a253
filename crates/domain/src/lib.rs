//! What things are: ids, manifests, versions, routes, records, principals.
//!
//! Reading order: [`ids`], [`manifest`], [`registry`], [`policy`], [`route`], [`prediction`],
//! [`principal`], [`credential`], [`audit`], [`event`], [`webhook`].
//!
//! Invariant: this crate does no IO, and fails for no reason but its input.

pub mod audit;
pub mod clock;
pub mod counts;
pub mod credential;
pub mod event;
pub mod experiment;
pub mod feedback;
pub mod hex;
pub mod ids;
pub mod layer;
pub mod manifest;
pub mod metrics;
pub mod plan;
pub mod policy;
pub mod prediction;
pub mod principal;
pub mod registry;
pub mod rollout;
pub mod route;
pub mod shadow;
pub mod targeting;
pub mod webhook;

pub use audit::{Actor, AuditEntry, AuditFilter, AuditOutcome, AuditQueue, AuditRow, SealedEntry};
pub use clock::Clock;
pub use credential::{
    ApiKey, Credential, CredentialKind, Identity, Revocation, Session, SignIns, UsedState,
};
pub use event::{Event, EventFilter, EventKind, KindPattern, PlacedEvent};
pub use feedback::{Feedback, MetricName, Outcome, Pending, Subject, Tally};
pub use hex::hex;
pub use ids::{
    DeliveryId, EventId, InvalidId, ModelName, PredictionId, RequestId, UserId, VersionId,
    WebhookId,
};
pub use manifest::{Manifest, Modality, Task};
pub use plan::{Plan, PlanId, PlanKind};
pub use policy::ModelPolicy;
pub use prediction::PredictionRecord;
pub use principal::{Principal, PrincipalKind, Role, Scope, User};
pub use registry::{FileRef, Model, Version};
pub use route::Route;
pub use webhook::{Delivery, DeliveryFilter, DeliveryState, DueDelivery, Webhook, WebhookSecret};
