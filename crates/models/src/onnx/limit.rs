//! A limit on the time of one run: a graph with a loop may never end by itself.
//!
//! Each session has a [`Slot`]. One thread looks at all of them twice a second and breaks off what
//! is over its limit; a run itself only notes when it began.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use ort::session::RunOptions;

use crate::ModelError;

/// How often the slots are looked at.
const INTERVAL: Duration = Duration::from_millis(500);

/// What breaks a session's run off.
pub(super) struct Slot {
    pub(super) options: RunOptions,
    limit: Duration,
    run: Mutex<Run>,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("limit", &self.limit).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Run {
    began: Option<Instant>,
    broken_off: bool,
}

static SLOTS: Mutex<Vec<Weak<Slot>>> = Mutex::new(Vec::new());
static WATCH: Once = Once::new();

impl Slot {
    /// A slot whose runs may take `limit`.
    pub(super) fn new(limit: Duration) -> Result<Arc<Self>, ModelError> {
        let options = RunOptions::new().map_err(|error| failed(error.message()))?;
        let slot = Arc::new(Self { options, limit, run: Mutex::default() });
        let mut slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|slot| slot.strong_count() > 0);
        slots.push(Arc::downgrade(&slot));
        drop(slots);
        WATCH.call_once(|| {
            let spawned = thread::Builder::new().name("onnx-limit".to_owned()).spawn(watch);
            // Without it models run as they always did.
            drop(spawned);
        });
        Ok(slot)
    }

    /// Runs `work`, which uses the options, within the limit.
    pub(super) fn within<T>(
        &self,
        work: impl FnOnce() -> Result<T, ModelError>,
    ) -> Result<T, ModelError> {
        self.run().began = Some(Instant::now());
        let result = work();
        let mut run = self.run();
        run.began = None;
        if !std::mem::take(&mut run.broken_off) {
            return result;
        }
        self.options.unterminate().map_err(|error| failed(error.message()))?;
        let seconds = self.limit.as_secs_f64();
        Err(failed(&format!(
            "one run took longer than {seconds} s and was broken off (`inference.run_limit_s`)"
        )))
    }

    fn break_off_if_over(&self) {
        let mut run = self.run();
        if run.began.is_some_and(|began| began.elapsed() > self.limit) {
            // Refused only for options that are not there.
            run.broken_off = self.options.terminate().is_ok();
        }
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn watch() {
    loop {
        thread::sleep(INTERVAL);
        let slots: Vec<_> = {
            let slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
            slots.iter().filter_map(Weak::upgrade).collect()
        };
        slots.iter().for_each(|slot| slot.break_off_if_over());
    }
}

fn failed(reason: &str) -> ModelError {
    ModelError::Run { reason: reason.to_owned() }
}
