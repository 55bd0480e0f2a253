//! Layers: experiments of one layer never share a unit, those of two are independent.
//!
//! Tang, Agarwal, O'Brien, Meyer: Overlapping Experiment Infrastructure, KDD 2010.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::plan::PlanId;

/// A layer: 1,000,000 buckets of its own, of which each experiment has a run to itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Layer {
    /// Its id.
    pub id: PlanId,
    /// Its name, of which there is one.
    pub name: String,
    /// Hashed with the unit; no experiment has the same.
    pub salt: String,
    /// The buckets at the end that no experiment may have: the units in it are in none, so that all
    /// experiments together can be compared with having none. Parts per million.
    #[serde(default)]
    pub holdout_ppm: u32,
    /// Who made it (user name).
    pub created_by: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Counts the changes; refused unless one more than in the store.
    pub revision: u32,
}
