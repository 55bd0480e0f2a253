//! The way of a prediction: a version is chosen, a replica or a kept answer answers, it is logged.
//! Where the version cannot answer, something else may; see [`standing_in`](super::standing_in).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use contracts::inference::{Answered, CacheUse, PredictTask, Target};
use contracts::router::{CacheWish, PredictRequest};
use contracts::{ApiError, Call, ErrorCode, Framed};
use domain::policy::CachePolicy;
use domain::prediction::{Decision, Degraded, Payload, Reason, StandIn};
use domain::{PredictionId, PredictionRecord, Principal, Role, VersionId, hex};
use runtime::telemetry::names::keys;
use runtime::telemetry::{Span, label, metrics};
use sha2::{Digest, Sha256};

use super::{Service, policy};
use crate::answers::{Asked, Keyed, Wanted};
use crate::choice::Steps;
use crate::counting::Ending;
use crate::table::{Choice, target};
use crate::targeting::Who;

/// A larger body is compared with earlier ones on another thread: it would hold up this one's other
/// requests.
const LARGE_BODY: usize = 16 << 10;

/// A request under way.
pub(super) struct Asking<'a> {
    pub(super) call: &'a Call,
    pub(super) caller: &'a Principal,
    pub(super) choice: &'a Choice,
    pub(super) request: &'a Framed<PredictTask>,
    pub(super) start: Instant,
}

/// What became of a request, for the log.
pub(super) struct Outcome<'a> {
    /// The version whose answer it is; where there is none, the one that was chosen.
    pub(super) version: VersionId,
    pub(super) answer: Option<&'a Framed<Answered>>,
    pub(super) degraded: Option<Degraded>,
    pub(super) error: Option<ErrorCode>,
}

impl Service {
    pub(super) async fn answer(
        &self,
        mut call: Call,
        request: Framed<PredictRequest>,
    ) -> Result<Framed<Answered>, ApiError> {
        let start = Instant::now();
        let mut span = Span::internal(&mut call.trace, "engine.predict");
        let caller = call.require(&[Role::Client])?;
        let Framed { meta: asked, body } = request;
        call.require_model(&asked.model)?;
        self.check_unit(asked.unit.as_deref())?;
        let id = PredictionId::new();
        let who = Who {
            unit: asked.unit.as_deref(),
            role: caller.role,
            caller: &caller.name,
            context: &asked.context,
        };
        let steps = &mut Steps::default();
        let chosen = self.table.choose(&asked.model, asked.version, &who, id, steps);
        let mut choice = chosen.inspect_err(|error| {
            span.failed(error.code);
            // The model may be any word of the client's: only known ones become labels.
            metrics().model_errors.add(1, &[label("error_type", error.code.as_str())]);
        })?;
        if choice.strict.is_some() {
            self.keep_first_arm(&mut choice).await;
        }
        let target = target(&choice.version);
        describe(&mut span, &target, &choice.decision, id);
        let mut counted = self.counted(&choice, start);
        let shown = choice.policy.policy.shows_version_to(caller.role);
        let task = PredictTask {
            target,
            prediction_id: id,
            protocol: asked.protocol,
            content_type: asked.content_type,
            show_version: self.settings.show_version && shown,
            degraded: false,
            rules: choice.policy.rules.clone(),
            background: false,
        };
        let request = Framed { meta: task, body };
        let asking = Asking { call: &call, caller, choice: &choice, request: &request, start };
        let error = match self.ask_chosen(&asking, asked.cache).await {
            Ok(answer) => {
                let latency = start.elapsed();
                choice.counted.answered(latency, answer.meta.confidence);
                counted.ended(Ending::Answered { answer: &answer.meta, latency, degraded: false });
                self.ask_shadows(&asking, &answer.meta);
                self.keep_good(&asking, &answer).await;
                let version = choice.version.version;
                let outcome =
                    Outcome { version, answer: Some(&answer), degraded: None, error: None };
                self.log(&asking, outcome);
                return Ok(answer);
            }
            Err(error) => error,
        };
        span.failed(error.code);
        choice.counted.failed(error.code);
        if is_of_the_version(error.code) {
            if let Some(answer) = self.stand_in(&asking, error.code).await {
                let (answer_meta, latency) = (&answer.meta, start.elapsed());
                counted.ended(Ending::Answered { answer: answer_meta, latency, degraded: true });
                return Ok(answer);
            }
            let version = choice.version.version;
            let error = Some(error.code);
            self.log(&asking, Outcome { version, answer: None, degraded: None, error });
        }
        counted.ended(Ending::Failed(&error));
        Err(if shown { error } else { policy::without_version_in(error, &asked.model) })
    }

    /// Asks the version that was chosen, in the time that it has.
    async fn ask_chosen(
        &self,
        asking: &Asking<'_>,
        wish: CacheWish,
    ) -> Result<Framed<Answered>, ApiError> {
        let Choice { version, policy: ruled, refused, .. } = asking.choice;
        if let Some(refused) = refused {
            return Err(refused.clone());
        }
        let limited = self.with_time_left(asking);
        let call = limited.as_ref().unwrap_or(asking.call);
        match ruled.policy.cache {
            None => self.fleet.predict(call, version, asking.request).await,
            Some(cache) => self.kept_or_computed(call, asking, cache, wish).await,
        }
    }

    /// Answers by what is kept, where the model's policy says so.
    async fn kept_or_computed(
        &self,
        call: &Call,
        asking: &Asking<'_>,
        cache: CachePolicy,
        wish: CacheWish,
    ) -> Result<Framed<Answered>, ApiError> {
        let keyed = match wish {
            CacheWish::Avoid => None,
            _ => self.keyed(asking, Keyed::of).await,
        };
        let ttl = Duration::from_secs(u64::from(cache.ttl_s));
        let wanted = Wanted { keyed, ttl, wish, deadline: call.deadline };
        let compute = self.fleet.predict(call, &asking.choice.version, asking.request);
        let answer = self.answers.answer(wanted, compute).await?;
        let outcome = match answer.meta.cache {
            Some(CacheUse::Hit) => "hit",
            Some(CacheUse::Miss) => "miss",
            _ => "bypass",
        };
        let model = label("model", asking.request.meta.target.model.to_string());
        metrics().response_cache.add(1, &[model, label("outcome", outcome)]);
        Ok(answer)
    }

    /// The key of a request, if it is small enough and of a kind that is kept.
    pub(super) async fn keyed(
        &self,
        asking: &Asking<'_>,
        of: fn(Asked) -> Option<Keyed>,
    ) -> Option<Keyed> {
        let body = &asking.request.body;
        if body.len() > self.answers.max_input_bytes() {
            return None;
        }
        let asked = Asked {
            caller: asking.caller.clone(),
            version: Arc::clone(&asking.choice.version),
            policy: Arc::clone(&asking.choice.policy),
            generation: asking.choice.decision.generation,
            task: asking.request.meta.clone(),
            body: body.clone(),
        };
        if body.len() > LARGE_BODY {
            tokio::task::spawn_blocking(move || of(asked)).await.ok().flatten()
        } else {
            of(asked)
        }
    }

    /// Puts on record what became of a request.
    pub(super) fn log(&self, asking: &Asking<'_>, outcome: Outcome<'_>) {
        let Outcome { version, answer, degraded, error } = outcome;
        let Framed { meta: task, body } = asking.request;
        let mut decision = asking.choice.decision.clone();
        let chosen = asking.choice.version.version;
        decision.chosen = (chosen != version).then_some(chosen);
        let output = match answer {
            Some(answer) => self.payload(&answer.meta.content_type, &answer.body),
            None => Payload { content_type: String::new(), bytes: 0, json: None },
        };
        let meta = answer.map(|answer| &answer.meta);
        let kept = degraded.as_ref().is_some_and(|degraded| degraded.by == StandIn::LastGood);
        let latency = asking.start.elapsed();
        let record = PredictionRecord {
            prediction_id: task.prediction_id,
            request_id: asking.call.request_id.clone(),
            at: self.deps.clock.now(),
            principal: asking.caller.id.clone(),
            model: task.target.model.clone(),
            version,
            decision,
            input: self.payload(&task.content_type, body),
            output,
            rows: meta.map_or(0, |meta| meta.rows),
            label: meta.and_then(|meta| meta.label.clone()),
            confidence: meta.and_then(|meta| meta.confidence),
            value: meta.and_then(|meta| meta.value),
            latency_us: u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
            compute_us: meta.map_or(0, |meta| meta.compute_us),
            cached: kept || meta.and_then(|meta| meta.cache) == Some(CacheUse::Hit),
            degraded,
            error: error.map(|code| code.as_str().to_owned()),
        };
        self.append(&record);
    }

    /// Appends a record to the spool. Should that fail, the answer is right and paid for all the same:
    /// it goes out, and the loss is counted.
    fn append(&self, record: &PredictionRecord) {
        let id = record.prediction_id;
        let kept = serde_json::to_vec(record)
            .map_err(|error| error.to_string())
            .and_then(|record| self.spool.append(&record).map_err(|error| error.to_string()));
        match kept {
            Err(error) => {
                metrics().spool_dropped.add(1, &[]);
                if !self.losing.swap(true, Ordering::Relaxed) {
                    tracing::error!(prediction.id = %id, error, "predictions are not logged from here on: `engine_spool_dropped_records_total` counts them");
                }
            }
            Ok(()) if self.losing.load(Ordering::Relaxed) => {
                self.losing.store(false, Ordering::Relaxed);
                tracing::warn!("predictions are logged again");
            }
            Ok(()) => {}
        }
    }

    pub(super) fn payload(&self, content_type: &str, body: &Bytes) -> Payload {
        let is_json = content_type.starts_with("application/json");
        let fits = body.len() <= self.settings.spool.max_logged_body_bytes;
        let json = (is_json && fits).then(|| serde_json::from_slice(body).ok()).flatten();
        Payload { content_type: content_type.to_owned(), bytes: body.len() as u64, json }
    }

    pub(super) fn check_unit(&self, unit: Option<&str>) -> Result<(), ApiError> {
        let limit = self.settings.max_unit_bytes;
        match unit {
            Some("") => Err(ApiError::at("#/unit", "must not be empty: leave it out instead")),
            Some(unit) if unit.len() > limit => Err(ApiError::at(
                "#/unit",
                format!(
                    "has {} bytes, more than the {limit} that `router.max_unit_bytes` allows",
                    unit.len()
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// Whether a failure is the fault of the version that was asked, and not of the request.
pub(super) fn is_of_the_version(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Unavailable | ErrorCode::Timeout | ErrorCode::Internal)
}

/// Says in a prediction's span what was decided.
fn describe(span: &mut Span, target: &Target, decision: &Decision, id: PredictionId) {
    span.set_text(keys::SPAN_MODEL, &target.model);
    span.set_text(keys::SPAN_VERSION, &target.version);
    span.set_text(keys::PREDICTION_ID, &id);
    span.set(keys::REASON, decision.reason.as_str());
    span.set(keys::PROPENSITY, decision.propensity);
    span.set(keys::GENERATION, i64::try_from(decision.generation).unwrap_or(i64::MAX));
    span.event(keys::FLAG_EVALUATION, || {
        let mut exposure = vec![
            label(keys::FLAG_KEY, experiment_key(target, decision)),
            label(keys::FLAG_VARIANT, target.version.to_string()),
            label(keys::FLAG_REASON, exposure_reason(decision)),
            label(keys::FLAG_PROVIDER, "decision-engine"),
            label(keys::FLAG_VERSION, decision.generation.to_string()),
        ];
        // A unit may be a person: who reads traces is told the same from the same, and not who it is.
        exposure.extend(decision.unit.as_deref().map(|unit| {
            let mut digest = hex(&Sha256::digest(unit));
            digest.truncate(16);
            label(keys::FLAG_CONTEXT, digest)
        }));
        exposure
    });
}

/// What the exposure belongs to: the experiment or rollout, else the model.
fn experiment_key(target: &Target, decision: &Decision) -> String {
    decision.plan.as_ref().map_or_else(|| target.model.to_string(), ToString::to_string)
}

/// Why this version, in the words of OpenTelemetry's convention for exposures.
fn exposure_reason(decision: &Decision) -> &'static str {
    match decision.reason {
        Reason::Unit | Reason::Request if decision.rule.is_some() => "targeting_match",
        Reason::Unit | Reason::Request if decision.propensity < 1.0 => "split",
        // There was nothing to choose from, or the caller chose.
        Reason::Unit | Reason::Request | Reason::Pinned => "static",
    }
}
