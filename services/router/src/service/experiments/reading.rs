//! What the log says of an experiment.

use std::collections::HashMap;

use contracts::router::{Report, WhatIf, WhatIfAnswer};
use contracts::{ApiError, Call, Faults};
use domain::experiment::Experiment;
use domain::feedback::Subject;
use domain::prediction::Exposure;
use domain::{Feedback, PlanId, PredictionId};
use time::OffsetDateTime;

use super::{Service, keep_least};
use crate::assignment::shares;
use crate::error::RouterError;
use crate::experiments::{Analysis, Fold, Observation, Sample, Truth, analyse, what_if};
use crate::service::FLUSH_LIMIT;

impl Service {
    pub(in crate::service) async fn report_of(
        &self,
        call: Call,
        id: PlanId,
    ) -> Result<Report, ApiError> {
        let experiment = self.shown_experiment(&call, &id).await?;
        let (_, analysis) = self.analysis(&experiment).await?;
        if experiment.state.is_open() && analysis.least_p != experiment.least_p {
            // What was seen once counts for good. If another change comes first, the next look keeps it.
            let kept = self.revise(&id, |experiment| {
                keep_least(experiment, &analysis.least_p);
                Ok(())
            });
            if let Err(error) = kept.await {
                tracing::debug!(%error, experiment = %id, "a look was not kept");
            }
        }
        Ok(analysis.report)
    }

    pub(in crate::service) async fn what_if_of(
        &self,
        call: Call,
        request: WhatIf,
    ) -> Result<WhatIfAnswer, ApiError> {
        let experiment = self.shown_experiment(&call, &request.experiment).await?;
        let policy = chances(&experiment, &request)?;
        let sample = self.sample(&experiment, self.deps.clock.now()).await?;
        aside(move || what_if::what_if(&sample, &policy)).await
    }

    /// The sample as it is now, with its analysis.
    pub(super) async fn analysis(
        &self,
        experiment: &Experiment,
    ) -> Result<(Sample, Analysis), ApiError> {
        let now = self.deps.clock.now();
        let sample = self.sample(experiment, now).await?;
        let experiment = experiment.clone();
        aside(move || {
            let analysis = analyse(&experiment, &sample, now);
            (sample, analysis)
        })
        .await
    }

    /// Reads the whole log of the experiment, and the feedback on it. The same log gives the same sample, so
    /// that a router that has just begun says what the one before it said.
    async fn sample(
        &self,
        experiment: &Experiment,
        now: OffsetDateTime,
    ) -> Result<Sample, ApiError> {
        let mut fold = Fold::new(experiment, now);
        let Some(started_at) = experiment.started_at else { return Ok(fold.sample()) };
        self.flush_all(FLUSH_LIMIT).await;
        let documents = &self.deps.documents;
        let limit = self.settings.experiments.page.max(1);
        let mut after: Option<PredictionId> = None;
        loop {
            let page = documents.predictions.exposures(&experiment.id, after, limit).await;
            let page = page.map_err(RouterError::from)?;
            let Some(last) = page.last() else { break };
            after = Some(last.prediction_id);
            let is_last = page.len() < limit as usize;
            let feedback = if fold.needs_feedback() {
                let ids: Vec<_> = page.iter().map(|exposure| exposure.prediction_id).collect();
                documents.feedback.of_predictions(&ids).await.map_err(RouterError::from)?
            } else {
                Vec::new()
            };
            fold = aside(move || with_page(fold, page, &feedback)).await?;
            if is_last {
                break;
            }
        }
        if fold.needs_feedback() {
            fold = self.with_units(experiment, fold, started_at).await?;
        }
        aside(move || fold.sample()).await
    }

    /// Adds what was said of units as such, since each one's first request.
    async fn with_units(
        &self,
        experiment: &Experiment,
        mut fold: Fold,
        since: OffsetDateTime,
    ) -> Result<Fold, ApiError> {
        let units: Vec<(String, OffsetDateTime)> =
            fold.units().map(|(unit, at)| (unit.to_owned(), at)).collect();
        for page in units.chunks(self.settings.experiments.page.max(1) as usize) {
            let names: Vec<String> = page.iter().map(|(unit, _)| unit.clone()).collect();
            let feedback = &self.deps.documents.feedback;
            let said = feedback.of_units(&experiment.model, &names, since).await;
            let mut said = said.map_err(RouterError::from)?;
            let first: HashMap<&str, OffsetDateTime> =
                page.iter().map(|(unit, at)| (unit.as_str(), *at)).collect();
            said.retain(|one| match &one.subject {
                Subject::Unit { unit, .. } => {
                    first.get(unit.as_str()).is_some_and(|first| one.at() >= *first)
                }
                Subject::Prediction { .. } => false,
            });
            for (subject, truth) in Truth::by_subject(&said) {
                if let Subject::Unit { unit, .. } = subject {
                    fold.add_to_unit(&unit, truth);
                }
            }
        }
        Ok(fold)
    }
}

fn with_page(mut fold: Fold, page: Vec<Exposure>, feedback: &[Feedback]) -> Fold {
    let mut truths = Truth::by_subject(feedback);
    for exposure in page {
        let truth = truths.remove(&exposure.prediction_id.into()).unwrap_or_default();
        // What the control answered to the same input comes with shadows.
        fold.add(&Observation { exposure, truth, control: None });
    }
    fold
}

/// Does what takes long on a thread of its own.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "an analysis broke off");
        ApiError::internal()
    })
}

/// The policy's chances in the order of the experiment's arms.
fn chances(experiment: &Experiment, request: &WhatIf) -> Result<Vec<f64>, ApiError> {
    let mut faults = Faults::default();
    let place = |version| experiment.design.arms.iter().position(|arm| arm.version == version);
    let mut weights = vec![0.0; experiment.design.arms.len()];
    for (index, arm) in request.policy.iter().enumerate() {
        let of = |field: &str| format!("#/policy/{index}/{field}");
        if !arm.weight.is_finite() || arm.weight < 0.0 {
            faults.add(of("weight"), format!("must be 0 or more, got `{:e}`", arm.weight));
        }
        match place(arm.version).and_then(|place| weights.get_mut(place)) {
            Some(weight) => *weight += arm.weight,
            None => faults.add(
                of("version"),
                format!("must be an arm of the experiment, got `{}`", arm.version),
            ),
        }
    }
    faults.check()?;
    if shares(&weights).is_none() {
        return Err(ApiError::at("#/policy", "must give some version a weight above 0"));
    }
    let all: f64 = weights.iter().sum();
    Ok(weights.into_iter().map(|weight| weight / all).collect())
}
