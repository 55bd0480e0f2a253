//! Callers that ask all the time, and what they were answered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Client, until};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinHandle;

/// Callers that ask at the same time.
const CALLERS: usize = 4;

/// A request that was answered.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) began: Instant,
    pub(super) version: String,
    pub(super) id: String,
}

/// Callers under way.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<Mutex<Vec<Asked>>>,
    failures: Arc<Mutex<Vec<String>>>,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Asks for `iris`, without a unit.
    pub(super) fn start(client: &Client) -> Self {
        let (stop, answered, failures) = (Arc::default(), Arc::default(), Arc::default());
        let mut load = Self { stop, answered, failures, callers: Vec::new() };
        for _ in 0..CALLERS {
            let body = json!({"features": [5.1, 3.5, 1.4, 0.2]});
            let (client, stop) = (client.clone(), Arc::clone(&load.stop));
            let (answered, failures) = (Arc::clone(&load.answered), Arc::clone(&load.failures));
            load.callers.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let answer = client.predict("iris", &body).await;
                    if answer.status != 200 {
                        failures.lock().unwrap().push(answer.text());
                        continue;
                    }
                    let said = answer.json();
                    let text = |field: &str| said[field].as_str().unwrap().to_owned();
                    let (version, id) = (text("model_version"), text("prediction_id"));
                    answered.lock().unwrap().push(Asked { began, version, id });
                }
            }));
        }
        load
    }

    pub(super) async fn until_more(&self, answers: usize) {
        let wanted = self.answered.lock().unwrap().len() + answers;
        let enough = || async { (self.answered.lock().unwrap().len() >= wanted).then_some(()) };
        until("more answers", Duration::from_secs(60), enough).await;
    }

    /// Those that began after a moment.
    pub(super) fn since(&self, moment: Instant) -> Vec<Asked> {
        self.all().into_iter().filter(|asked| asked.began > moment).collect()
    }

    pub(super) fn all(&self) -> Vec<Asked> {
        self.answered.lock().unwrap().clone()
    }

    /// Stops, and returns all. None may have failed.
    pub(super) async fn end(self) -> Vec<Asked> {
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.unwrap();
        }
        assert_eq!(*self.failures.lock().unwrap(), Vec::<String>::new());
        self.answered.lock().unwrap().clone()
    }
}

/// The wall clock, which the routers on this machine go by, too.
#[expect(clippy::disallowed_methods, reason = "compared with what routers wrote by theirs")]
pub(super) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// When a router first saw the request of a record.
pub(super) fn begun(record: &Value) -> OffsetDateTime {
    let at = OffsetDateTime::parse(record["at"].as_str().unwrap(), &Rfc3339).unwrap();
    at - Duration::from_micros(record["latency_us"].as_u64().unwrap())
}
