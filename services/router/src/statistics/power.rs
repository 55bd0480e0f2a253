//! How many rows it takes.

use super::difference::{Mixture, Plan, boundary};
use super::normal;

/// What is to be found, and how the rows fall.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Question {
    /// The difference that is worth finding, in the metric's unit.
    pub effect: f64,
    /// Variance of a row of the control: p (1 - p) for a yes-or-no metric.
    pub variance_control: f64,
    /// Variance of a row of the treatment.
    pub variance_treatment: f64,
    /// The treatment's share of the rows of both, between 0 and 1.
    pub share: f64,
}

impl Question {
    /// A yes-or-no metric of rate `rate` that may move by `effect`.
    pub fn of_rate(rate: f64, effect: f64, share: f64) -> Self {
        let variance = |p: f64| p * (1.0 - p);
        Self {
            effect,
            variance_control: variance(rate),
            variance_treatment: variance(rate + effect),
            share,
        }
    }

    fn is_sound(&self) -> bool {
        let variances = [self.variance_control, self.variance_treatment];
        self.effect.is_finite()
            && self.effect != 0.0
            && self.share > 0.0
            && self.share < 1.0
            && variances.iter().all(|variance| variance.is_finite() && *variance >= 0.0)
            && variances.iter().any(|variance| *variance > 0.0)
    }

    /// Variance of the difference times rows, with the arms' own variances.
    fn apart(&self) -> f64 {
        self.variance_control / (1.0 - self.share) + self.variance_treatment / self.share
    }

    /// The same with the variance of all rows about their common mean: what a pooled test divides by.
    fn pooled(&self) -> f64 {
        let split = self.share * (1.0 - self.share);
        let inner =
            (1.0 - self.share) * self.variance_control + self.share * self.variance_treatment;
        (inner + split * self.effect * self.effect) / split
    }
}

/// Rows of both arms for a two-sided z-test that is looked at once:
/// N = (z_(1-alpha/2) sqrt(V_0) + z_power sqrt(V_1))^2 / effect^2. `None` if there is nothing to find.
pub fn fixed_horizon_rows(question: &Question, alpha: f64, power: f64) -> Option<f64> {
    let z_alpha = normal::quantile(1.0 - alpha / 2.0)?;
    let z_power = normal::quantile(power)?;
    let root = z_alpha * question.pooled().sqrt() + z_power * question.apart().sqrt();
    question.is_sound().then(|| (root / question.effect).powi(2))
}

/// The chance that such a test of `rows` rows finds the effect; of the two tails, the one on the effect's side.
pub fn fixed_horizon_power(question: &Question, alpha: f64, rows: f64) -> Option<f64> {
    let z_alpha = normal::quantile(1.0 - alpha / 2.0)?;
    let distance = question.effect.abs() * rows.sqrt() - z_alpha * question.pooled().sqrt();
    question.is_sound().then(|| normal::cumulative(distance / question.apart().sqrt()))
}

/// Rows of both arms after which the sequence has found the effect with probability `power`, looked at after every row.
///
/// An approximation: the sum of effects is taken as a Brownian motion with the larger of both variances, as the safe
/// form takes it, and the boundary as its tangent at N, for which the chance of a first passage before N is known
/// (Siegmund, *Sequential Analysis*, 1985, chapter 3). `docs/simulations.md` has it beside what was measured. `None` if
/// nothing can be found with 10^15 rows.
pub fn sequential_rows(question: &Question, plan: &Plan, power: f64) -> Option<f64> {
    if !(question.is_sound() && plan.alpha > 0.0 && plan.alpha < 1.0 && power > 0.0 && power < 1.0)
    {
        return None;
    }
    let variance = question.apart().max(question.pooled());
    let (mut low, mut high) = (4.0f64, 1e15f64);
    if found_within(high, question.effect.abs(), variance, plan) < power {
        return None;
    }
    // On a logarithmic scale, 60 halvings are exact to a row.
    for _ in 0..60 {
        let middle = (low * high).sqrt();
        if found_within(middle, question.effect.abs(), variance, plan) < power {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(high)
}

/// The chance that a Brownian motion of this drift and variance per row passes the sequence's boundary within `rows`.
fn found_within(rows: f64, drift: f64, variance: f64, plan: &Plan) -> f64 {
    let height = |rows: f64| {
        let k = match plan.two_sided {
            Mixture::Rho(rho) => rows * rho * rho,
            Mixture::TauSquared(tau_squared) => tau_squared * rows / variance,
        };
        boundary(plan.alpha, k) * (variance * rows).sqrt()
    };
    let deviation = (variance * rows).sqrt();
    let at_end = normal::cumulative((drift * rows - height(rows)) / deviation);
    let slope = (height(rows * 1.001) - height(rows * 0.999)) / (0.002 * rows);
    let start = height(rows) - slope * rows;
    let before = (2.0 * (drift - slope) * start / variance).exp()
        * normal::cumulative((-start - (drift - slope) * rows) / deviation);
    // Far beyond the boundary the second term is infinity times 0, and the first is 1.
    (at_end + if before.is_finite() { before } else { 0.0 }).min(1.0)
}

/// Rows that are still to come until then: 0 if there are enough.
pub fn sequential_rows_left(
    question: &Question,
    plan: &Plan,
    power: f64,
    rows: u64,
) -> Option<f64> {
    Some((sequential_rows(question, plan, power)? - rows as f64).max(0.0))
}
