//! The difference of two means that may be looked at any time.
//!
//! With z = (difference - null) / se and k the information ratio, ln E = -ln(1 + k)/2 + k z^2 / (2 (1 + k)); E is a
//! mixture likelihood ratio, so under the null it passes 1/alpha at any time with probability at most alpha,
//! asymptotically. k = N rho^2 is the confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas
//! (*Time-uniform central limit theory and asymptotic confidence sequences*, Annals of Statistics 52(6), 2024,
//! arXiv 2103.06476); k = tau^2/se^2 is the mSPRT of Robbins (1970) and Johari, Koomen, Pekelis and Walsh (2017).
//!
//! The standard error is the *safe* one unless asked otherwise: the larger of Welch's and the pooled one. Welch's
//! alone takes the variance of an arm with one event or none at its word, and then finds differences that are not
//! there in a third of all A/A tests on a small arm.

use serde::{Deserialize, Serialize};

use super::finite;
use super::moments::Moments;

/// How the standard error is formed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// se^2 = max(s0^2/n0 + s1^2/n1, s_all^2 (1/n0 + 1/n1)), with s_all^2 the variance of all rows about their common
    /// mean.
    #[default]
    Safe,
    /// se^2 = s0^2/n0 + s1^2/n1, as other products have it. For comparison only.
    Plain,
}

/// What the mixture over effects is scaled by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mixture {
    /// k = N rho^2.
    Rho(f64),
    /// k = tau^2 / se^2: effects are thought to be N(0, tau^2).
    TauSquared(f64),
}

impl Mixture {
    fn information(self, rows: f64, standard_error: f64) -> f64 {
        match self {
            Self::Rho(rho) => rows * rho * rho,
            Self::TauSquared(tau_squared) => tau_squared / (standard_error * standard_error),
        }
    }
}

/// What is fixed before the first look. Keep it with the experiment: another rho is another sequence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The share of experiments without a difference that may ever find one.
    pub alpha: f64,
    /// For the two-sided interval and the evidence.
    pub two_sided: Mixture,
    /// For the one-sided bounds.
    pub one_sided: Mixture,
    /// The standard error.
    pub form: Form,
}

impl Plan {
    /// Rows of both arms at which the interval is tightest, if nobody plans a size.
    pub const DEFAULT_ROWS: f64 = 5_000.0;

    /// The default form, tightest at `rows` of both arms. `None` unless 0 < alpha < 0.5 and `rows` is above 0.
    pub fn new(alpha: f64, rows: f64) -> Option<Self> {
        let two_sided = Mixture::Rho(rho(alpha, rows)?);
        let one_sided = Mixture::Rho(rho(2.0 * alpha, rows)?);
        Some(Self { alpha, two_sided, one_sided, form: Form::Safe })
    }
}

/// The rho that makes the sequence tightest at `rows`: sqrt((-2 ln a + ln(-2 ln a) + 1) / rows). For one-sided bounds
/// `alpha` is twice theirs. `None` unless 0 < alpha < 1 and `rows` is above 0.
pub fn rho(alpha: f64, rows: f64) -> Option<f64> {
    if !(alpha > 0.0 && alpha < 1.0 && rows > 0.0) {
        return None;
    }
    let log = -2.0 * alpha.ln();
    let rho = ((log + log.ln() + 1.0) / rows).sqrt();
    (rho.is_finite() && rho > 0.0).then_some(rho)
}

/// What is known of a difference at one look.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Treatment minus control.
    pub difference: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// The information ratio k.
    pub information: f64,
    /// ln E against no difference.
    pub log_e: f64,
    /// min(1, 1/E) at this look alone. The always-valid p-value is the least of all looks: the caller keeps it, as
    /// `so_far.min(p_value)`.
    pub p_value: f64,
    /// Lower end of the (1 - alpha) confidence sequence.
    pub lower: f64,
    /// Its upper end.
    pub upper: f64,
    /// The difference is above this, with error alpha.
    pub one_sided_lower: f64,
    /// The difference is below this, with error alpha.
    pub one_sided_upper: f64,
}

impl Difference {
    /// ln E against another null than 0.
    pub fn log_e_against(&self, null: f64) -> f64 {
        log_e(self.information, (self.difference - null) / self.standard_error)
    }
}

/// Treatment minus control. `None` until both arms have two values and something varies.
pub fn difference(control: &Moments, treatment: &Moments, plan: &Plan) -> Option<Difference> {
    let estimate = Estimate::of_difference(control, treatment, plan.form)?;
    estimate.look((control.count + treatment.count) as f64, plan)
}

/// The mean of one sample against 0: paired differences, as a shadow gives them. `None` below two values or if all are
/// the same.
pub fn one_sample(differences: &Moments, plan: &Plan) -> Option<Difference> {
    let standard_error = differences.standard_error()?;
    Estimate { difference: differences.mean, standard_error }.look(differences.count as f64, plan)
}

/// How much larger than the control a mean must be for a lift to make sense, in its standard errors.
const CLEAR_OF_ZERO: f64 = 3.0;

/// The lift, treatment over control minus 1, by the delta method:
/// se^2 = s1^2/(n1 m0^2) + m1^2 s0^2/(n0 m0^4). The safe form does not go below the safe standard error of the
/// difference over m0. `None` unless the control's mean is more than 3 standard errors above 0.
pub fn relative(control: &Moments, treatment: &Moments, plan: &Plan) -> Option<Difference> {
    let (error_0, error_1) = (control.standard_error()?, treatment.standard_error()?);
    let (mean_0, mean_1) = (control.mean, treatment.mean);
    if mean_0 <= CLEAR_OF_ZERO * error_0 {
        return None;
    }
    let ratio = mean_1 / mean_0;
    let delta = (error_1 / mean_0).hypot(ratio * error_0 / mean_0);
    let standard_error = match plan.form {
        Form::Plain => delta,
        Form::Safe => {
            let safe = Estimate::of_difference(control, treatment, Form::Safe)?;
            delta.max(safe.standard_error / mean_0)
        }
    };
    let estimate = Estimate { difference: ratio - 1.0, standard_error };
    estimate.look((control.count + treatment.count) as f64, plan)
}

/// A point and its standard error, before it is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Estimate {
    pub(super) difference: f64,
    pub(super) standard_error: f64,
}

impl Estimate {
    /// `None` below two values in an arm.
    pub(super) fn of_difference(
        control: &Moments,
        treatment: &Moments,
        form: Form,
    ) -> Option<Self> {
        let (n_0, n_1) = (control.count as f64, treatment.count as f64);
        let welch = control.variance()? / n_0 + treatment.variance()? / n_1;
        let variance = match form {
            Form::Plain => welch,
            Form::Safe => {
                let all = control.merged(treatment).variance()?;
                welch.max(all * (1.0 / n_0 + 1.0 / n_1))
            }
        };
        let difference = finite(treatment.mean - control.mean)?;
        Some(Self { difference, standard_error: finite(variance.sqrt())? })
    }

    /// `None` if the standard error is not above 0, or if anything overflows.
    pub(super) fn look(self, rows: f64, plan: &Plan) -> Option<Difference> {
        let Self { difference, standard_error } = self;
        let alpha = plan.alpha;
        if standard_error <= 0.0 || !(alpha > 0.0 && alpha < 1.0) {
            return None;
        }
        let k = plan.two_sided.information(rows, standard_error);
        let half = standard_error * boundary(alpha, k);
        let k_1 = plan.one_sided.information(rows, standard_error);
        let side = standard_error * one_sided_boundary(alpha, k_1);
        let log_e = log_e(k, difference / standard_error);
        finite(half + side + log_e)?;
        Some(Difference {
            difference,
            standard_error,
            information: k,
            log_e,
            p_value: p_value(log_e),
            lower: difference - half,
            upper: difference + half,
            one_sided_lower: difference - side,
            one_sided_upper: difference + side,
        })
    }
}

/// min(1, 1/E).
pub fn p_value(log_e: f64) -> f64 {
    (-log_e).exp().min(1.0)
}

fn log_e(k: f64, z: f64) -> f64 {
    -0.5 * k.ln_1p() + k / (1.0 + k) * z * z / 2.0
}

/// Half the width of the two-sided sequence, in standard errors.
pub(super) fn boundary(alpha: f64, k: f64) -> f64 {
    ((1.0 + k) / k * (k.ln_1p() - 2.0 * alpha.ln())).sqrt()
}

fn one_sided_boundary(alpha: f64, k: f64) -> f64 {
    (2.0 * (1.0 + k) / k * ((1.0 + k).sqrt() / (2.0 * alpha)).ln_1p()).sqrt()
}
