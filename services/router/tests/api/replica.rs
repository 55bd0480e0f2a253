//! A replica that a test can break.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use contracts::inference::{Answered, Loaded, LoadedList, PredictTask, Target};
use contracts::{ApiError, Call, Done, ErrorCode, Framed, InferenceApi};
use domain::{Version, VersionId};
use serde_json::json;

/// A replica that answers with the version's number.
#[derive(Default)]
pub(crate) struct Replica {
    pub(crate) dead: AtomicBool,
    pub(crate) refuses: AtomicBool,
    pub(crate) loaded: Mutex<HashSet<Target>>,
    pub(crate) answers: AtomicU64,
    /// How these versions fail; a time-out comes late.
    pub(crate) broken: Mutex<HashMap<VersionId, ErrorCode>>,
    /// Each so many requests of this version fail: with 500, or as the client's fault.
    pub(crate) bad: Mutex<Option<(u32, u64, ErrorCode)>>,
    pub(crate) asked_of_bad: AtomicU64,
}

impl Replica {
    pub(crate) fn alive(&self) -> Result<(), ApiError> {
        if self.dead.load(Ordering::Relaxed) {
            return Err(ApiError::new(ErrorCode::Unavailable, "dead"));
        }
        if self.refuses.load(Ordering::Relaxed) {
            return Err(ApiError::new(ErrorCode::Unprocessable, "operator `Foo` is unknown"));
        }
        Ok(())
    }
}

pub(crate) fn loaded(version: &Version) -> Loaded {
    let target = Target { model: version.model.clone(), version: version.version };
    Loaded { target, memory_bytes: 1, row_us: 1, requests: 0 }
}

#[async_trait]
impl InferenceApi for Replica {
    async fn predict(
        &self,
        _: Call,
        request: Framed<PredictTask>,
    ) -> Result<Framed<Answered>, ApiError> {
        self.alive()?;
        let target = request.meta.target;
        if !self.loaded.lock().unwrap().contains(&target) {
            return Err(ApiError::new(ErrorCode::NotFound, "not loaded"));
        }
        let broken = self.broken.lock().unwrap().get(&target.version).copied();
        match broken {
            Some(ErrorCode::Timeout) => tokio::time::sleep(Duration::from_secs(60)).await,
            Some(code) => return Err(ApiError::new(code, "broken")),
            None => {}
        }
        if let Some((version, every, code)) = *self.bad.lock().unwrap()
            && target.version.number() == version
            && self.asked_of_bad.fetch_add(1, Ordering::Relaxed).is_multiple_of(every)
        {
            return Err(ApiError::new(code, "it is bad"));
        }
        self.answers.fetch_add(1, Ordering::Relaxed);
        let meta = Answered {
            content_type: "application/json".to_owned(),
            header_length: None,
            rows: 1,
            label: Some("setosa".to_owned()),
            confidence: Some(0.9),
            value: None,
            compute_us: 1,
            output_rule: false,
            cache: None,
        };
        let id = request.meta.prediction_id;
        let degraded = request.meta.degraded;
        let body =
            json!({"model_version": target.version, "prediction_id": id, "degraded": degraded});
        let body = body.to_string();
        Ok(Framed { meta, body: body.into() })
    }

    async fn check(&self, _: Call, version: Version) -> Result<Loaded, ApiError> {
        self.alive()?;
        Ok(loaded(&version))
    }

    async fn load(&self, _: Call, version: Version) -> Result<Loaded, ApiError> {
        self.alive()?;
        let answer = loaded(&version);
        self.loaded.lock().unwrap().insert(answer.target.clone());
        Ok(answer)
    }

    async fn unload(&self, _: Call, target: Target) -> Result<Done, ApiError> {
        self.alive()?;
        self.loaded.lock().unwrap().remove(&target);
        Ok(Done {})
    }

    async fn loaded(&self, _: Call) -> Result<LoadedList, ApiError> {
        self.alive()?;
        Ok(LoadedList { versions: Vec::new(), memory_bytes: 0, memory_limit_bytes: 0 })
    }
}
