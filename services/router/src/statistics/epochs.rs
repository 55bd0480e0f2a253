//! A difference when the weights of the arms changed on the way, by a person, a ramp or a bandit.
//!
//! Pooling over a change of weights is Simpson's trap: when rates move with time, the arm that got its traffic late
//! looks like the late rate. Either each epoch is compared in itself ([`stratified`]), or each row is weighted by the
//! chance it had ([`DesignBased`]).

use serde::{Deserialize, Serialize};

use super::difference::{Difference, Estimate, Form, Plan};
use super::moments::Moments;
use super::{countable, finite};

/// Control and treatment while the weights stood still.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// The control's units of this epoch.
    pub control: Moments,
    /// The treatment's.
    pub treatment: Moments,
}

/// The differences of the epochs, each weighted by its share of all rows: D = sum w D_e, se^2 = sum w^2 se_e^2,
/// w = N_e/N. Weights by rows depend on no outcome, so the sequence stays valid. An epoch in which an arm has fewer
/// than two rows is left out. `None` if no epoch is left or nothing varies.
pub fn stratified(epochs: &[Epoch], plan: &Plan) -> Option<Difference> {
    let parts: Vec<(f64, Estimate)> = epochs
        .iter()
        .filter_map(|epoch| {
            let rows = (epoch.control.count + epoch.treatment.count) as f64;
            let estimate = Estimate::of_difference(&epoch.control, &epoch.treatment, plan.form)?;
            Some((rows, estimate))
        })
        .collect();
    let rows: f64 = parts.iter().map(|(rows, _)| rows).sum();
    let mut difference = 0.0;
    let mut variance = 0.0;
    for (part, estimate) in &parts {
        let weight = part / rows;
        difference += weight * estimate.difference;
        variance += (weight * estimate.standard_error).powi(2);
    }
    Estimate { difference, standard_error: variance.sqrt() }.look(rows, plan)
}

/// The design-based sequence: every row over the chance it had to be in its arm (Ham, Bojinov, Lindon and Tingley,
/// *Design-based confidence sequences*, 2022). Wide, and right whatever set the chances, as long as each is the one at
/// the unit's first assignment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DesignBased {
    /// Rows.
    pub count: u64,
    /// Sum of A Y/pi - (1 - A) Y/(1 - pi).
    pub sum: f64,
    /// Sum of A Y^2/pi^2 + (1 - A) Y^2/(1 - pi)^2.
    pub sum_of_variances: f64,
    /// Sum of Y^2/(pi (1 - pi)): the same in expectation if there is no effect, from the rows of both arms.
    pub sum_of_pooled: f64,
    /// The least chance that a row had to be where it is. Below 0.01 the interval is of no use.
    pub least_chance: f64,
}

impl Default for DesignBased {
    fn default() -> Self {
        Self { count: 0, sum: 0.0, sum_of_variances: 0.0, sum_of_pooled: 0.0, least_chance: 1.0 }
    }
}

/// The arm of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The arm that others are compared with.
    Control,
    /// The arm in question.
    Treatment,
}

/// An interval at one look.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The point.
    pub estimate: f64,
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

impl DesignBased {
    /// Counts a row in: `propensity` is the chance of the *treatment* when the unit was assigned. A row whose chance
    /// is not between 0 and 1, or whose outcome over it is not a number below 1e100, changes nothing; the answer says whether it counted.
    pub fn push(&mut self, side: Side, propensity: f64, outcome: f64) -> bool {
        let (chance, sign) = match side {
            Side::Control => (1.0 - propensity, -1.0),
            Side::Treatment => (propensity, 1.0),
        };
        let weighted = outcome / chance;
        if !(propensity > 0.0 && propensity < 1.0 && countable(weighted)) {
            return false;
        }
        self.count += 1;
        self.sum += sign * weighted;
        self.sum_of_variances += weighted * weighted;
        self.sum_of_pooled += weighted * outcome / (1.0 - chance);
        self.least_chance = self.least_chance.min(chance);
        true
    }

    /// Adds what another replica has seen.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.sum_of_variances += other.sum_of_variances;
        self.sum_of_pooled += other.sum_of_pooled;
        self.least_chance = self.least_chance.min(other.least_chance);
    }

    /// The mean effect: estimate -+ sqrt((S eta^2 + 1)/eta^2 ln((S eta^2 + 1)/alpha^2))/n. `eta` is fixed beforehand
    /// ([`super::difference::rho`] of the expected S is a good one). S is the sum of variances, and in the safe form
    /// at least the pooled one: an arm with little traffic and no event yet has no variance of its own. `None` without
    /// rows.
    pub fn interval(&self, alpha: f64, eta: f64, form: Form) -> Option<Interval> {
        if self.count == 0 || !(alpha > 0.0 && alpha < 1.0 && eta > 0.0) {
            return None;
        }
        let n = self.count as f64;
        let estimate = self.sum / n;
        let variances = match form {
            Form::Plain => self.sum_of_variances,
            Form::Safe => self.sum_of_variances.max(self.sum_of_pooled),
        };
        let scaled = variances * eta * eta + 1.0;
        let half = finite((scaled * (scaled.ln() - 2.0 * alpha.ln())).sqrt() / eta / n)?;
        Some(Interval { estimate, lower: estimate - half, upper: estimate + half })
    }
}
