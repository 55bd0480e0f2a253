//! Where and when a model runs.
//!
//! Cheap work runs at once on the thread that asks, if a session is free. Everything else goes into
//! one bounded queue, from which worker threads of their own take it; a worker that takes a request
//! takes along all that wait for the same model and may run with it, and never waits for more.
//!
//! What nobody waits for has a queue of its own: it runs while the first is empty, and never on the
//! last free worker of several.

mod queue;
mod runnable;

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use contracts::Deadline;
use models::Tensor;
use tokio::sync::oneshot;

use crate::InferenceError;
pub(crate) use queue::Lane;
pub(crate) use queue::Offload;
use queue::{Batch, Job, Queue};
pub(crate) use runnable::{Ran, Runnable};

/// Limits of an executor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Threads.
    pub(crate) workers: usize,
    /// Requests that may wait, in each lane.
    pub(crate) queue: usize,
    /// Rows that run together.
    pub(crate) batch_rows: usize,
    /// What may run on the calling thread, microseconds.
    pub(crate) inline_us: u64,
}

/// How busy an executor is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Requests that wait for a worker.
    pub(crate) waiting: u64,
    /// Workers that run something.
    pub(crate) busy: u64,
}

/// Worker threads and their queue.
pub(crate) struct Executor {
    queue: Arc<Queue>,
    limits: Limits,
    workers: Vec<JoinHandle<()>>,
}

impl Executor {
    /// Starts the workers.
    pub(crate) fn new(limits: Limits) -> Result<Self, InferenceError> {
        let queue = Arc::new(Queue::new(limits.queue, limits.workers));
        let mut workers = Vec::with_capacity(limits.workers);
        for number in 0..limits.workers {
            let queue = Arc::clone(&queue);
            let worker = thread::Builder::new()
                .name(format!("inference-{number}"))
                .spawn(move || queue.work(limits.batch_rows))
                .map_err(InferenceError::Thread)?;
            workers.push(worker);
        }
        Ok(Self { queue, limits, workers })
    }

    /// What it is doing now.
    pub(crate) fn load(&self) -> Load {
        Load { waiting: self.queue.length(), busy: self.queue.busy() }
    }

    /// Its limits.
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Runs a model on `rows` rows.
    pub(crate) async fn run(
        &self,
        model: &Arc<Runnable>,
        mut inputs: Vec<Tensor>,
        rows: usize,
        deadline: Deadline,
        lane: Lane,
    ) -> Result<Ran, InferenceError> {
        deadline.check()?;
        let whole = rows == 1 || (model.batchable && rows <= self.limits.batch_rows);
        if whole
            && lane == Lane::Live
            && self.cheap(model, rows)
            && let Some(ran) = model.try_run(&mut inputs)
        {
            return ran;
        }
        let (reply, answer) = oneshot::channel();
        let model = Arc::clone(model);
        self.queue.push(Job::Batch(Batch { model, inputs, rows, deadline, reply }), lane)?;
        wait(answer, deadline).await
    }

    /// Whether rows of a model are expected to take so little that no other thread is worth it.
    pub(crate) fn cheap(&self, model: &Runnable, rows: usize) -> bool {
        model.row_us.saturating_mul(rows as u64) <= self.limits.inline_us
    }

    /// Does other work of a request, such as decoding a picture, on a worker.
    pub(crate) async fn offload<T: Send + 'static>(
        &self,
        deadline: Deadline,
        lane: Lane,
        work: impl FnOnce(&dyn Fn() -> bool) -> Result<T, InferenceError> + Send + 'static,
    ) -> Result<T, InferenceError> {
        deadline.check()?;
        let (reply, answer) = oneshot::channel();
        self.queue.push(Job::Offload(Box::new(Offload { work, reply, deadline })), lane)?;
        wait(answer, deadline).await
    }

    /// Rows that run together.
    pub(crate) fn batch_rows(&self) -> usize {
        self.limits.batch_rows
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.queue.close();
        for worker in self.workers.drain(..) {
            // A worker catches panics of its jobs; there is nothing to learn from it here.
            drop(worker.join());
        }
    }
}

/// Waits for an answer until the deadline. To stop waiting is to cancel: the worker sees it.
async fn wait<T>(
    answer: oneshot::Receiver<Result<T, InferenceError>>,
    deadline: Deadline,
) -> Result<T, InferenceError> {
    match tokio::time::timeout_at(deadline.instant().into(), answer).await {
        Ok(Ok(result)) => result,
        Ok(Err(_gone)) => Err(InferenceError::Lost),
        Err(_elapsed) => Err(Deadline::passed().into()),
    }
}

#[cfg(test)]
mod tests;
