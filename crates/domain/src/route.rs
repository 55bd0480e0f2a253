//! Which version answers: the route of a model, as data.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{ModelName, VersionId};

/// How many buckets units are hashed into. Weights are whole numbers of buckets (parts per million).
pub const BUCKETS: u32 = 1_000_000;

/// Which versions of a model answer, and who gets which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Route {
    /// The model.
    pub model: ModelName,
    /// The versions that answer, each with its share.
    pub arms: Vec<Arm>,
    /// Hashed with the unit. Made once, kept for good, so that a unit keeps its arm.
    pub salt: String,
    /// Which buckets belong to which arm: sorted, without gaps, covering 0 to 1,000,000.
    pub segments: Vec<Segment>,
    /// Counts up by one with every change.
    pub generation: u64,
    /// Who made this change (user name).
    pub updated_by: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// A version with its share of the units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Arm {
    /// The version that answers.
    pub version: VersionId,
    /// Its share in buckets (parts per million); the arms of a route sum to 1,000,000.
    pub share_ppm: u32,
    /// Its weight as it was asked for, in whatever unit the request used.
    pub weight: f64,
}

/// A run of buckets `[start, end)` that belongs to one arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Segment {
    /// First bucket.
    pub start: u32,
    /// One past the last bucket.
    pub end: u32,
    /// The arm's version.
    pub version: VersionId,
}
