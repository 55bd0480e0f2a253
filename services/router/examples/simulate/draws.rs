//! Chance with a seed, and runs over all cores.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How the runs of one table are made.
pub(crate) struct Runs {
    pub(crate) seed: u64,
    pub(crate) table: u64,
    pub(crate) scale: f64,
}

impl Runs {
    /// So many of the usual number.
    pub(crate) fn number(&self, usual: u64) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few thousand"
        )]
        let number = (usual as f64 * self.scale).ceil() as u64;
        number.max(2)
    }

    /// The results of `usual` runs of one cell of the table, in no order. Each run has its own stream.
    pub(crate) fn over<T: Send>(
        &self,
        cell: u64,
        usual: u64,
        run: impl Fn(&mut Draw) -> T + Sync,
    ) -> Vec<T> {
        let (number, next) = (self.number(usual), AtomicU64::new(0));
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let work = || {
            let mut results = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= number {
                    return results;
                }
                results.push(run(&mut Draw::new(self.seed, [self.table, cell, index])));
            }
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
        })
    }
}

/// A stream of chance.
pub(crate) struct Draw {
    chance: ChaCha8Rng,
}

impl Draw {
    fn new(seed: u64, [table, cell, run]: [u64; 3]) -> Self {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        chance.set_stream(table << 56 | cell << 40 | run);
        Self { chance }
    }

    /// Between 0 and 1, neither of them.
    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.chance.next_u64() >> 12) as f64 + 0.5) / (1u64 << 52) as f64
    }

    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Whether each of two independent things happens, from one draw: exact to 2^-32.
    pub(crate) fn both(&mut self, first: f64, second: f64) -> (bool, bool) {
        let bits = self.chance.next_u64();
        let (high, low) = (bits >> 32, bits & 0xffff_ffff);
        let scale = (1u64 << 32) as f64;
        ((high as f64) < first * scale, (low as f64) < second * scale)
    }

    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (2.0 * std::f64::consts::PI * self.uniform()).cos()
    }

    /// Of `trials`, how many succeed: by inversion from 0, so it suits a few hundred expected ones at most.
    pub(crate) fn binomial(&mut self, trials: u64, probability: f64) -> u64 {
        if probability > 0.5 {
            return trials - self.binomial(trials, 1.0 - probability);
        }
        let odds = probability / (1.0 - probability);
        let mut mass = (trials as f64 * (-probability).ln_1p()).exp();
        let mut left = self.uniform();
        for count in 0..trials {
            if left < mass {
                return count;
            }
            left -= mass;
            mass *= odds * (trials - count) as f64 / (count + 1) as f64;
        }
        trials
    }
}
