//! When a canary is rolled back, and when it may have more traffic: by evidence, not by the clock.

use super::rate_ratio::RateRatio;

/// The shares of the default ramp.
pub const STEPS: [f64; 5] = [0.01, 0.05, 0.25, 0.5, 1.0];

/// When a guardrail is lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// The share of good releases that may ever be rolled back, over the number of guardrails.
    pub alpha: f64,
    /// The ratio of rates that is still put up with: 1.0, or 1.25 to leave small harm alone.
    pub tolerated_ratio: f64,
    /// The least excess over the baseline's rate that is worth a rollback: 0.001 is 0.1 percentage points. Without it,
    /// much traffic rolls back what is real but tiny.
    pub least_excess: f64,
}

impl Default for Loss {
    fn default() -> Self {
        Self { alpha: 0.01, tolerated_ratio: 1.0, least_excess: 0.001 }
    }
}

impl Loss {
    /// Whether to roll back. It needs no least number of requests: that follows from the evidence.
    pub fn is_lost(&self, guardrail: &RateRatio) -> bool {
        let large = guardrail.excess().is_some_and(|excess| excess >= self.least_excess);
        large && guardrail.interval(self.alpha).lower > self.tolerated_ratio
    }
}

/// What the next step may cost at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HarmBudget {
    /// Extra bad events that are put up with, as a share of *all* traffic.
    pub harm: f64,
    /// The chance that the harm is larger than that.
    pub alpha: f64,
}

impl Default for HarmBudget {
    fn default() -> Self {
        Self { harm: 0.005, alpha: 0.01 }
    }
}

/// What a guardrail says about a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Advance {
    /// The largest share of all traffic that may go badly on top, at the next share, with confidence 1 - alpha.
    pub worst_harm: f64,
    /// What it may be.
    pub harm: f64,
    /// Canary requests so far.
    pub requests: u64,
    /// Canary requests that it takes, whatever happened to them: ln(1/alpha) share/harm.
    pub requests_needed: f64,
}

impl Advance {
    /// Whether the guardrail lets the canary take the step.
    pub fn is_allowed(&self) -> bool {
        self.worst_harm <= self.harm && self.requests as f64 >= self.requests_needed
    }

    /// What the step waits for, in one sentence; or why it may be taken.
    pub fn reason(&self) -> String {
        let percent = |share: f64| format!("{:.3} %", 100.0 * share);
        if self.requests as f64 >= self.requests_needed {
            let (worst, harm) = (percent(self.worst_harm), percent(self.harm));
            let verb = if self.is_allowed() { "is within" } else { "is still above" };
            format!(
                "the most that may go badly on top is {worst} of all traffic, which {verb} {harm}"
            )
        } else {
            let needed = self.requests_needed.ceil();
            format!("the canary has answered {} of {needed} requests that it takes", self.requests)
        }
    }
}

impl HarmBudget {
    /// What one guardrail says about giving the canary the share `next`: p_b (r_U - 1) next <= harm, with r_U the upper
    /// end of the ratio and p_b = (X_b + 1)/(N_b + 2), after ln(1/alpha) next/harm requests on the canary. Every
    /// guardrail must let it pass, and the split of units must be as configured.
    ///
    /// Where the ratio's upper end is the edge of the grid, it bounds nothing; then the canary's own rate,
    /// (X_c + 1)/(N_c + 2), counts if it is larger.
    pub fn look(&self, guardrail: &RateRatio, next: f64) -> Advance {
        let compared = guardrail.compared();
        let smoothed = |events: u64, requests: u64| (events as f64 + 1.0) / (requests as f64 + 2.0);
        let baseline = smoothed(compared.baseline_events, compared.baseline_requests);
        let interval = guardrail.interval(self.alpha);
        let mut excess = baseline * (interval.upper - 1.0);
        if interval.upper_at_grid_edge {
            let canary = smoothed(compared.canary_events, compared.canary_requests);
            excess = excess.max(canary - baseline);
        }
        Advance {
            worst_harm: (excess * next).max(0.0),
            harm: self.harm,
            requests: compared.canary_requests,
            requests_needed: -self.alpha.ln() * next / self.harm,
        }
    }
}
