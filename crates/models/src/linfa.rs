//! Models that the engine trains itself, kept as JSON in `model.linfa.json`.

mod predictor;

use ::linfa::prelude::{DatasetBase, Fit};
use linfa_logistic::{MultiFittedLogisticRegression, MultiLogisticRegression};
use linfa_trees::{DecisionTree, TreeNode};
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use crate::ModelError;

/// The name of such a model in a package.
pub const FILE: &str = "model.linfa.json";
/// What the field `format` must say.
const FORMAT: &str = "decision-engine/linfa/1";
/// The name of its input tensor, `FP32 [-1, features]`.
pub const INPUT: &str = "features";
/// The name of its output with the class, `INT64 [-1]`.
pub const LABEL: &str = "label";
/// The name of its output with the probabilities, `FP32 [-1, labels]`. Trees have none.
pub const PROBABILITIES: &str = "probabilities";
/// Trees deeper than this are not grown: they would learn single rows by heart.
const MAX_DEPTH: usize = 12;

/// A classifier with the scaling of its features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinfaModel {
    format: String,
    /// Feature names, in the order of the columns.
    pub features: Vec<String>,
    /// Class names, in the order of the class numbers.
    pub labels: Vec<String>,
    scaler: Scaler,
    #[serde(flatten)]
    fitted: Fitted,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "algorithm", content = "model", rename_all = "snake_case")]
enum Fitted {
    Logistic(MultiFittedLogisticRegression<f64, usize>),
    Tree(DecisionTree<f64, usize>),
}

/// `(value - mean) / std` per column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scaler {
    mean: Vec<f64>,
    std: Vec<f64>,
}

/// Trains a multinomial logistic regression on scaled features.
///
/// `rows` are the features, `targets` the class numbers: positions in `labels`.
///
/// # Errors
/// [`ModelError::Input`] if the rows are not a finite matrix with a class each and at least two
/// classes among them; [`ModelError::Run`] if the solver gives up.
pub fn fit_logistic(
    rows: &[Vec<f64>],
    targets: &[usize],
    features: Vec<String>,
    labels: Vec<String>,
) -> Result<LinfaModel, ModelError> {
    let (scaler, dataset) = prepare(rows, targets, &features, &labels)?;
    let fitted = MultiLogisticRegression::default()
        .max_iterations(500)
        .fit(&dataset)
        .map_err(|error| ModelError::Run { reason: format!("training failed: {error}") })?;
    let format = FORMAT.to_owned();
    Ok(LinfaModel { format, features, labels, scaler, fitted: Fitted::Logistic(fitted) })
}

/// Trains a decision tree of at most twelve levels. Arguments as for [`fit_logistic`].
///
/// # Errors
/// As for [`fit_logistic`].
pub fn fit_tree(
    rows: &[Vec<f64>],
    targets: &[usize],
    features: Vec<String>,
    labels: Vec<String>,
) -> Result<LinfaModel, ModelError> {
    let (scaler, dataset) = prepare(rows, targets, &features, &labels)?;
    let fitted = DecisionTree::params()
        .max_depth(Some(MAX_DEPTH))
        .fit(&dataset)
        .map_err(|error| ModelError::Run { reason: format!("training failed: {error}") })?;
    let format = FORMAT.to_owned();
    Ok(LinfaModel { format, features, labels, scaler, fitted: Fitted::Tree(fitted) })
}

impl LinfaModel {
    /// The bytes of `model.linfa.json`.
    ///
    /// # Errors
    /// [`ModelError::Run`] if the model cannot be written as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, ModelError> {
        serde_json::to_vec(self).map_err(|error| ModelError::Run { reason: error.to_string() })
    }

    /// Reads the bytes of `model.linfa.json`.
    ///
    /// # Errors
    /// [`ModelError::File`] if they are not such a model, or its parts do not fit each other.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ModelError> {
        let model: Self = serde_json::from_slice(bytes)
            .map_err(|error| ModelError::file(FILE, format!("is not a linfa model: {error}")))?;
        match model.fault() {
            Some(fault) => Err(ModelError::file(FILE, fault)),
            None => Ok(model),
        }
    }

    /// Whether it gives probabilities.
    pub fn gives_probabilities(&self) -> bool {
        matches!(self.fitted, Fitted::Logistic(_))
    }

    /// The name of the algorithm: `logistic` or `tree`.
    pub fn algorithm(&self) -> &'static str {
        match self.fitted {
            Fitted::Logistic(_) => "logistic",
            Fitted::Tree(_) => "tree",
        }
    }

    /// What would make linfa panic later: it trusts its own files, this does not.
    fn fault(&self) -> Option<String> {
        let (width, classes) = (self.features.len(), self.labels.len());
        if self.format != FORMAT {
            return Some(format!("has the format `{}`, must be `{FORMAT}`", self.format));
        }
        if width == 0 || classes < 2 {
            return Some("must have at least one feature and two labels".to_owned());
        }
        if self.scaler.mean.len() != width || self.scaler.std.len() != width {
            return Some(format!("must have a mean and a std for each of its {width} features"));
        }
        if self.scaler.std.iter().any(|std| !std.is_finite() || *std <= 0.0) {
            return Some("has a std that is not above zero".to_owned());
        }
        let known = |class: usize| class < classes;
        let fits = match &self.fitted {
            Fitted::Logistic(fitted) => {
                let given = fitted.classes().len();
                fitted.params().dim() == (width, given)
                    && fitted.intercept().len() == given
                    && fitted.classes().iter().copied().all(known)
            }
            Fitted::Tree(tree) => node_fits(tree.root_node(), width, &known),
        };
        (!fits).then(|| "has a model whose sizes do not fit its features and labels".to_owned())
    }
}

fn node_fits(node: &TreeNode<f64, usize>, width: usize, known: &impl Fn(usize) -> bool) -> bool {
    if node.is_leaf() {
        return node.prediction().is_some_and(known);
    }
    node.split().0 < width
        && node
            .children()
            .into_iter()
            .all(|child| child.as_ref().is_some_and(|child| node_fits(child, width, known)))
}

type Labelled = DatasetBase<Array2<f64>, Array1<usize>>;

fn prepare(
    rows: &[Vec<f64>],
    targets: &[usize],
    features: &[String],
    labels: &[String],
) -> Result<(Scaler, Labelled), ModelError> {
    let width = features.len();
    let bad = |reason: String| Err(ModelError::input("training rows", reason));
    if rows.len() != targets.len() {
        return bad(format!("are {}, but there are {} targets", rows.len(), targets.len()));
    }
    if width == 0 || rows.iter().any(|row| row.len() != width) {
        return bad(format!("must have a value for each of the {width} features"));
    }
    if rows.iter().flatten().any(|value| !value.is_finite()) {
        return bad("must hold finite numbers only".to_owned());
    }
    if targets.iter().any(|target| *target >= labels.len()) {
        return bad(format!("name a class beyond the {} labels", labels.len()));
    }
    if targets.iter().all(|target| targets.first() == Some(target)) {
        return bad("must hold at least two classes".to_owned());
    }
    let scaler = Scaler::fit(rows, width);
    let scaled = rows.iter().flat_map(|row| scaler.scale(row)).collect();
    let matrix = Array2::from_shape_vec((rows.len(), width), scaled)
        .map_err(|error| ModelError::Run { reason: error.to_string() })?;
    Ok((scaler, DatasetBase::new(matrix, Array1::from(targets.to_vec()))))
}

impl Scaler {
    fn fit(rows: &[Vec<f64>], width: usize) -> Self {
        let count = rows.len() as f64;
        let column = |index: usize| rows.iter().filter_map(move |row| row.get(index).copied());
        let mean: Vec<f64> = (0..width).map(|index| column(index).sum::<f64>() / count).collect();
        let std = mean.iter().enumerate().map(|(index, mean)| {
            let std =
                (column(index).map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
            // A constant column tells nothing; dividing by 1 keeps it at zero.
            if std.is_finite() && std > f64::EPSILON { std } else { 1.0 }
        });
        Self { std: std.collect(), mean }
    }

    fn scale<'a>(&'a self, row: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        row.iter().zip(&self.mean).zip(&self.std).map(|((value, mean), std)| (value - mean) / std)
    }
}

#[cfg(test)]
mod tests;
