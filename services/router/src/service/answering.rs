//! The way of a prediction: a version is chosen, a replica or a kept answer answers, it is logged.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use contracts::inference::{Answered, CacheUse, PredictTask, Target};
use contracts::router::{CacheWish, PredictRequest};
use contracts::{ApiError, Call, Framed};
use domain::policy::CachePolicy;
use domain::prediction::{Decision, Payload, Reason};
use domain::{PredictionId, PredictionRecord, Principal, Role, Version, hex};
use runtime::telemetry::names::keys;
use runtime::telemetry::{Span, label, metrics};
use sha2::{Digest, Sha256};

use super::{Service, policy};
use crate::answers::{Asked, Keyed, Wanted};
use crate::table::{Choice, InForce, target};

/// A larger body is compared with earlier ones on another thread: it would hold up this one's other
/// requests.
const LARGE_BODY: usize = 16 << 10;

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
        let (unit, role) = (asked.unit.as_deref(), caller.role);
        let chosen = self.table.choose(&asked.model, asked.version, unit, id, role);
        let Choice { version, decision, counted, policy: ruled } = chosen.inspect_err(|error| {
            span.failed(error.code);
            // The model may be any word of the client's: only known ones become labels.
            metrics().model_errors.add(1, &[label("error_type", error.code.as_str())]);
        })?;
        let target = target(&version);
        describe(&mut span, &target, &decision, id);
        let shown = ruled.policy.shows_version_to(role);
        let task = PredictTask {
            target: target.clone(),
            prediction_id: id,
            protocol: asked.protocol,
            content_type: asked.content_type,
            show_version: self.settings.show_version && shown,
            degraded: false,
            rules: ruled.rules.clone(),
        };
        let request = Framed { meta: task, body };
        let answer = match ruled.policy.cache {
            None => self.fleet.predict(&call, &version, &request).await,
            Some(cache) => {
                let generation = decision.generation;
                let asked = (&version, &ruled, generation, asked.cache);
                self.kept_or_computed(&call, caller, asked, cache, &request).await
            }
        };
        let answer = answer.map_err(|error| {
            span.failed(error.code);
            counted.failed(error.code);
            if shown { error } else { policy::without_version_in(error, &target.model) }
        })?;
        let latency = start.elapsed();
        counted.answered(latency, answer.meta.confidence);
        let input = (request.meta.content_type.as_str(), &request.body);
        self.log(caller, &call, input, target, decision, id, &answer, latency);
        Ok(answer)
    }

    /// Answers by what is kept, where the model's policy says so.
    async fn kept_or_computed(
        &self,
        call: &Call,
        caller: &Principal,
        asked: (&Arc<Version>, &Arc<InForce>, u64, CacheWish),
        cache: CachePolicy,
        request: &Framed<PredictTask>,
    ) -> Result<Framed<Answered>, ApiError> {
        let (version, ruled, generation, wish) = asked;
        let fits = request.body.len() <= self.answers.max_input_bytes();
        let keyed = if fits && wish != CacheWish::Avoid {
            let asked = Asked {
                caller: caller.clone(),
                version: Arc::clone(version),
                policy: Arc::clone(ruled),
                generation,
                task: request.meta.clone(),
                body: request.body.clone(),
            };
            if request.body.len() > LARGE_BODY {
                tokio::task::spawn_blocking(|| Keyed::of(asked)).await.ok().flatten()
            } else {
                Keyed::of(asked)
            }
        } else {
            None
        };
        let ttl = Duration::from_secs(u64::from(cache.ttl_s));
        let wanted = Wanted { keyed, ttl, wish, deadline: call.deadline };
        let compute = self.fleet.predict(call, version, request);
        let answer = self.answers.answer(wanted, compute).await?;
        let outcome = match answer.meta.cache {
            Some(CacheUse::Hit) => "hit",
            Some(CacheUse::Miss) => "miss",
            _ => "bypass",
        };
        let model = label("model", request.meta.target.model.to_string());
        metrics().response_cache.add(1, &[model, label("outcome", outcome)]);
        Ok(answer)
    }

    #[expect(clippy::too_many_arguments, reason = "a record has these parts")]
    fn log(
        &self,
        caller: &Principal,
        call: &Call,
        input: (&str, &Bytes),
        target: Target,
        decision: Decision,
        id: PredictionId,
        answer: &Framed<Answered>,
        latency: Duration,
    ) {
        let meta = &answer.meta;
        let record = PredictionRecord {
            prediction_id: id,
            request_id: call.request_id.clone(),
            at: self.deps.clock.now(),
            principal: caller.id.clone(),
            model: target.model,
            version: target.version,
            decision,
            input: self.payload(input.0, input.1),
            output: self.payload(&meta.content_type, &answer.body),
            rows: meta.rows,
            label: meta.label.clone(),
            confidence: meta.confidence,
            value: meta.value,
            latency_us: u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
            compute_us: meta.compute_us,
            cached: meta.cache == Some(CacheUse::Hit),
        };
        let kept = serde_json::to_vec(&record)
            .map_err(|error| error.to_string())
            .and_then(|record| self.spool.append(&record).map_err(|error| error.to_string()));
        // The answer is right and paid for: it goes out, and the loss is counted.
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

    fn payload(&self, content_type: &str, body: &Bytes) -> Payload {
        let is_json = content_type.starts_with("application/json");
        let fits = body.len() <= self.settings.spool.max_logged_body_bytes;
        let json = (is_json && fits).then(|| serde_json::from_slice(body).ok()).flatten();
        Payload { content_type: content_type.to_owned(), bytes: body.len() as u64, json }
    }

    fn check_unit(&self, unit: Option<&str>) -> Result<(), ApiError> {
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
            label(keys::FLAG_KEY, target.model.to_string()),
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

/// Why this version, in the words of OpenTelemetry's convention for exposures.
fn exposure_reason(decision: &Decision) -> &'static str {
    match decision.reason {
        Reason::Unit | Reason::Request if decision.propensity < 1.0 => "split",
        // There was nothing to choose from, or the caller chose.
        Reason::Unit | Reason::Request | Reason::Pinned => "static",
    }
}
