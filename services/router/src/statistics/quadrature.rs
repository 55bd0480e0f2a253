//! Gauss and Legendre's rule on panels, with the integral up to every node.

use std::f64::consts::PI;
use std::sync::LazyLock;

const NODES: usize = 16;

/// The rule on [-1, 1].
struct Rule {
    nodes: Vec<f64>,
    weights: Vec<f64>,
    /// For each node, the weights of the integral from -1 to it.
    up_to: Vec<Vec<f64>>,
}

static RULE: LazyLock<Rule> = LazyLock::new(|| {
    let mut nodes = Vec::new();
    let mut weights = Vec::new();
    for i in 0..NODES {
        // Newton's method from Tricomi's guess; four steps are exact to the last bits.
        let mut x = -(PI * (i as f64 + 0.75) / (NODES as f64 + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..6 {
            let (value, before) = legendre(NODES, x);
            slope = NODES as f64 * (x * value - before) / (x * x - 1.0);
            x -= value / slope;
        }
        nodes.push(x);
        weights.push(2.0 / ((1.0 - x * x) * slope * slope));
    }
    // The integral of the polynomial through the nodes: the one of P_k up to x is (P_(k+1) - P_(k-1))/(2k + 1).
    let integral = |k: usize, x: f64| {
        if k == 0 {
            return x + 1.0;
        }
        let (after, _) = legendre(k + 1, x);
        let (_, before) = legendre(k, x);
        (after - before) / (2 * k + 1) as f64
    };
    let weight_up_to = |x: f64, (node, weight): (&f64, &f64)| {
        let term = |k| (2 * k + 1) as f64 / 2.0 * legendre(k, *node).0 * integral(k, x);
        weight * (0..NODES).map(term).sum::<f64>()
    };
    let up_to = nodes
        .iter()
        .map(|x| nodes.iter().zip(&weights).map(|pair| weight_up_to(*x, pair)).collect())
        .collect();
    Rule { nodes, weights, up_to }
});

/// P_k and P_(k-1) at x.
fn legendre(k: usize, x: f64) -> (f64, f64) {
    let (mut value, mut before) = (1.0, 0.0);
    for n in 0..k {
        let n = n as f64;
        (value, before) = (((2.0 * n + 1.0) * x * value - n * before) / (n + 1.0), value);
    }
    (value, before)
}

/// Nodes over a range that is cut at `edges`, with the weight of each.
pub(super) struct Grid {
    half_widths: Vec<f64>,
    /// Where functions are to be evaluated, in ascending order.
    pub(super) nodes: Vec<f64>,
    /// What each value weighs in the integral over the whole range.
    pub(super) weights: Vec<f64>,
}

impl Grid {
    /// `edges` in any order; equal ones count once.
    pub(super) fn new(mut edges: Vec<f64>) -> Self {
        edges.sort_by(f64::total_cmp);
        edges.dedup();
        let mut grid = Self { half_widths: Vec::new(), nodes: Vec::new(), weights: Vec::new() };
        for (start, end) in edges.iter().zip(edges.iter().skip(1)) {
            let (middle, half) = ((start + end) / 2.0, (end - start) / 2.0);
            grid.half_widths.push(half);
            grid.nodes.extend(RULE.nodes.iter().map(|x| middle + half * x));
            grid.weights.extend(RULE.weights.iter().map(|weight| half * weight));
        }
        grid
    }

    /// The integral of `values` (at the nodes) up to each node, and over the whole range.
    pub(super) fn integrals(&self, values: &[f64]) -> (Vec<f64>, f64) {
        let dot = |weights: &[f64], values: &[f64]| -> f64 {
            weights.iter().zip(values).map(|(weight, value)| weight * value).sum()
        };
        let mut so_far = 0.0;
        let mut up_to = Vec::with_capacity(values.len());
        for (panel, half) in values.chunks(NODES).zip(&self.half_widths) {
            up_to.extend(RULE.up_to.iter().map(|weights| so_far + half * dot(weights, panel)));
            so_far += half * dot(&RULE.weights, panel);
        }
        (up_to, so_far)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integrals_of_smooth_functions_are_exact() {
        let grid = Grid::new(vec![3.0, 0.0, 1.0, 1.0, 0.5, 1.5, 2.2]);
        let values: Vec<f64> = grid.nodes.iter().map(|x| (-x * x).exp() * x).collect();
        let (up_to, all) = grid.integrals(&values);
        let exact = |x: f64| (1.0 - (-x * x).exp()) / 2.0;
        assert!((all - exact(3.0)).abs() < 1e-12, "{all}");
        for (x, integral) in grid.nodes.iter().zip(up_to) {
            assert!((integral - exact(*x)).abs() < 1e-12, "{x}: {integral}");
        }
        let weighed: f64 =
            grid.weights.iter().zip(values).map(|(weight, value)| weight * value).sum();
        assert!((weighed - all).abs() < 1e-14);
    }
}
