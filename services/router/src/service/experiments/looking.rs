//! Looks that are made by themselves: the chart grows, changes of advice are told, bandits learn, and what a router left
//! half done is mended.
//!
//! One router of all looks. If it dies, another goes on: each look reads the whole log, and what has to last is in the
//! store. When the longest time is over, an experiment's advice is `inconclusive` (or whatever the evidence says) and
//! that is told; it runs on until a person decides, since nothing here changes whom a version answers but a person, a
//! bandit that a person asked for, or a rollback.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use contracts::{ApiError, ErrorCode};
use domain::experiment::{Advice, Allocation, Experiment, ExperimentState};
use domain::route::Arm;
use domain::{PlanId, Route};
use serde_json::json;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::acting::{guard, new_epoch, turn};
use super::{Service, Told, keep_least};
use crate::assignment::shares;
use crate::error::RouterError;
use crate::experiments::{Sample, bandit, looks};
use crate::service::driving::{own_call, survived};

/// The lease of whoever looks.
const LEASE: &str = "experiments";
/// A look takes at most this part of the time.
const PART: u32 = 10;

/// What the router that looks has in mind.
#[derive(Debug, Default)]
struct Looking {
    /// When each is to be looked at next.
    next: HashMap<PlanId, OffsetDateTime>,
    /// Experiments whose route was found to be another than their state says, and how often.
    odd: HashMap<PlanId, u32>,
}

impl Service {
    /// Looks at the experiments for as long as this router has the lease. Runs until told to stop.
    pub(crate) async fn drive_experiments(&self, stop: CancellationToken) {
        let tick = Duration::from_millis(self.settings.plans.tick_ms.max(10));
        let mut looking = Looking::default();
        while stop.run_until_cancelled(tokio::time::sleep(tick)).await.is_some() {
            if !self.has_lease(LEASE).await {
                continue;
            }
            let look = Box::pin(self.look_at_all(&mut looking));
            match stop.run_until_cancelled(look).await {
                Some(Err(error)) => tracing::debug!(%error, "experiments were not looked at"),
                Some(Ok(())) => {}
                None => break,
            }
        }
        self.give_lease_back(LEASE).await;
        self.bus.write_rest().await;
    }

    async fn look_at_all(&self, looking: &mut Looking) -> Result<(), ApiError> {
        let open = self.open_experiments().await?;
        let is_open = |id: &PlanId| open.iter().any(|experiment| experiment.id == *id);
        looking.next.retain(|id, _| is_open(id));
        looking.odd.retain(|id, _| is_open(id));
        for experiment in open {
            let now = self.deps.clock.now();
            if looking.next.get(&experiment.id).is_some_and(|next| now < *next) {
                continue;
            }
            let began = Instant::now();
            let id = experiment.id.clone();
            let pause = Duration::from_secs(self.pause_of(&experiment));
            let look = survived(Box::pin(self.look_at(looking, experiment))).await;
            if let Err(error) = look {
                tracing::warn!(%error, experiment = %id, "an experiment was not looked at");
            }
            // Experiments with a long log are looked at less often.
            let pause = pause.max(began.elapsed() * PART);
            looking.next.insert(id, self.deps.clock.now() + pause);
        }
        Ok(())
    }

    /// Seconds between looks: a bandit is looked at once per epoch at least.
    fn pause_of(&self, experiment: &Experiment) -> u64 {
        let look_s = self.settings.experiments.look_s;
        match &experiment.design.allocation {
            Allocation::Bandit { epoch_s, .. } => look_s.min(*epoch_s),
            Allocation::Fixed => look_s,
        }
    }

    async fn look_at(&self, looking: &mut Looking, experiment: Experiment) -> Result<(), ApiError> {
        let Some(experiment) = self.mended(looking, experiment).await? else { return Ok(()) };
        if experiment.state != ExperimentState::Running {
            return Ok(());
        }
        let (sample, analysis) = self.analysis(&experiment).await?;
        let recommendation = &analysis.report.recommendation;
        let (after, is_new) = (recommendation.action, AtomicBool::new(false));
        let kept = self
            .revise(&experiment.id, |next| {
                guard(next, &[ExperimentState::Running], "looked at")?;
                let before = next.advice.unwrap_or(Advice::KeepGoing);
                is_new.store(before != after, Ordering::Relaxed);
                keep_least(next, &analysis.least_p);
                next.advice = Some(after);
                if let Some(look) = &analysis.look {
                    looks::add(next, look.clone(), self.settings.experiments.max_looks);
                }
                Ok(())
            })
            .await;
        let next = match kept {
            Ok(next) => next,
            // A person paused or ended it meanwhile.
            Err(error) if error.code == ErrorCode::Conflict => return Ok(()),
            Err(error) => return Err(error),
        };
        if is_new.into_inner() {
            let before = experiment.advice;
            let version = recommendation.version;
            let data =
                json!({"name": next.name, "before": before, "after": after, "version": version});
            let by = next.id.as_str();
            let reason = &recommendation.reason;
            self.tell("experiment.advice_changed", &next.model, by, by, reason, data).await;
        }
        self.learn(&next, &sample).await
    }

    /// Sets a bandit's weights by what was earned, at the end of an epoch.
    async fn learn(&self, experiment: &Experiment, sample: &Sample) -> Result<(), ApiError> {
        let Allocation::Bandit { epoch_s, .. } = &experiment.design.allocation else {
            return Ok(());
        };
        let Some(last) = experiment.epochs.last() else { return Ok(()) };
        if self.deps.clock.now() - last.from < Duration::from_secs(*epoch_s) {
            return Ok(());
        }
        let Some(next) = bandit::next_weights(&experiment.design, sample) else { return Ok(()) };
        let before = sample.epochs.last().map(Vec::as_slice).unwrap_or_default();
        if bandit::moved(before, &next.weights) < self.settings.experiments.least_move {
            return Ok(());
        }
        let Some(shares) = shares(&next.weights) else { return Ok(()) };
        let arm = |((arm, share_ppm), weight): ((&Arm, u32), &f64)| Arm {
            version: arm.version,
            share_ppm,
            weight: *weight,
        };
        let arms: Vec<Arm> =
            experiment.arms.iter().zip(shares).zip(&next.weights).map(arm).collect();
        let by = experiment.id.as_str();
        let after = self
            .in_turn(&turn(&experiment.id), async {
                let current = self.experiment_in_store(&experiment.id).await?;
                if current.state != ExperimentState::Running
                    || current.epochs.len() != experiment.epochs.len()
                {
                    return Ok(None);
                }
                self.set_weights(by, &current, &arms, &next.reason).await.map(Some)
            })
            .await?;
        if let Some(after) = after {
            let (action, kind) = ("experiment.weights", "experiment.weights_changed");
            let told = Told { action, kind, reason: &next.reason };
            self.put_on_record(&own_call(), by, told, super::in_short(experiment), &after).await;
        }
        Ok(())
    }

    /// The experiment, if its route is as its state says. What differs at two looks one after the other is mended: a
    /// router died half-way, or somebody rolled back.
    async fn mended(
        &self,
        looking: &mut Looking,
        experiment: Experiment,
    ) -> Result<Option<Experiment>, ApiError> {
        let route = self.deps.relational.routes.route(&experiment.model).await;
        let Some(route) = route.map_err(RouterError::from)? else { return Ok(None) };
        let Some(odd) = odd(&experiment, &route) else {
            looking.odd.remove(&experiment.id);
            return Ok(Some(experiment));
        };
        let times = looking.odd.entry(experiment.id.clone()).or_default();
        *times += 1;
        if *times < 2 {
            return Ok(None);
        }
        looking.odd.remove(&experiment.id);
        self.in_turn(&turn(&experiment.id), async {
            let current = self.experiment_in_store(&experiment.id).await?;
            if current.revision != experiment.revision {
                return Ok(None);
            }
            self.mend(&current, &route, odd).await?;
            Ok(None)
        })
        .await
    }

    async fn mend(&self, experiment: &Experiment, route: &Route, odd: Odd) -> Result<(), ApiError> {
        let by = experiment.id.as_str();
        match odd {
            Odd::Gone => {
                let after = self
                    .revise(&experiment.id, |experiment| {
                        guard(experiment, &[ExperimentState::Running], "paused")?;
                        experiment.state = ExperimentState::Paused;
                        Ok(())
                    })
                    .await?;
                let reason = "its trial is not in the route any more: somebody changed the route by other means";
                let data = super::in_short(&after);
                self.tell("experiment.paused", &after.model, by, by, reason, data).await;
                Ok(())
            }
            Odd::Left => self.take_off(by, experiment, "taken off: it does not run").await,
            Odd::Ahead => {
                let mut trials = route.trials.iter();
                let Some(trial) = trials.find(|trial| trial.experiment == experiment.id) else {
                    return Ok(());
                };
                let from = route.updated_at;
                let revised = self.revise(&experiment.id, |experiment| {
                    guard(experiment, &[ExperimentState::Running], "brought up to the route")?;
                    experiment.arms.clone_from(&trial.arms);
                    experiment.segments.clone_from(&trial.segments);
                    let reason = "as the route has it";
                    experiment.epochs.push(new_epoch(trial.epoch, from, &trial.arms, by, reason));
                    Ok(())
                });
                revised.await.map(drop)
            }
        }
    }
}

/// How a route and an experiment can differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Odd {
    /// It runs, and the route does not have its trial.
    Gone,
    /// It does not run, and the route has its trial.
    Left,
    /// The route has a later epoch.
    Ahead,
}

fn odd(experiment: &Experiment, route: &Route) -> Option<Odd> {
    let trial = route.trials.iter().find(|trial| trial.experiment == experiment.id);
    let last = experiment.epochs.last().map_or(0, |epoch| epoch.number);
    match (experiment.state == ExperimentState::Running, trial) {
        (true, None) => Some(Odd::Gone),
        (false, Some(_)) => Some(Odd::Left),
        (true, Some(trial)) if trial.epoch > last => Some(Odd::Ahead),
        _ => None,
    }
}
