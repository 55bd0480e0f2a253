//! How many times as often bad events happen on the canary as on the baseline at the same moment, to be looked at any
//! time.
//!
//! Given the bad events of both in a batch, how many fell on the canary is binomial with theta = n_c r/(n_c r + n_b),
//! r the ratio of rates. So nothing depends on the baseline's rate, which may move; a baseline without errors is no
//! trouble; and no distribution is approximated. Following Lindon, Sanden and Shirikian (*Rapid regression detection in
//! software deployments through sequential testing*, KDD 2022, arXiv 2205.14762).

use std::ops::AddAssign;
use std::sync::LazyLock;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::difference::p_value;

/// Ratios that are weighed.
pub const GRID: usize = 115;
const LEAST: f64 = 0.1;
const MOST: f64 = 30.0;

struct Ratios {
    ratio: Vec<f64>,
    log: Vec<f64>,
}

static RATIOS: LazyLock<Ratios> = LazyLock::new(|| {
    let step = (MOST / LEAST).ln() / (GRID - 1) as f64;
    let log: Vec<f64> = (0..GRID).map(|j| LEAST.ln() + j as f64 * step).collect();
    // The ends are the ends, to the last bit.
    let ratio = log.iter().map(|log| log.exp().clamp(LEAST, MOST)).collect();
    Ratios { ratio, log }
});

/// What canary and baseline saw between two moments. Replicas add theirs up before one update.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Requests (or units) on the canary.
    pub canary_requests: u64,
    /// Those of them that went badly.
    pub canary_events: u64,
    /// Requests on the baseline.
    pub baseline_requests: u64,
    /// Those of them that went badly.
    pub baseline_events: u64,
    /// Sum over units of (bad events of the unit)^2, both arms; each unit belongs to one batch. Where each request is
    /// assigned for itself, that is the number of bad events.
    pub squared_events: u64,
}

impl Batch {
    /// Requests that are each assigned for themselves.
    pub fn of_requests(canary: (u64, u64), baseline: (u64, u64)) -> Self {
        Self {
            canary_requests: canary.0,
            canary_events: canary.1,
            baseline_requests: baseline.0,
            baseline_events: baseline.1,
            squared_events: canary.1 + baseline.1,
        }
    }
}

impl AddAssign for Batch {
    fn add_assign(&mut self, other: Self) {
        self.canary_requests += other.canary_requests;
        self.canary_events += other.canary_events;
        self.baseline_requests += other.baseline_requests;
        self.baseline_events += other.baseline_events;
        self.squared_events += other.squared_events;
    }
}

/// The state of one guardrail: what it takes to go on after a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateRatio {
    /// Log likelihood of each ratio of the grid, up to a constant.
    #[serde(deserialize_with = "of_grid")]
    log_likelihood: Vec<f64>,
    /// Sum of the batches in which both arms had requests: the others say nothing about the ratio.
    compared: Batch,
    /// Bad events of all batches.
    events: u64,
    /// Sum over units of their squared bad events, of all batches.
    squared_events: u64,
}

fn of_grid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let values = Vec::<f64>::deserialize(deserializer)?;
    if values.len() != GRID {
        return Err(de::Error::invalid_length(values.len(), &"115 log likelihoods"));
    }
    Ok(values)
}

impl Default for RateRatio {
    fn default() -> Self {
        let log_likelihood = vec![0.0; GRID];
        Self { log_likelihood, compared: Batch::default(), events: 0, squared_events: 0 }
    }
}

/// The ratios that the counts do not speak against.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The least of them.
    pub lower: f64,
    /// The greatest of them.
    pub upper: f64,
    /// Whether the true lower end may be below the grid.
    pub lower_at_grid_edge: bool,
    /// Whether the true upper end may be above the grid.
    pub upper_at_grid_edge: bool,
}

impl RateRatio {
    /// Takes a batch in: l_j += x_c ln r_j - (x_c + x_b) ln((n_c r_j + n_b)/(n_c + n_b)).
    pub fn update(&mut self, batch: &Batch) {
        let all_events = batch.canary_events + batch.baseline_events;
        self.events += all_events;
        self.squared_events += batch.squared_events;
        if batch.canary_requests == 0 || batch.baseline_requests == 0 {
            return;
        }
        self.compared += *batch;
        if all_events == 0 {
            return;
        }
        let (canary, baseline) = (batch.canary_requests as f64, batch.baseline_requests as f64);
        let (canary_events, all_events) = (batch.canary_events as f64, all_events as f64);
        let grid = RATIOS.ratio.iter().zip(&RATIOS.log);
        for (l, (ratio, log)) in self.log_likelihood.iter_mut().zip(grid) {
            let mixed = (canary * ratio + baseline) / (canary + baseline);
            *l += canary_events * log - all_events * mixed.ln();
        }
    }

    /// The sum of the batches in which both arms had requests.
    pub fn compared(&self) -> &Batch {
        &self.compared
    }

    /// How many times as much bad events of one unit hang together: max(1, sum of squares / bad events). The log
    /// likelihood is divided by it. A quasi-likelihood, not a theorem; 1 where each request is assigned for itself.
    pub fn phi(&self) -> f64 {
        if self.events == 0 {
            return 1.0;
        }
        (self.squared_events as f64 / self.events as f64).max(1.0)
    }

    /// The (1 - alpha) confidence sequence: the grid's r_j with mean_i exp((l_i - l_j)/phi) < 1/alpha. It is never
    /// empty.
    pub fn interval(&self, alpha: f64) -> Interval {
        let phi = self.phi();
        // ln M(r_j) = log_mean - l_j/phi, so one look needs no sum per ratio.
        let least = self.log_mean(phi) + alpha.ln();
        let mut inside = Interval {
            lower: MOST,
            upper: LEAST,
            lower_at_grid_edge: false,
            upper_at_grid_edge: false,
        };
        for (index, (ratio, l)) in RATIOS.ratio.iter().zip(&self.log_likelihood).enumerate() {
            if l / phi > least {
                inside.lower = inside.lower.min(*ratio);
                inside.upper = inside.upper.max(*ratio);
                inside.lower_at_grid_edge |= index == 0;
                inside.upper_at_grid_edge |= index == GRID - 1;
            }
        }
        inside
    }

    /// ln E against equal rates.
    pub fn log_e_against_1(&self) -> f64 {
        self.log_mean(self.phi())
    }

    /// min(1, 1/E) at this look alone; the caller keeps the least of all looks.
    pub fn p_value(&self) -> f64 {
        p_value(self.log_e_against_1())
    }

    /// The canary's rate less the baseline's, as counted (0.001 is 0.1 percentage points). `None` without requests.
    pub fn excess(&self) -> Option<f64> {
        let all = &self.compared;
        if all.canary_requests == 0 {
            return None;
        }
        let canary = all.canary_events as f64 / all.canary_requests as f64;
        Some(canary - all.baseline_events as f64 / all.baseline_requests as f64)
    }

    /// ln of the mean over the grid of exp(l_i/phi), shifted by the largest so that nothing overflows.
    fn log_mean(&self, phi: f64) -> f64 {
        let largest = self.log_likelihood.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.log_likelihood.iter().map(|l| ((l - largest) / phi).exp()).sum();
        largest / phi + (sum / GRID as f64).ln()
    }
}
