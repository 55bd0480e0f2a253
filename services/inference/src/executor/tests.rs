use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use models::{ModelError, Predictor, Values};

use super::*;

/// Gives back what it gets, counts its calls, and can be held up.
#[derive(Default)]
struct Echo {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    held_up: bool,
    started: usize,
    /// Rows of each call.
    calls: Vec<usize>,
}

impl Echo {
    fn hold_up(&self, held_up: bool) {
        self.state.lock().unwrap().held_up = held_up;
        self.changed.notify_all();
    }

    fn wait_for_start(&self) {
        let started =
            self.changed.wait_while(self.state.lock().unwrap(), |state| state.started == 0);
        drop(started.unwrap());
    }

    fn calls(&self) -> Vec<usize> {
        self.state.lock().unwrap().calls.clone()
    }
}

/// An [`Echo`] that the test still holds.
struct Shared(Arc<Echo>);

impl Predictor for Shared {
    fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, ModelError> {
        let mut state = self.0.state.lock().unwrap();
        state.started += 1;
        state.calls.push(inputs[0].rows());
        self.0.changed.notify_all();
        drop(self.0.changed.wait_while(state, |state| state.held_up).unwrap());
        let Values::Fp32(values) = &inputs[0].values else { panic!() };
        if values.contains(&13.0) {
            return Err(ModelError::Run { reason: "13".to_owned() });
        }
        assert!(!values.contains(&666.0), "a model that panics");
        Ok(inputs)
    }

    fn try_run(&self, inputs: &mut Vec<Tensor>) -> Option<Result<Vec<Tensor>, ModelError>> {
        Some(self.run(std::mem::take(inputs)))
    }

    fn memory_bytes(&self) -> u64 {
        0
    }
}

fn counted() -> runtime::telemetry::metrics::ComputeMetrics {
    let (model, version) = ("echo".parse().unwrap(), "1".parse().unwrap());
    runtime::telemetry::metrics::ComputeMetrics::new(&contracts::inference::Target {
        model,
        version,
    })
}

fn model(row_us: u64, batchable: bool) -> (Arc<Echo>, Arc<Runnable>) {
    let echo = Arc::new(Echo::default());
    let predictor = Box::new(Shared(Arc::clone(&echo)));
    (
        echo,
        Arc::new(Runnable { predictor, batchable, splittable: true, row_us, counted: counted() }),
    )
}

fn rows(values: &[f32]) -> Vec<Tensor> {
    vec![Tensor::new("x", vec![values.len(), 1], Values::Fp32(values.to_vec())).unwrap()]
}

fn executor(workers: usize, queue: usize) -> Executor {
    Executor::new(Limits { workers, queue, batch_rows: 8, inline_us: 500 }).unwrap()
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

/// Starts a future as far as it goes at once.
fn start<F: Future>(future: std::pin::Pin<&mut F>) {
    let poll = future.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(poll, Poll::Pending), "it should have to wait");
}

const SLOW: u64 = 10_000;

#[tokio::test]
async fn cheap_work_runs_at_once_on_the_calling_thread() {
    let executor = executor(0, 1);
    let (_, model) = model(100, true);
    let ran = executor.run(&model, rows(&[1.0, 2.0]), 2, soon(), Lane::Live).await.unwrap();
    assert_eq!(ran.outputs, rows(&[1.0, 2.0]));
}

#[tokio::test]
async fn a_full_queue_is_unavailable_at_once() {
    let executor = executor(1, 1);
    let (echo, model) = model(SLOW, true);
    echo.hold_up(true);
    let mut running = pin!(executor.run(&model, rows(&[1.0]), 1, soon(), Lane::Live));
    start(running.as_mut());
    echo.wait_for_start();
    let mut waiting = pin!(executor.run(&model, rows(&[2.0]), 1, soon(), Lane::Live));
    start(waiting.as_mut());
    let refused = executor.run(&model, rows(&[3.0]), 1, soon(), Lane::Live).await.unwrap_err();
    let refused = contracts::ApiError::from(refused);
    assert_eq!(refused.code, contracts::ErrorCode::Unavailable);
    assert_eq!(refused.retry_after_s, Some(1));
    echo.hold_up(false);
    assert_eq!(running.await.unwrap().outputs, rows(&[1.0]));
    assert_eq!(waiting.await.unwrap().outputs, rows(&[2.0]));
}

#[tokio::test]
async fn what_waits_runs_together_and_each_gets_its_own_rows() {
    let executor = executor(1, 9);
    let (echo, model_one) = model(SLOW, true);
    let (other_echo, model_two) = model(SLOW, true);
    echo.hold_up(true);
    let mut running = pin!(executor.run(&model_one, rows(&[0.0]), 1, soon(), Lane::Live));
    start(running.as_mut());
    echo.wait_for_start();
    let mut first = pin!(executor.run(&model_one, rows(&[1.0, 2.0]), 2, soon(), Lane::Live));
    let mut other = pin!(executor.run(&model_two, rows(&[7.0]), 1, soon(), Lane::Live));
    let mut second = pin!(executor.run(&model_one, rows(&[3.0, 4.0, 5.0]), 3, soon(), Lane::Live));
    let mut too_many = pin!(executor.run(&model_one, rows(&[8.0; 4]), 4, soon(), Lane::Live));
    let mut third = pin!(executor.run(&model_one, rows(&[6.0]), 1, soon(), Lane::Live));
    start(first.as_mut());
    start(other.as_mut());
    start(second.as_mut());
    start(too_many.as_mut());
    start(third.as_mut());
    echo.hold_up(false);
    assert_eq!(running.await.unwrap().outputs, rows(&[0.0]));
    assert_eq!(first.await.unwrap().outputs, rows(&[1.0, 2.0]));
    assert_eq!(second.await.unwrap().outputs, rows(&[3.0, 4.0, 5.0]));
    assert_eq!(third.await.unwrap().outputs, rows(&[6.0]));
    assert_eq!(other.await.unwrap().outputs, rows(&[7.0]));
    assert_eq!(too_many.await.unwrap().outputs, rows(&[8.0; 4]));
    assert_eq!(echo.calls(), [1, 6, 4], "8 rows at most run together");
    assert_eq!(other_echo.calls(), [1]);
}

#[tokio::test]
async fn a_fault_of_one_request_is_not_anothers() {
    let executor = executor(1, 9);
    let (echo, model) = model(SLOW, true);
    echo.hold_up(true);
    let mut running = pin!(executor.run(&model, rows(&[0.0]), 1, soon(), Lane::Live));
    start(running.as_mut());
    echo.wait_for_start();
    let mut good = pin!(executor.run(&model, rows(&[1.0]), 1, soon(), Lane::Live));
    let mut bad = pin!(executor.run(&model, rows(&[13.0]), 1, soon(), Lane::Live));
    start(good.as_mut());
    start(bad.as_mut());
    echo.hold_up(false);
    assert!(running.await.is_ok());
    assert_eq!(good.await.unwrap().outputs, rows(&[1.0]));
    assert!(bad.await.is_err());
}

#[tokio::test]
async fn work_that_nobody_waits_for_is_not_done() {
    let executor = executor(1, 9);
    let (echo, model) = model(SLOW, false);
    echo.hold_up(true);
    let mut running = pin!(executor.run(&model, rows(&[0.0]), 1, soon(), Lane::Live));
    start(running.as_mut());
    echo.wait_for_start();
    {
        let mut cancelled = pin!(executor.run(&model, rows(&[1.0]), 1, soon(), Lane::Live));
        start(cancelled.as_mut());
    }
    let late = Deadline::after(Duration::from_millis(5));
    let error = executor.run(&model, rows(&[2.0]), 1, late, Lane::Live).await.unwrap_err();
    assert_eq!(contracts::ApiError::from(error).code, contracts::ErrorCode::Timeout);
    let mut wanted = pin!(executor.run(&model, rows(&[3.0]), 1, soon(), Lane::Live));
    start(wanted.as_mut());
    echo.hold_up(false);
    assert!(running.await.is_ok());
    assert!(wanted.await.is_ok());
    assert_eq!(echo.calls(), [1, 1], "the cancelled and the late one never ran");
}

#[tokio::test]
async fn a_passed_deadline_runs_nothing() {
    let executor = executor(0, 1);
    let (echo, model) = model(1, true);
    let passed = Deadline::after(Duration::ZERO);
    let error = executor.run(&model, rows(&[1.0]), 1, passed, Lane::Live).await.unwrap_err();
    assert_eq!(contracts::ApiError::from(error).code, contracts::ErrorCode::Timeout);
    assert!(echo.calls().is_empty());
}

#[tokio::test]
async fn rows_of_a_model_that_is_not_batchable_run_one_by_one() {
    let executor = executor(1, 1);
    let (echo, model) = model(1, false);
    let ran = executor.run(&model, rows(&[1.0, 2.0, 3.0]), 3, soon(), Lane::Live).await.unwrap();
    assert_eq!(ran.outputs, rows(&[1.0, 2.0, 3.0]));
    assert_eq!(echo.calls(), [1, 1, 1]);
}

#[tokio::test]
async fn many_rows_run_in_parts() {
    let executor = executor(1, 1);
    let (echo, model) = model(1, true);
    let many: Vec<f32> = [1.0, 2.0].repeat(10);
    let ran = executor.run(&model, rows(&many), 20, soon(), Lane::Live).await.unwrap();
    assert_eq!(ran.outputs, rows(&many));
    assert_eq!(echo.calls(), [8, 8, 4]);
}

#[tokio::test]
async fn a_model_that_panics_harms_nobody_else() {
    let executor = executor(1, 1);
    let (_, evil) = model(SLOW, true);
    assert!(executor.run(&evil, rows(&[666.0]), 1, soon(), Lane::Live).await.is_err());
    let (_, good) = model(SLOW, true);
    assert!(executor.run(&good, rows(&[1.0]), 1, soon(), Lane::Live).await.is_ok());
    let broken =
        executor.offload(soon(), Lane::Live, |_| -> Result<(), _> { panic!("on purpose") });
    assert!(matches!(broken.await, Err(InferenceError::Lost)));
    assert_eq!(executor.offload(soon(), Lane::Live, |_| Ok(7)).await.unwrap(), 7);
}

#[tokio::test]
async fn what_nobody_waits_for_waits_for_the_others() {
    let executor = executor(1, 9);
    let (behind, shadow) = model(1, true);
    behind.hold_up(true);
    // Cheap as it is, it does not take the thread of those who ask.
    let mut first = pin!(executor.run(&shadow, rows(&[1.0]), 1, soon(), Lane::Background));
    start(first.as_mut());
    behind.wait_for_start();
    let mut second = pin!(executor.run(&shadow, rows(&[2.0, 3.0]), 2, soon(), Lane::Background));
    start(second.as_mut());
    let mut live = pin!(executor.offload(soon(), Lane::Live, {
        let behind = Arc::clone(&behind);
        move |_| Ok(behind.calls().len())
    }));
    start(live.as_mut());
    behind.hold_up(false);
    assert_eq!(live.await.unwrap(), 1, "it went before the second one");
    assert!(first.await.is_ok());
    assert_eq!(second.await.unwrap().outputs, rows(&[2.0, 3.0]));
}

#[tokio::test]
async fn one_worker_of_several_stays_free_for_those_who_wait() {
    let executor = executor(2, 1);
    let (behind, shadow) = model(SLOW, true);
    behind.hold_up(true);
    let mut first = pin!(executor.run(&shadow, rows(&[1.0]), 1, soon(), Lane::Background));
    start(first.as_mut());
    behind.wait_for_start();
    let mut second = pin!(executor.run(&shadow, rows(&[2.0]), 1, soon(), Lane::Background));
    start(second.as_mut());
    let third = executor.run(&shadow, rows(&[3.0]), 1, soon(), Lane::Background).await;
    assert!(matches!(third, Err(InferenceError::Overloaded)), "its queue is bounded, too");
    let (_, live) = model(SLOW, true);
    assert!(executor.run(&live, rows(&[4.0]), 1, soon(), Lane::Live).await.is_ok());
    assert_eq!(behind.calls(), [1], "the second waits for the first");
    behind.hold_up(false);
    assert!(first.await.is_ok());
    assert!(second.await.is_ok());
}
