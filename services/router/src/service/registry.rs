//! Models, their versions, aliases and policies.

use std::collections::BTreeMap;

use contracts::inference::Target;
use contracts::router::{
    ModelDetail, ModelList, NewModel, NewVersion, PutPolicy, SetAlias, SetEnabled,
};
use contracts::{ApiError, Call, Done, Framed};
use domain::{Model, ModelName, ModelPolicy, Role, Version};
use serde_json::{Value, json};

use super::{READERS, Service, policy};
use crate::error::RouterError;
use crate::table::{target, unknown_version};

impl Service {
    pub(super) async fn list_models(&self, call: Call) -> Result<ModelList, ApiError> {
        let caller = call.require(READERS)?;
        let mut models = self.deps.relational.registry.models().await.map_err(RouterError::from)?;
        models.retain(|model| caller.scope.has_model(&model.name));
        let role = caller.role;
        let models = models.into_iter().map(|model| policy::model_for(role, model)).collect();
        Ok(ModelList { models })
    }

    pub(super) async fn model_detail(
        &self,
        call: Call,
        name: ModelName,
    ) -> Result<ModelDetail, ApiError> {
        let role = call.require(READERS)?.role;
        call.require_model(&name)?;
        let model = self.existing_model(&name).await?;
        let relational = &self.deps.relational;
        let versions =
            relational.registry.versions(Some(&name)).await.map_err(RouterError::from)?;
        let route = relational.routes.route(&name).await.map_err(RouterError::from)?;
        let detail = ModelDetail { model, versions, route, interface: None };
        Ok(policy::detail_for(role, detail))
    }

    pub(super) async fn register_model(
        &self,
        call: Call,
        request: NewModel,
    ) -> Result<Model, ApiError> {
        let caller = call.require(&[Role::Engineer])?;
        call.require_model(&request.name)?;
        let model = Model {
            name: request.name,
            description: request.description,
            aliases: BTreeMap::new(),
            policy: None,
            created_by: caller.name.clone(),
            created_at: self.deps.clock.now(),
        };
        let registry = &self.deps.relational.registry;
        registry.create_model(model.clone()).await.map_err(RouterError::from)?;
        self.record(&call, "model.create", &model.name, "", Value::Null, json!(model)).await;
        self.changed().await?;
        Ok(model)
    }

    pub(super) async fn register_version(
        &self,
        call: Call,
        request: Framed<NewVersion>,
    ) -> Result<Version, ApiError> {
        let caller = call.require(&[Role::Engineer])?;
        call.require_model(&request.meta.model)?;
        self.existing_model(&request.meta.model).await?;
        let version = self.register(&caller.name, request).await?;
        let after = json!({"version": version.version, "files": version.files});
        self.record(&call, "version.create", &version.model, "", Value::Null, after).await;
        if let Some(route) = self.route_first(&caller.name, &version).await? {
            let (subject, data) = (format!("model:{}", version.model), json!({"after": route}));
            let why = "its first version";
            self.tell("route.changed", &version.model, &subject, &caller.name, why, data).await;
        }
        self.changed().await?;
        tracing::info!(model = %version.model, version = %version.version, by = caller.name, "registered a version");
        Ok(version)
    }

    pub(super) async fn version_of(&self, call: Call, target: Target) -> Result<Version, ApiError> {
        let role = call.require(READERS)?.role;
        call.require_model(&target.model)?;
        self.model_shown_to(role, &target.model).await?;
        let registry = &self.deps.relational.registry;
        let versions = registry.versions(Some(&target.model)).await.map_err(RouterError::from)?;
        let found = versions.iter().find(|version| version.version == target.version).cloned();
        found.ok_or_else(|| {
            let known = versions.iter().map(|version| &version.version);
            unknown_version(&target.model, target.version, known)
        })
    }

    pub(super) async fn policy_of(
        &self,
        call: Call,
        model: ModelName,
    ) -> Result<ModelPolicy, ApiError> {
        call.require(&[Role::Analyst])?;
        call.require_model(&model)?;
        Ok(policy::in_force(&self.existing_model(&model).await?))
    }

    pub(super) async fn change_policy(
        &self,
        call: Call,
        request: PutPolicy,
    ) -> Result<ModelPolicy, ApiError> {
        let caller = call.require(&[Role::Engineer])?;
        let model = request.model.clone();
        call.require_model(&model)?;
        let before = policy::in_force(&self.existing_model(&model).await?);
        let policy = self.replace_policy(&caller.name, request).await?;
        self.record(&call, "policy.put", &model, "", json!(before), json!(policy)).await;
        Ok(policy)
    }

    pub(super) async fn change_alias(
        &self,
        call: Call,
        request: SetAlias,
    ) -> Result<Model, ApiError> {
        call.require(&[Role::Engineer])?;
        let SetAlias { model, alias, version } = request;
        call.require_model(&model)?;
        let fits = (1..=64).contains(&alias.len())
            && alias.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'));
        if !fits {
            return Err(ApiError::at(
                "#/alias",
                format!(
                    "must be 1 to 64 characters of `A-Z a-z 0-9 . _ -`, got `{}`",
                    alias.escape_debug()
                ),
            ));
        }
        let registry = &self.deps.relational.registry;
        let before = self.existing_model(&model).await?.aliases;
        registry.set_alias(&model, &alias, version).await.map_err(RouterError::from)?;
        let after = self.existing_model(&model).await?;
        let (was, is) = (json!(before), json!(after.aliases));
        self.record(&call, "alias.set", &model, "", was, is).await;
        Ok(after)
    }

    pub(super) async fn enable(&self, call: Call, request: SetEnabled) -> Result<Done, ApiError> {
        call.require(&[Role::Engineer])?;
        let SetEnabled { model, version, enabled } = request;
        call.require_model(&model)?;
        self.existing_model(&model).await?;
        let registry = &self.deps.relational.registry;
        let versions = registry.versions(Some(&model)).await.map_err(RouterError::from)?;
        let known: Vec<_> = versions.iter().map(|version| version.version).collect();
        let concerned: Vec<_> = versions
            .into_iter()
            .filter(|known| version.is_none_or(|version| known.version == version))
            .collect();
        if let (Some(version), true) = (version, concerned.is_empty()) {
            return Err(unknown_version(&model, version, known.iter()));
        }
        if enabled {
            for version in &concerned {
                self.fleet.load(version).await?;
            }
        }
        registry.set_enabled(&model, version, enabled).await.map_err(RouterError::from)?;
        let action = if enabled { "version.load" } else { "version.unload" };
        let after = json!({"version": version, "enabled": enabled});
        self.record(&call, action, &model, "", Value::Null, after).await;
        self.changed().await?;
        if !enabled {
            for version in &concerned {
                self.fleet.unload(&target(version)).await?;
            }
        }
        Ok(Done {})
    }
}
