//! Scenarios: each on two topologies, all by the public API alone.

mod bad_input;
mod cache;
mod docs;
mod examples;
mod golden;
mod hostile;
mod life;
mod logs;
mod monitoring;
mod outcomes;
mod overload;
mod policy;
mod python;
mod registry;
mod replicas;
mod roles;
mod routing;
mod rules;
mod swaps;
mod tokens;
mod traces;
mod uploads;
mod walkthrough;
