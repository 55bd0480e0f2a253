//! Tensors in, tensors out: what all models have in common.

use crate::{ModelError, Tensor};

/// A loaded model. Calls may come from many threads at once.
pub trait Predictor: Send + Sync {
    /// Runs the model, waiting for a free session. Output tensors come in the graph's order.
    ///
    /// # Errors
    /// [`ModelError::Input`] if a tensor does not fit the graph, [`ModelError::Run`] if the model
    /// fails, [`ModelError::Output`] if it gives something that cannot be passed on.
    fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, ModelError>;

    /// As [`run`](Self::run), but returns `None` at once, with `inputs` untouched, if no session is
    /// free.
    fn try_run(&self, inputs: &mut Vec<Tensor>) -> Option<Result<Vec<Tensor>, ModelError>>;

    /// Memory it is taken to need, bytes: an estimate from its files and its number of sessions.
    fn memory_bytes(&self) -> u64;
}
