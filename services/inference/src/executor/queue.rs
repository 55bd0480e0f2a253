//! The bounded queues and what a worker does with them.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use contracts::Deadline;
use models::Tensor;
use runtime::telemetry::metrics;
use tokio::sync::oneshot;

use super::runnable::{Ran, Runnable};
use crate::InferenceError;

/// Which of the queues a job waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Somebody waits for the answer.
    Live,
    /// Nobody does.
    Background,
}

/// One request's work.
pub(super) enum Job {
    /// Rows for a model.
    Batch(Batch),
    /// Anything else.
    Offload(Box<dyn Work>),
}

/// Rows of one request for a model.
pub(super) struct Batch {
    pub(super) model: Arc<Runnable>,
    pub(super) inputs: Vec<Tensor>,
    pub(super) rows: usize,
    pub(super) deadline: Deadline,
    pub(super) reply: oneshot::Sender<Result<Ran, InferenceError>>,
}

/// Work with its way back to the caller.
pub(crate) struct Offload<W, T> {
    pub(super) work: W,
    pub(super) reply: oneshot::Sender<Result<T, InferenceError>>,
    pub(super) deadline: Deadline,
}

/// An [`Offload`] of any type.
pub(super) trait Work: Send {
    /// Whether the caller still waits.
    fn wanted(&self) -> bool;
    /// Does it, or tells the caller that it is too late.
    fn go(self: Box<Self>);
}

impl<W, T> Work for Offload<W, T>
where
    W: FnOnce(&dyn Fn() -> bool) -> Result<T, InferenceError> + Send,
    T: Send,
{
    fn wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn go(self: Box<Self>) {
        let Self { work, reply, deadline } = *self;
        if let Err(late) = deadline.check() {
            answer(reply, Err(late.into()));
            return;
        }
        let wanted = || !reply.is_closed() && deadline.check().is_ok();
        let result = catch_unwind(AssertUnwindSafe(|| work(&wanted)));
        answer(reply, result.unwrap_or(Err(InferenceError::Lost)));
    }
}

/// The caller may have gone: then nobody wants the answer.
fn answer<T>(reply: oneshot::Sender<Result<T, InferenceError>>, result: Result<T, InferenceError>) {
    drop(reply.send(result));
}

impl Job {
    fn wanted(&self) -> bool {
        match self {
            Self::Batch(batch) => !batch.reply.is_closed(),
            Self::Offload(work) => work.wanted(),
        }
    }
}

/// Waiting jobs, oldest first.
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    /// Jobs that may wait, in each lane.
    limit: usize,
    /// Workers that may be busy in the background at once.
    most_behind: usize,
    /// Workers that run something now.
    busy: AtomicU64,
}

#[derive(Default)]
struct State {
    live: VecDeque<Job>,
    background: VecDeque<Job>,
    /// Workers busy in the background.
    behind: usize,
    closed: bool,
}

impl State {
    fn lane(&mut self, lane: Lane) -> &mut VecDeque<Job> {
        match lane {
            Lane::Live => &mut self.live,
            Lane::Background => &mut self.background,
        }
    }

    /// What a worker does next.
    fn next(&mut self, most_behind: usize) -> Option<(Job, Lane)> {
        if let Some(job) = self.live.pop_front() {
            return Some((job, Lane::Live));
        }
        if self.behind >= most_behind {
            return None;
        }
        let job = self.background.pop_front()?;
        self.behind += 1;
        Some((job, Lane::Background))
    }
}

impl Queue {
    pub(super) fn new(limit: usize, workers: usize) -> Self {
        let most_behind = workers.saturating_sub(1).max(1);
        let (state, filled) = (Mutex::default(), Condvar::new());
        Self { state, filled, limit, most_behind, busy: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Jobs that wait.
    pub(super) fn length(&self) -> u64 {
        let state = self.lock();
        (state.live.len() + state.background.len()) as u64
    }

    /// Workers that run something now.
    pub(super) fn busy(&self) -> u64 {
        self.busy.load(Ordering::Relaxed)
    }

    /// Puts a job at the end; refuses it at once if the queue is full of wanted ones.
    pub(super) fn push(&self, job: Job, lane: Lane) -> Result<(), InferenceError> {
        let mut state = self.lock();
        let closed = state.closed;
        let jobs = state.lane(lane);
        if jobs.len() >= self.limit {
            jobs.retain(Job::wanted);
        }
        if jobs.len() >= self.limit || closed {
            metrics().inference_rejected.add(1, &[]);
            return Err(InferenceError::Overloaded);
        }
        jobs.push_back(job);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Lets the workers go once they have finished what they are at.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.live.clear();
        state.background.clear();
        drop(state);
        self.filled.notify_all();
    }

    /// A worker's life.
    pub(super) fn work(&self, batch_rows: usize) {
        loop {
            let mut state = self.lock();
            let (job, lane) = loop {
                if state.closed {
                    return;
                }
                match state.next(self.most_behind) {
                    Some(next) => break next,
                    None => {
                        state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
                    }
                }
            };
            self.busy.fetch_add(1, Ordering::Relaxed);
            match job {
                Job::Offload(work) => {
                    drop(state);
                    if work.wanted() {
                        work.go();
                    }
                }
                Job::Batch(first) => {
                    let batch = gather(first, state.lane(lane), batch_rows);
                    drop(state);
                    run(batch, batch_rows);
                }
            }
            self.busy.fetch_sub(1, Ordering::Relaxed);
            if lane == Lane::Background {
                self.lock().behind -= 1;
            }
        }
    }
}

/// Takes along what may run with `first`, in order, up to `most` rows.
fn gather(first: Batch, jobs: &mut VecDeque<Job>, most: usize) -> Vec<Batch> {
    let mut rows = first.rows;
    let model = Arc::clone(&first.model);
    let mut batch = vec![first];
    if !model.batchable || rows >= most {
        return batch;
    }
    let mut rest = VecDeque::with_capacity(jobs.len());
    for job in jobs.drain(..) {
        match job {
            Job::Batch(other)
                if Arc::ptr_eq(&other.model, &model)
                    && !other.reply.is_closed()
                    && rows + other.rows <= most
                    && alike(&batch, &other) =>
            {
                rows += other.rows;
                batch.push(other);
            }
            other => rest.push_back(other),
        }
    }
    *jobs = rest;
    batch
}

/// Whether another request's tensors can be stacked under the first one's.
fn alike(batch: &[Batch], other: &Batch) -> bool {
    batch.first().is_some_and(|first| {
        first.inputs.len() == other.inputs.len()
            && first.inputs.iter().zip(&other.inputs).all(|(one, two)| {
                one.name == two.name
                    && one.values.datatype() == two.values.datatype()
                    && !one.shape.is_empty()
                    && one.shape.get(1..) == two.shape.get(1..)
                    && two.rows() == other.rows
                    && one.rows() == first.rows
            })
    })
}

fn run(batch: Vec<Batch>, batch_rows: usize) {
    let mut live = Vec::with_capacity(batch.len());
    for job in batch {
        match job.deadline.check() {
            _ if job.reply.is_closed() => {}
            Err(late) => answer(job.reply, Err(late.into())),
            Ok(()) => live.push(job),
        }
    }
    if live.len() > 1 {
        live = match together(live) {
            Ok(()) => return,
            Err(apart) => apart,
        };
    }
    for job in live {
        let wanted = || !job.reply.is_closed() && job.deadline.check().is_ok();
        let ran = job.model.run_rows(job.inputs, job.rows, batch_rows, &wanted);
        answer(job.reply, ran);
    }
}

/// Runs several requests as one. Gives them back if the model fails, or does not answer by rows:
/// one request's fault must not become another's.
fn together(batch: Vec<Batch>) -> Result<(), Vec<Batch>> {
    let total: usize = batch.iter().map(|job| job.rows).sum();
    let mut stacked: Vec<Tensor> = Vec::new();
    for job in &batch {
        if stacked.is_empty() {
            stacked = job.inputs.clone();
            continue;
        }
        for (all, more) in stacked.iter_mut().zip(&job.inputs) {
            if all.stack(more.clone()).is_err() {
                return Err(batch);
            }
        }
    }
    let model = batch.first().map(|job| Arc::clone(&job.model));
    let Some(Ok(ran)) = model.map(|model| model.run(stacked)) else { return Err(batch) };
    let by_rows = |tensor: &Tensor| !tensor.shape.is_empty() && tensor.rows() == total;
    if !ran.outputs.iter().all(by_rows) {
        return Err(batch);
    }
    let mut start = 0;
    for job in batch {
        let part = |tensor: &Tensor| tensor.rows_from(start, job.rows);
        let outputs = ran.outputs.iter().map(part).collect();
        answer(job.reply, Ok(Ran { outputs, compute_us: ran.compute_us }));
        start += job.rows;
    }
    Ok(())
}
