//! CUPED (Deng, Xu, Kohavi and Walker, WSDM 2013): takes out of a metric what was known of the unit before the
//! experiment, so that the same difference shows with fewer units.
//!
//! For a model the covariate can be what the champion predicts for the same input: it is always there.

use super::finite;
use super::moments::{Bivariate, Moments};

/// One arm.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Arm {
    /// Units with a covariate: x is the covariate, from before the first exposure; y is the metric.
    pub with: Bivariate,
    /// The metric of units without one. They count as if theirs were the mean.
    pub without: Moments,
}

/// Both arms with the covariate taken out: compare them as any two means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adjusted {
    /// The slope: pooled within-arm covariance over pooled within-arm variance of x.
    pub theta: f64,
    /// The control's y - theta (x - mean of x over both arms).
    pub control: Moments,
    /// The treatment's.
    pub treatment: Moments,
    /// The share of the variance that is left, within arms: 1 - correlation^2 if no covariate is missing.
    pub variance_left: f64,
}

/// Takes the covariate out. `None` if the covariate or the metric does not vary: then there is nothing to gain.
pub fn adjust(control: &Arm, treatment: &Arm) -> Option<Adjusted> {
    let arms = [control, treatment];
    let spread: f64 = arms.iter().map(|arm| arm.with.m2_x).sum();
    let together: f64 = arms.iter().map(|arm| arm.with.m_xy).sum();
    if spread <= 0.0 || !spread.is_finite() {
        return None;
    }
    let theta = together / spread;
    let centre = control.with.x().merged(&treatment.with.x()).mean;
    let without_x = |arm: &Arm| {
        let Bivariate { count, mean_x, mean_y, m2_x, m2_y, m_xy } = arm.with;
        let m2 = finite(m2_y - 2.0 * theta * m_xy + theta * theta * m2_x)?.max(0.0);
        let moments = Moments { count, mean: mean_y - theta * (mean_x - centre), m2 };
        Some(moments.merged(&arm.without))
    };
    let (adjusted_control, adjusted_treatment) = (without_x(control)?, without_x(treatment)?);
    let before: f64 = arms.iter().map(|arm| arm.with.y().merged(&arm.without).m2).sum();
    let variance_left = (adjusted_control.m2 + adjusted_treatment.m2) / before;
    (theta.is_finite() && variance_left.is_finite()).then_some(Adjusted {
        theta,
        control: adjusted_control,
        treatment: adjusted_treatment,
        variance_left,
    })
}
