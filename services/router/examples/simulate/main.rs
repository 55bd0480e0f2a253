//! What the shipped statistics do on streams whose truth is known: `make simulate`.
//!
//! Every run draws from its own stream of one seed, so the numbers do not depend on the machine or on its cores.

#![expect(clippy::print_stdout, reason = "tables are what it is for")]

mod budgets;
mod canaries;
mod differences;
mod draws;
mod others;
mod power;
mod ramps;
mod rules;
mod splits;
mod tables;
mod units;

use clap::Parser;

use crate::draws::Runs;

/// Simulates the statistics of the router and prints tables in Markdown.
#[derive(Parser)]
struct Options {
    /// The tables to make; all of them if none is named.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(TABLES.map(|(name, ..)| name)))]
    tables: Vec<String>,
    /// Another seed gives other runs of the same truth.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs, as a share of the usual number: 0.1 is quick and rough.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
}

/// Name, number of its stream (so that a new table changes no other), how it is made.
type Table = (&'static str, u64, fn(&Runs));

const TABLES: [Table; 11] = [
    ("aa", 0, differences::rates),
    ("aa-amounts", 1, differences::amounts),
    ("aa-others", 10, others::simulate),
    ("ramp", 2, ramps::simulate),
    ("power", 3, power::simulate),
    ("canary-power", 4, canaries::power),
    ("canary-false", 5, canaries::false_rollbacks),
    ("rules", 6, rules::simulate),
    ("units", 7, units::simulate),
    ("budget", 8, budgets::simulate),
    ("split", 9, splits::simulate),
];

fn main() {
    let options = Options::parse();
    println!("Measured with seed {} and scale {}.", options.seed, options.scale);
    for (name, table, simulate) in TABLES {
        if options.tables.is_empty() || options.tables.iter().any(|wanted| wanted == name) {
            simulate(&Runs { seed: options.seed, table, scale: options.scale });
        }
    }
}
