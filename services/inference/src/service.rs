//! The service itself: who may call, what is loaded, where it runs, what comes back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use contracts::inference::{Answered, Loaded, LoadedList, PredictTask, Target};
use contracts::{ApiError, Call, Deadline, Done, Framed, InferenceApi};
use domain::{Role, Version};
use runtime::telemetry::Span;
use runtime::telemetry::names::keys;

use crate::codec::{self, Bounds};
use crate::error::of_prediction;
use crate::executor::{Executor, Lane, Limits};
use crate::residency::{self, InUse, Residency};
use crate::ruled::Ruled;
use crate::{Deps, InferenceError, Settings};

/// A larger body is read on a worker: parsing it would hold up the thread's other requests.
const LARGE_BODY: usize = 64 << 10;

/// An inference replica.
pub struct Service {
    pub(crate) residency: Residency,
    pub(crate) executor: Arc<Executor>,
    bounds: Bounds,
    ruled: Ruled,
}

impl Service {
    pub(crate) fn new(settings: Settings, deps: Deps) -> Result<Self, InferenceError> {
        let executor = Arc::new(Executor::new(Limits {
            workers: settings.threads(),
            queue: settings.queue_limit,
            batch_rows: settings.max_batch_rows,
            inline_us: settings.inline_budget_us,
        })?);
        let bounds =
            Bounds { max_rows: settings.max_rows_per_request, top: settings.top_probabilities };
        let limits = residency::Limits {
            memory_bytes: settings.memory_limit_mb << 20,
            sessions: settings.sessions(),
            idle: Duration::from_secs(settings.idle_unload_s),
            run: Duration::from_secs(settings.run_limit_s.get()),
            library: Some(settings.onnxruntime)
                .filter(|path: &PathBuf| !path.as_os_str().is_empty()),
            candidates: deps.onnxruntime,
        };
        let residency = Residency::new(deps.artifacts, limits);
        Ok(Self { residency, executor, bounds, ruled: Ruled::default() })
    }

    /// Unloads versions that were not asked for as long as `inference.idle_unload_s`, as of `now`;
    /// returns which. To be called now and then by a background task.
    pub async fn unload_idle(&self, now: Instant) -> Vec<Target> {
        self.residency.unload_idle(now).await
    }

    async fn answer(
        &self,
        held: InUse,
        task: PredictTask,
        body: Bytes,
        deadline: Deadline,
    ) -> Result<Framed<Answered>, InferenceError> {
        let bounds = self.bounds;
        let lane = if task.background { Lane::Background } else { Lane::Live };
        let rules = task.rules.as_ref().map(|rules| self.ruled.get(rules)).transpose()?;
        if !held.model.batchable && !self.executor.cheap(&held.model, 1) {
            // Pictures and long texts: decoding is as much work as many a model.
            let most = self.executor.batch_rows();
            return self
                .executor
                .offload(deadline, lane, move |wanted| {
                    let decoded = codec::decode(&held, rules.as_deref(), &task, &body, bounds)?;
                    let (inputs, rows, rest) = decoded.split();
                    let ran = held.model.run_rows(inputs, rows, most, wanted)?;
                    codec::encode(&held, rules.as_deref(), &task, &rest, ran, bounds)
                })
                .await;
        }
        let decoded = if body.len() > LARGE_BODY {
            let (held, task, rules) = (held.clone(), task.clone(), rules.clone());
            let decode = move |_: &dyn Fn() -> bool| {
                Ok(codec::decode(&held, rules.as_deref(), &task, &body, bounds)?)
            };
            self.executor.offload(deadline, lane, decode).await?
        } else {
            codec::decode(&held, rules.as_deref(), &task, &body, bounds)?
        };
        let (inputs, rows, rest) = decoded.split();
        let ran = self.executor.run(&held.model, inputs, rows, deadline, lane).await?;
        codec::encode(&held, rules.as_deref(), &task, &rest, ran, bounds)
    }
}

#[async_trait]
impl InferenceApi for Service {
    async fn predict(
        &self,
        mut call: Call,
        request: Framed<PredictTask>,
    ) -> Result<Framed<Answered>, ApiError> {
        let mut span = Span::internal(&mut call.trace, "engine.infer");
        call.require(&[Role::Client, Role::Service])?;
        let Framed { meta: task, body } = request;
        span.set_text(keys::SPAN_MODEL, &task.target.model);
        span.set_text(keys::SPAN_VERSION, &task.target.version);
        span.set_text(keys::PREDICTION_ID, &task.prediction_id);
        let held = self.residency.get(&task.target)?;
        let answer = self.answer(held, task, body, call.deadline).await;
        let answer = answer.map_err(of_prediction).inspect_err(|error| span.failed(error.code))?;
        span.set(keys::ROWS, i64::from(answer.meta.rows));
        Ok(answer)
    }

    async fn check(&self, call: Call, version: Version) -> Result<Loaded, ApiError> {
        call.require(&[Role::Service, Role::Engineer])?;
        Ok(self.residency.check(version).await?)
    }

    async fn load(&self, call: Call, version: Version) -> Result<Loaded, ApiError> {
        call.require(&[Role::Service, Role::Engineer])?;
        Ok(self.residency.load(version).await?)
    }

    async fn unload(&self, call: Call, target: Target) -> Result<Done, ApiError> {
        call.require(&[Role::Service, Role::Engineer])?;
        let unloading = self.residency.unload(&target);
        match tokio::time::timeout_at(call.deadline.instant().into(), unloading).await {
            Ok(()) => Ok(Done {}),
            Err(_elapsed) => Err(Deadline::passed()),
        }
    }

    async fn loaded(&self, call: Call) -> Result<LoadedList, ApiError> {
        call.require(&[Role::Service, Role::Engineer])?;
        Ok(self.residency.list())
    }
}

#[cfg(test)]
mod tests;
