//! How scores are made: packages, graphs, sessions, preprocessing, outcomes. Pure CPU work.
//!
//! Reading order: [`package`] (a model's files and its manifest, inferred where the author is
//! silent), [`predictor`] (tensors in, tensors out), [`preprocess`] (rows, texts and pictures into
//! tensors), [`outcome`] (tensors into predictions). [`graph`] reads an ONNX file's facts without
//! ONNX Runtime; [`library`] finds and starts ONNX Runtime.
//!
//! ```
//! use models::preprocess::tabular::Cell;
//!
//! let rows = [vec![0.0, 1.0], vec![1.0, 0.0], vec![0.1, 0.9], vec![0.9, 0.2]];
//! let names = |list: [&str; 2]| list.map(str::to_owned).to_vec();
//! let trained =
//!     models::linfa::fit_logistic(&rows, &[0, 1, 0, 1], names(["a", "b"]), names(["no", "yes"]))?;
//! let files = [("model.linfa.json".to_owned(), trained.to_json()?.into())].into();
//! let package = models::Package::assemble("demo", None, files)?;
//! let predictor = package.predictor(1, std::time::Duration::from_secs(60))?;
//! let rows = [vec![Cell::Number(0.95), Cell::Number(0.1)]];
//! let input = models::preprocess::tabular::tensors(&package.manifest, &rows)?;
//! let outcomes = models::outcome::outcomes(&package.manifest, &predictor.run(input)?)?;
//! assert_eq!(outcomes.first().and_then(|row| row.label.as_deref()), Some("yes"));
//! # Ok::<(), models::ModelError>(())
//! ```
//!
//! # Invariants
//! - Nothing here reads the environment, opens a socket or knows an async runtime.
//! - No format that runs code when loaded is ever loaded (pickle and its relatives).
//! - Bytes from outside give errors, never panics.

pub mod error;
pub mod graph;
pub mod library;
pub mod linfa;
pub mod onnx;
pub mod outcome;
pub mod package;
pub mod predictor;
pub mod preprocess;
pub mod rules;
pub mod tensor;

pub use error::ModelError;
pub use outcome::{Outcome, Prediction};
pub use package::Package;
pub use predictor::Predictor;
pub use tensor::{Tensor, Values};
