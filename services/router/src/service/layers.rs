//! Layers: who holds which units.

use contracts::router::{HeldSlice, LayerList, LayerView, NewExperiment, NewLayer};
use contracts::{ApiError, Call, ErrorCode};
use domain::experiment::Experiment;
use domain::layer::Layer;
use domain::route::{BUCKETS, Slice};
use domain::{ModelName, Plan, PlanId, PlanKind, Role};
use serde_json::json;

use super::Service;
use super::routes::new_salt;
use crate::error::RouterError;
use crate::experiments::layers::{buckets, first_free, largest_free};

/// What a model's own layer is called, before its name.
const OWN: &str = "model:";

impl Service {
    pub(super) async fn list_layers(&self, call: Call) -> Result<LayerList, ApiError> {
        let scope = &call.require(&[Role::Analyst])?.scope;
        let mut open = self.open_experiments().await?;
        open.retain(|experiment| scope.has_model(&experiment.model));
        let own = |layer: &Layer| match layer.name.strip_prefix(OWN).map(str::parse) {
            Some(model) => model.is_ok_and(|model: ModelName| scope.has_model(&model)),
            None => true,
        };
        let view = |layer: Layer| LayerView { held: held(&open, &layer.name), layer };
        let mut layers: Vec<_> =
            self.all_layers().await?.into_iter().filter(own).map(view).collect();
        layers.sort_by(|a, b| a.layer.name.cmp(&b.layer.name));
        Ok(LayerList { layers })
    }

    pub(super) async fn change_layer(
        &self,
        call: Call,
        request: NewLayer,
    ) -> Result<Layer, ApiError> {
        let caller = call.require(&[Role::Engineer])?;
        if !(0.0..1.0).contains(&request.holdout) {
            let detail = format!("must be 0 to below 1, got `{}`", request.holdout);
            return Err(ApiError::at("#/holdout", detail));
        }
        let rest = match request.name.strip_prefix(OWN) {
            Some(model) => {
                let model: ModelName = model.parse().map_err(ApiError::from)?;
                call.require_model(&model)?;
                self.existing_model(&model).await?;
                model.as_str().to_owned()
            }
            None => request.name.clone(),
        };
        if let Err(error) = rest.parse::<ModelName>() {
            let detail = format!("must be made as a model's name is: {error}");
            return Err(ApiError::at("#/name", detail));
        }
        let holdout_ppm = if request.holdout > 0.0 { buckets(request.holdout) } else { 0 };
        let by = caller.name.clone();
        self.in_turn(&turn(&request.name), async {
            let before = self.layer_named(&request.name).await?;
            let layer = match &before {
                Some(layer) => {
                    Layer { holdout_ppm, revision: layer.revision + 1, ..layer.clone() }
                }
                None => self.new_layer(&request.name, holdout_ppm, &by)?,
            };
            let open = self.open_experiments().await?;
            for other in open.iter().filter(|one| one.slice.layer == layer.name) {
                call.require_model(&other.model)?;
            }
            let end = BUCKETS - holdout_ppm;
            let in_the_way: Vec<_> =
                held(&open, &layer.name).into_iter().filter(|one| one.end > end).collect();
            if !in_the_way.is_empty() {
                let message = format!(
                    "the hold-out of layer `{}` would take units that experiments hold: {}; end them first, or make it smaller",
                    layer.name,
                    in_words(&in_the_way, &open)
                );
                return Err(ApiError::new(ErrorCode::Conflict, message));
            }
            self.keep_layer(layer.clone()).await?;
            let change = runtime::audit::Change {
                action: "layer.put",
                target: format!("layer:{}", layer.name),
                reason: String::new(),
                before: json!(before),
                after: json!(layer),
            };
            self.deps.recorder.done(&call, change).await;
            Ok(layer)
        })
        .await
    }

    /// Gives a new experiment its units: the first free run in the layer that is long enough. Nobody else
    /// gets units of that layer meanwhile. `keep` puts the experiment into the store.
    pub(super) async fn with_slice<F>(
        &self,
        by: &str,
        new: &NewExperiment,
        keep: impl FnOnce(Slice) -> F,
    ) -> Result<Experiment, ApiError>
    where
        F: Future<Output = Result<Experiment, ApiError>>,
    {
        let name = new.layer.clone().unwrap_or_else(|| format!("{OWN}{}", new.model));
        self.in_turn(&turn(&name), async {
            let layer = match self.layer_named(&name).await? {
                Some(layer) => layer,
                None if name == format!("{OWN}{}", new.model) => {
                    let layer = self.new_layer(&name, 0, by)?;
                    self.keep_layer(layer.clone()).await?;
                    layer
                }
                None => {
                    let detail = format!(
                        "there is no layer `{}`: make it with `PUT /api/v1/layers`, or leave it out for the model's own",
                        name.escape_debug()
                    );
                    return Err(ApiError::at("#/layer", detail));
                }
            };
            let open = self.open_experiments().await?;
            let held = held(&open, &name);
            let wanted = buckets(new.traffic);
            let Some((start, end)) = first_free(&held, layer.holdout_ppm, wanted) else {
                let most = percent(largest_free(&held, layer.holdout_ppm));
                let message = format!(
                    "layer `{name}` has no room for {}: held are {}; hold-out {}; the longest free run is {most}: end an experiment, ask for less (`traffic`), or use another layer",
                    percent(wanted),
                    in_words(&held, &open),
                    percent(layer.holdout_ppm),
                );
                return Err(ApiError::new(ErrorCode::Conflict, message));
            };
            keep(Slice { layer: name.clone(), salt: layer.salt.clone(), start, end }).await
        })
        .await
    }

    /// The experiments of which something is still to come.
    pub(super) async fn open_experiments(&self) -> Result<Vec<Experiment>, ApiError> {
        let plans = self.deps.relational.plans.plans(PlanKind::Experiment, true).await;
        let experiment = |plan| match plan {
            Plan::Experiment(experiment) => Some(*experiment),
            _ => None,
        };
        Ok(plans.map_err(RouterError::from)?.into_iter().filter_map(experiment).collect())
    }

    async fn all_layers(&self) -> Result<Vec<Layer>, ApiError> {
        let plans = self.deps.relational.plans.plans(PlanKind::Layer, false).await;
        let layer = |plan| match plan {
            Plan::Layer(layer) => Some(layer),
            _ => None,
        };
        Ok(plans.map_err(RouterError::from)?.into_iter().filter_map(layer).collect())
    }

    async fn layer_named(&self, name: &str) -> Result<Option<Layer>, ApiError> {
        Ok(self.all_layers().await?.into_iter().find(|layer| layer.name == name))
    }

    fn new_layer(&self, name: &str, holdout_ppm: u32, by: &str) -> Result<Layer, ApiError> {
        Ok(Layer {
            id: PlanId::new(PlanKind::Layer),
            name: name.to_owned(),
            salt: new_salt()?,
            holdout_ppm,
            created_by: by.to_owned(),
            created_at: self.deps.clock.now(),
            revision: 1,
        })
    }

    async fn keep_layer(&self, layer: Layer) -> Result<(), ApiError> {
        let kept = self.deps.relational.plans.put_plan(Plan::Layer(layer)).await;
        Ok(kept.map_err(RouterError::from)?)
    }
}

/// The runs of a layer that open experiments hold, in order.
fn held(open: &[Experiment], layer: &str) -> Vec<HeldSlice> {
    let mine = open.iter().filter(|experiment| experiment.slice.layer == layer);
    let slice = |experiment: &Experiment| HeldSlice {
        experiment: experiment.id.clone(),
        start: experiment.slice.start,
        end: experiment.slice.end,
    };
    let mut held: Vec<HeldSlice> = mine.map(slice).collect();
    held.sort_by_key(|one| one.start);
    held
}

fn in_words(held: &[HeldSlice], open: &[Experiment]) -> String {
    let word = |one: &HeldSlice| {
        let experiment = open.iter().find(|experiment| experiment.id == one.experiment);
        let name = experiment.map_or("", |experiment| experiment.name.as_str());
        let state = experiment.map_or("", |experiment| experiment.state.as_str());
        let (from, to) = (percent(one.start), percent(one.end));
        format!("{from} to {to} by `{name}` ({}, {state})", one.experiment)
    };
    if held.is_empty() {
        return "none".to_owned();
    }
    held.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn percent(buckets: u32) -> String {
    format!("{} %", f64::from(buckets) / 10_000.0)
}

fn turn(layer: &str) -> String {
    format!("layer:{layer}")
}
