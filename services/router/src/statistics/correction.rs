//! Many arms, many metrics: what one error rate means then.
//!
//! A p-value that is not a number counts as 1, so an undefined test never rejects, and still counts as a test.

/// The alpha for each of `tests` of which any may raise the alarm: guardrails.
pub fn bonferroni(alpha: f64, tests: usize) -> f64 {
    alpha / tests.max(1) as f64
}

/// Holm's step-down: adjusted_(i) = max over j <= i of p_(j) (m - j + 1), at most 1, in the order given. Reject where
/// it is at most alpha: the chance of any false one is at most alpha. For success metrics over arms.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let m = p_values.len() as f64;
    let mut so_far = 0.0f64;
    adjust(p_values, ascending(p_values), |rank, p| {
        so_far = so_far.max((p * (m - rank)).min(1.0));
        so_far
    })
}

/// Benjamini and Hochberg's step-up: adjusted_(i) = min over j >= i of p_(j) m/j, at most 1, in the order given.
/// Reject where it is at most q: of what is rejected, a share of q is false on average. For exploring.
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let m = p_values.len() as f64;
    let mut descending = ascending(p_values);
    descending.reverse();
    let mut so_far = 1.0f64;
    adjust(p_values, descending, |from_end, p| {
        so_far = so_far.min(p * m / (m - from_end));
        so_far
    })
}

/// e-BH of Wang and Ramdas (2022): rejects the k largest e with e_(k) >= m/(alpha k). Takes ln e. Valid at any time and
/// however the tests depend on each other.
pub fn e_benjamini_hochberg(log_e_values: &[f64], alpha: f64) -> Vec<bool> {
    let m = log_e_values.len() as f64;
    let mut sorted: Vec<f64> = log_e_values.iter().copied().filter(|e| !e.is_nan()).collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let enough =
        |(index, log_e): &(usize, f64)| *log_e >= (m / alpha).ln() - (*index as f64 + 1.0).ln();
    let least = sorted.into_iter().enumerate().rfind(enough).map(|(_, log_e)| log_e);
    log_e_values.iter().map(|log_e| least.is_some_and(|least| *log_e >= least)).collect()
}

fn ascending(p_values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    let p = |index: &usize| number(p_values.get(*index));
    order.sort_by(|a, b| p(a).total_cmp(&p(b)));
    order
}

fn number(p_value: Option<&f64>) -> f64 {
    p_value.copied().filter(|p| !p.is_nan()).unwrap_or(1.0)
}

/// Goes through the p-values in `order`, with their rank from 0, and puts each answer where its p-value was.
fn adjust(
    p_values: &[f64],
    order: Vec<usize>,
    mut adjusted: impl FnMut(f64, f64) -> f64,
) -> Vec<f64> {
    let mut answer = vec![1.0; p_values.len()];
    for (rank, index) in order.into_iter().enumerate() {
        let value = adjusted(rank as f64, number(p_values.get(index)));
        if let Some(place) = answer.get_mut(index) {
            *place = value;
        }
    }
    answer
}
