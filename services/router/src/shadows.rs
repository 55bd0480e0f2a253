//! Shadow versions: asked the same as the version that answered, after the answer, for comparison
//! only.
//!
//! A request hands over what is to be asked and goes on: it waits for nothing here. What waits is
//! bounded, and so is what is under way; what finds no room is dropped and counted.

mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contracts::inference::{Answered, PredictTask};
use contracts::{Call, Framed};
use domain::prediction::Payload;
use domain::route::{BUCKETS, Route};
use domain::shadow::{Said, ShadowRecord};
use domain::{ModelName, PredictionId, Version, VersionId};
use runtime::telemetry::{label, metrics};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::assignment::bucket;
use crate::service::Service;
use crate::settings::ShadowSettings;
use crate::table::target;

pub(crate) use report::compare;

/// Comparisons kept at once.
const BATCH: usize = 500;
/// How often comparisons are kept.
const KEEP_EVERY: Duration = Duration::from_millis(500);

/// What is to be asked of a shadow version.
pub(crate) struct Question {
    version: Arc<Version>,
    live_version: VersionId,
    live: Said,
    task: Framed<PredictTask>,
    input: Payload,
}

/// What waits to be asked.
pub(crate) struct Shadows {
    settings: ShadowSettings,
    send: mpsc::Sender<Question>,
    receive: Mutex<mpsc::Receiver<Question>>,
    /// Questions and comparisons that found no room, since this process began.
    dropped: AtomicU64,
}

/// An answered request, as far as a shadow is concerned with it.
pub(crate) struct Answer<'a> {
    pub(crate) id: PredictionId,
    pub(crate) route: &'a Route,
    pub(crate) version: VersionId,
    pub(crate) request: &'a Framed<PredictTask>,
    pub(crate) answered: &'a Answered,
}

impl Shadows {
    pub(crate) fn new(settings: ShadowSettings) -> Self {
        let (send, receive) = mpsc::channel(settings.max_waiting.max(1));
        Self { settings, send, receive: Mutex::new(receive), dropped: AtomicU64::new(0) }
    }

    /// Hands over what the route's shadows are to be asked. Never waits.
    pub(crate) fn offer(
        &self,
        answer: &Answer<'_>,
        version: impl Fn(VersionId) -> Option<Arc<Version>>,
        input: impl Fn() -> Payload,
    ) {
        // The same draw on every replica, and for all shadows: they see the same requests.
        let mut draw = None;
        for shadow in &answer.route.shadows {
            if shadow.version == answer.version {
                continue;
            }
            let draw = *draw.get_or_insert_with(|| bucket("shadow", &answer.id.to_string()));
            if f64::from(draw) >= shadow.share * f64::from(BUCKETS) {
                continue;
            }
            let Some(version) = version(shadow.version).filter(|version| version.enabled) else {
                continue;
            };
            let mut task = answer.request.clone();
            task.meta.target = target(&version);
            task.meta.background = true;
            let question = Question {
                version,
                live_version: answer.version,
                live: said(answer.answered),
                task,
                input: input(),
            };
            if self.send.try_send(question).is_err() {
                self.drop_one(&answer.route.model, shadow.version);
            }
        }
    }

    /// What found no room since this process began.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn drop_one(&self, model: &ModelName, version: VersionId) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        count(model, version, "dropped");
    }
}

impl Service {
    /// Asks shadow versions what waits to be asked, and keeps what they say. Runs until told to stop.
    pub(crate) async fn shadow(self: Arc<Self>, stop: CancellationToken) {
        let mut receive = self.shadows.receive.lock().await;
        let most = self.shadows.settings.max_concurrent.max(1);
        // Tasks of their own: a replica's turn must not be held while comparisons are kept.
        let mut asked = JoinSet::new();
        let mut compared: Vec<ShadowRecord> = Vec::new();
        let mut keep = tokio::time::interval(KEEP_EVERY);
        // After a quiet time it is due once, not once for each time that was missed.
        keep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(Ok(record)) = asked.join_next() => compared.push(record),
                Some(question) = receive.recv(), if asked.len() < most => {
                    let service = Arc::clone(&self);
                    asked.spawn(async move { service.ask_shadow(question).await });
                }
                _ = keep.tick(), if !compared.is_empty() => self.keep(&mut compared).await,
            }
            if compared.len() >= BATCH {
                self.keep(&mut compared).await;
            }
        }
        self.keep(&mut compared).await;
    }

    async fn ask_shadow(&self, question: Question) -> ShadowRecord {
        let Question { version, live_version, live, task, input } = question;
        let patience = Duration::from_millis(self.shadows.settings.timeout_ms);
        let call = Call::service("router", patience);
        let answer = self.fleet.predict(&call, &version, &task).await;
        let (shadow, error) = match answer {
            Ok(answer) => (Some(said(&answer.meta)), None),
            Err(error) => (None, Some(error.code.as_str().to_owned())),
        };
        let mut record = ShadowRecord {
            prediction_id: task.meta.prediction_id,
            at: self.deps.clock.now(),
            model: version.model.clone(),
            live_version,
            shadow_version: version.version,
            live,
            shadow,
            error,
            input: None,
        };
        let outcome = match record.distance(self.shadows.settings.tolerance) {
            Some(0.0) => "agreed",
            Some(_) => "disagreed",
            None if record.error.is_some() => "failed",
            None => "not_comparable",
        };
        if outcome == "disagreed" {
            record.input = input.json;
        }
        count(&record.model, record.shadow_version, outcome);
        record
    }

    /// Brings comparisons to the store; those that it does not take are dropped.
    async fn keep(&self, compared: &mut Vec<ShadowRecord>) {
        if compared.is_empty() {
            return;
        }
        let records = std::mem::take(compared);
        if let Err(error) = self.deps.documents.shadows.append(&records).await {
            tracing::warn!(%error, comparisons = records.len(), "comparisons of shadow versions are lost");
            for record in &records {
                self.shadows.drop_one(&record.model, record.shadow_version);
            }
        }
    }
}

fn count(model: &ModelName, version: VersionId, outcome: &'static str) {
    let labels = [
        label("model", model.to_string()),
        label("version", version.to_string()),
        label("outcome", outcome),
    ];
    metrics().shadow_comparisons.add(1, &labels);
}

fn said(answered: &Answered) -> Said {
    Said {
        label: answered.label.clone(),
        confidence: answered.confidence,
        value: answered.value,
        compute_us: answered.compute_us,
    }
}
