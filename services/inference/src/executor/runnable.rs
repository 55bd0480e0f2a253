//! A loaded model as the executor sees it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use models::{ModelError, Predictor, Tensor};
use runtime::telemetry::metrics::ComputeMetrics;

use crate::InferenceError;

/// A model with what decides how it runs.
pub(crate) struct Runnable {
    /// The model itself.
    pub(crate) predictor: Box<dyn Predictor>,
    /// Whether rows of several requests may run together. Otherwise rows run one by one.
    pub(crate) batchable: bool,
    /// Whether rows can be run one by one: not if the graph asks for a fixed number of them.
    pub(crate) splittable: bool,
    /// One row, measured while warming, microseconds.
    pub(crate) row_us: u64,
    /// Where its runs are counted.
    pub(crate) counted: ComputeMetrics,
}

/// Outputs of a run.
#[derive(Debug, PartialEq)]
pub(crate) struct Ran {
    /// In the graph's order.
    pub(crate) outputs: Vec<Tensor>,
    /// In the model itself, microseconds. Of a batch: of the whole batch.
    pub(crate) compute_us: u64,
}

impl Runnable {
    /// Runs all rows at once.
    pub(crate) fn run(&self, inputs: Vec<Tensor>) -> Result<Ran, InferenceError> {
        let begun = Instant::now();
        let outputs = catch_unwind(AssertUnwindSafe(|| self.predictor.run(inputs)));
        self.finish(begun, outputs.unwrap_or_else(|_panic| Err(panicked())))
    }

    /// As [`run`](Self::run), if a session is free.
    pub(crate) fn try_run(&self, inputs: &mut Vec<Tensor>) -> Option<Result<Ran, InferenceError>> {
        let begun = Instant::now();
        let answer = catch_unwind(AssertUnwindSafe(|| self.predictor.try_run(inputs)));
        match answer {
            Ok(None) => None,
            Ok(Some(outputs)) => Some(self.finish(begun, outputs)),
            Err(_panic) => Some(self.finish(begun, Err(panicked()))),
        }
    }

    fn finish(
        &self,
        begun: Instant,
        outputs: Result<Vec<Tensor>, ModelError>,
    ) -> Result<Ran, InferenceError> {
        let time = begun.elapsed();
        self.counted.ran(time);
        let compute_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Ok(Ran { outputs: outputs?, compute_us })
    }

    /// Runs any number of rows: `most` at once if the model is batchable, one by one if not. Stops
    /// between them when `wanted` says that nobody waits any more.
    pub(crate) fn run_rows(
        &self,
        inputs: Vec<Tensor>,
        rows: usize,
        most: usize,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Ran, InferenceError> {
        let step = if self.batchable { most.max(1) } else { 1 };
        let by_rows = inputs.iter().all(|tensor| !tensor.shape.is_empty() && tensor.rows() == rows);
        if rows <= step || !self.splittable || !by_rows {
            return self.run(inputs);
        }
        let mut all: Option<Ran> = None;
        let mut start = 0;
        while start < rows {
            if !wanted() {
                return Err(contracts::Deadline::passed().into());
            }
            let count = step.min(rows - start);
            let part = inputs.iter().map(|tensor| tensor.rows_from(start, count)).collect();
            let ran = self.run(part)?;
            match &mut all {
                None => all = Some(ran),
                Some(all) => {
                    all.compute_us += ran.compute_us;
                    stack(&mut all.outputs, ran.outputs)?;
                }
            }
            start += count;
        }
        all.ok_or(InferenceError::Lost)
    }
}

fn stack(all: &mut [Tensor], more: Vec<Tensor>) -> Result<(), InferenceError> {
    for (whole, part) in all.iter_mut().zip(more) {
        whole.stack(part).map_err(|part| ModelError::Output {
            output: part.name.clone(),
            reason: "does not have a row per row of the input: send one row at a time".to_owned(),
        })?;
    }
    Ok(())
}

fn panicked() -> ModelError {
    tracing::error!("a model panicked");
    ModelError::Run { reason: "it panicked".to_owned() }
}
