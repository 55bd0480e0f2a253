//! Experiments: how they are planned, what their log says, what follows.
//!
//! Reading order: [`design`] (what may be planned), [`layers`] (who gets which units), [`truth`] (what is known of a
//! prediction or a unit), [`measure`] (what a request is worth), [`fold`] (from requests to units), [`analysis`] (the
//! report: [`comparison`], [`split`], [`advice`]), [`looks`] (the report over time), [`bandit`] (weights that follow what
//! was earned), [`what_if`] (other weights, by the same log).
//!
//! Invariants: no IO, no clock, no chance. The same log gives the same report, bit for bit, in whatever order and
//! however often feedback came, and whichever process reads it.

pub mod advice;
pub mod analysis;
pub mod bandit;
pub mod comparison;
pub mod design;
pub mod fold;
pub mod layers;
pub mod looks;
pub mod measure;
pub mod split;
mod summary;
pub mod truth;
pub mod what_if;

pub use analysis::{Analysis, analyse};
pub use fold::{Fold, Observation, Sample};
pub use measure::Score;
pub use truth::Truth;

#[cfg(test)]
mod tests;
