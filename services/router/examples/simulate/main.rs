//! What the shipped statistics do on streams whose truth is known: `make simulate`.
//!
//! Every run draws from its own stream of one seed, so the numbers do not depend on the machine or on its cores.

#![expect(clippy::print_stdout, reason = "tables are what it is for")]

mod budgets;
mod canaries;
mod differences;
mod draws;
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
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(TABLES.map(|(name, _)| name)))]
    tables: Vec<String>,
    /// Another seed gives other runs of the same truth.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs, as a share of the usual number: 0.1 is quick and rough.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
}

type Table = (&'static str, fn(&Runs));

const TABLES: [Table; 10] = [
    ("aa", differences::rates),
    ("aa-amounts", differences::amounts),
    ("ramp", ramps::simulate),
    ("power", power::simulate),
    ("canary-power", canaries::power),
    ("canary-false", canaries::false_rollbacks),
    ("rules", rules::simulate),
    ("units", units::simulate),
    ("budget", budgets::simulate),
    ("split", splits::simulate),
];

fn main() {
    let options = Options::parse();
    println!("Measured with seed {} and scale {}.", options.seed, options.scale);
    for (index, (name, simulate)) in (0u64..).zip(TABLES) {
        if options.tables.is_empty() || options.tables.iter().any(|wanted| wanted == name) {
            simulate(&Runs { seed: options.seed, table: index, scale: options.scale });
        }
    }
}
