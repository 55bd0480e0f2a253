//! What is ruled for a model: set, read, and kept from who is not told of versions.

use contracts::router::{Interface, ModelDetail, PredictionView, PutPolicy};
use contracts::{ApiError, ErrorCode, Faults};
use domain::manifest::{Datatype, Feature, FeatureKind, OutputSpec, TensorSpec};
use domain::policy::{OutputRules, ROLES, Rules};
use domain::{Manifest, Modality, Model, ModelName, ModelPolicy, Role, Task, Version};
use models::rules::Compiled;
use serde_json::Value;

use super::Service;
use crate::error::RouterError;

impl Service {
    /// Stores a policy, and puts it in force in all routers.
    pub(super) async fn replace_policy(
        &self,
        by: &str,
        request: PutPolicy,
    ) -> Result<ModelPolicy, ApiError> {
        let PutPolicy { model, policy } = request;
        self.existing_model(&model).await?;
        let registry = &self.deps.relational.registry;
        let versions = registry.versions(Some(&model)).await.map_err(RouterError::from)?;
        self.check_policy(&policy, &versions)?;
        let policy = registry.set_policy(&model, policy).await.map_err(RouterError::from)?;
        self.changed().await?;
        tracing::info!(%model, revision = policy.revision, by, "changed a policy");
        Ok(policy)
    }

    fn check_policy(&self, policy: &ModelPolicy, versions: &[Version]) -> Result<(), ApiError> {
        let mut faults = Faults::default();
        check_roles(&policy.version_shown_to, &mut faults);
        let most = self.settings.policies.max_ttl_s;
        if let Some(cache) = policy.cache
            && !(1..=most).contains(&cache.ttl_s)
        {
            let detail = format!(
                "must be 1 to {most} (`router.policies.max_ttl_s`), got `{}`: leave `cache` out to keep no answers",
                cache.ttl_s
            );
            faults.add("#/cache/ttl_s", detail);
        }
        let most = self.settings.policies.max_patterns;
        for (pointer, count) in [
            ("#/input/forbidden", policy.input.forbidden.len()),
            ("#/output/patterns", policy.output.patterns.len()),
        ] {
            if count > most {
                let detail = format!(
                    "must hold at most {most} (`router.policies.max_patterns`), got {count}"
                );
                faults.add(pointer, detail);
            }
        }
        // What is too many is not compiled.
        faults.check()?;
        let mut faults = Faults::default();
        if let Some(rules) = Rules::of(policy) {
            for fault in Compiled::new(&rules).err().into_iter().flatten() {
                faults.add(fault.pointer, fault.detail);
            }
            check_use(&rules, versions, &mut faults);
        }
        faults.check()
    }
}

fn check_roles(shown_to: &[Role], faults: &mut Faults) {
    for (index, role) in shown_to.iter().enumerate() {
        let pointer = format!("#/version_shown_to/{index}");
        if !ROLES.contains(role) {
            faults.add(pointer, "must be `admin`, `engineer`, `analyst` or `client`");
        } else if shown_to.iter().take(index).any(|earlier| earlier == role) {
            faults.add(pointer, format!("names `{}` twice", role.as_str()));
        }
    }
    for role in [Role::Admin, Role::Engineer] {
        if !shown_to.contains(&role) {
            let detail = format!("must hold `{}`, who manages versions", role.as_str());
            faults.add("#/version_shown_to", detail);
        }
    }
}

/// Refuses rules that none of the model's versions could break.
fn check_use(rules: &Rules, versions: &[Version], faults: &mut Faults) {
    let none = |has: fn(&Manifest) -> bool| {
        !versions.is_empty() && !versions.iter().any(|version| has(&version.manifest))
    };
    let input = &rules.input;
    if input.image.is_some() && none(|manifest| manifest.modality == Modality::Image) {
        faults.add("#/input/image", "does nothing: the model takes no pictures");
    }
    let takes_text = |manifest: &Manifest| {
        let is_text =
            |one: &Feature| matches!(one.kind, FeatureKind::String | FeatureKind::Category);
        let bytes = |one: &TensorSpec| one.datatype == Datatype::Bytes;
        manifest.modality == Modality::Text
            || manifest.features.iter().any(is_text)
            || manifest.inputs.iter().any(bytes)
    };
    if none(takes_text) {
        let does_nothing = "does nothing: the model takes no texts";
        if input.max_chars.is_some() {
            faults.add("#/input/max_chars", does_nothing);
        }
        if !input.forbidden.is_empty() {
            faults.add("#/input/forbidden", does_nothing);
        }
    }
    let gives_text = |manifest: &Manifest| {
        let bytes = |one: &OutputSpec| one.datatype == Datatype::Bytes;
        manifest.task == Task::Classification || manifest.outputs.iter().any(bytes)
    };
    if rules.output != OutputRules::default() && none(gives_text) {
        faults.add("#/output", "does nothing: the model answers with no texts");
    }
}

/// The policy in force for a model.
pub(super) fn in_force(model: &Model) -> ModelPolicy {
    model.policy.clone().unwrap_or_default()
}

/// A model, as this role may see it.
pub(super) fn model_for(role: Role, mut model: Model) -> Model {
    if !in_force(&model).shows_version_to(role) {
        model.aliases.clear();
    }
    if !role.may(Role::Analyst) {
        model.policy = None;
    }
    model
}

/// A model with its versions, as this role may see it.
pub(super) fn detail_for(role: Role, mut detail: ModelDetail) -> ModelDetail {
    if !in_force(&detail.model).shows_version_to(role) {
        detail.interface = interface(&detail);
        detail.versions.clear();
        detail.route = None;
    }
    detail.model = model_for(role, detail.model);
    detail
}

/// What the most used version takes and gives.
fn interface(detail: &ModelDetail) -> Option<Interface> {
    let most_used = detail.route.as_ref()?.arms.iter().max_by_key(|arm| arm.share_ppm)?.version;
    let version = detail.versions.iter().find(|version| version.version == most_used)?;
    let manifest = version.manifest.clone();
    let outputs = manifest.outputs.into_iter().map(|output| TensorSpec {
        name: output.name,
        datatype: output.datatype,
        shape: output.shape,
    });
    Some(Interface {
        task: manifest.task,
        modality: manifest.modality,
        format: manifest.format,
        features: manifest.features,
        inputs: manifest.inputs,
        outputs: outputs.collect(),
        labels: manifest.labels,
    })
}

/// A logged prediction without what tells the version. It may have been answered when the version
/// was still shown.
pub(super) fn without_version(mut view: PredictionView) -> PredictionView {
    view.version = None;
    view.decision = None;
    let told = view.output.json.as_ref().filter(|json| json.get().contains("\"model_version\""));
    let read = told.and_then(|json| serde_json::from_str(json.get()).ok());
    if let Some(Value::Object(mut fields)) = read {
        fields.remove("model_version");
        view.output.json = serde_json::value::to_raw_value(&fields).ok();
    }
    view
}

/// A failure, as it is told to who is not told of versions: those of replicas may name one.
pub(super) fn without_version_in(error: ApiError, model: &ModelName) -> ApiError {
    match error.code {
        ErrorCode::Unavailable | ErrorCode::NotFound => ApiError {
            message: format!("model `{model}` cannot answer now: try again"),
            errors: Vec::new(),
            ..error
        },
        _ => error,
    }
}

/// The refusal of who is not told of versions.
pub(crate) fn not_shown(model: &ModelName) -> ApiError {
    ApiError::new(
        ErrorCode::Forbidden,
        format!("the policy of model `{model}` does not show versions to your role"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_roles_that_can_do_without_versions_may_be_left_out() {
        let faults = |roles: &[Role]| {
            let mut faults = Faults::default();
            check_roles(roles, &mut faults);
            let found = faults.check().err().map(|error| error.errors).unwrap_or_default();
            found.into_iter().map(|fault| fault.pointer).collect::<Vec<_>>()
        };
        assert_eq!(faults(&[Role::Engineer, Role::Admin]), [""; 0]);
        assert_eq!(faults(&[Role::Admin, Role::Client]), ["#/version_shown_to"]);
        let odd = [Role::Admin, Role::Engineer, Role::Service, Role::Admin];
        assert_eq!(faults(&odd), ["#/version_shown_to/2", "#/version_shown_to/3"]);
    }
}
