//! Models and their versions.

use async_trait::async_trait;
use domain::{Model, ModelName, ModelPolicy, Version, VersionId};
use sqlx::PgConnection;

use super::failure::Broken;
use super::{RelationalServer, begin};
use crate::columns::{self, id_of, no_model, no_version, taken, version_id};
use crate::ports::Registry;
use crate::{StoreError, json};

#[async_trait]
impl Registry for RelationalServer {
    async fn create_model(&self, model: Model) -> Result<(), StoreError> {
        let name = model.name.as_str();
        let record = json::write("model", name, &model)?;
        let insert = async |connection: &mut PgConnection| {
            sqlx::query("INSERT INTO models (name, record) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(name)
                .bind(record)
                .execute(connection)
                .await
        };
        if self.during("create a model", insert).await?.rows_affected() > 0 {
            return Ok(());
        }
        Err(taken("model", name))
    }

    async fn model(&self, name: &ModelName) -> Result<Option<Model>, StoreError> {
        let select = async |connection: &mut PgConnection| {
            sqlx::query_scalar("SELECT record FROM models WHERE name = $1")
                .bind(name.as_str())
                .fetch_optional(connection)
                .await
        };
        let record: Option<String> = self.during("read a model", select).await?;
        record.map(|record| json::read("model", name.as_str(), &record)).transpose()
    }

    async fn models(&self) -> Result<Vec<Model>, StoreError> {
        let select = async |connection: &mut PgConnection| {
            sqlx::query_as("SELECT name, record FROM models ORDER BY name")
                .fetch_all(connection)
                .await
        };
        let rows: Vec<(String, String)> = self.during("list models", select).await?;
        rows.iter().map(|(name, record)| json::read("model", name, record)).collect()
    }

    async fn create_version(&self, version: Version) -> Result<Version, StoreError> {
        let create =
            async |connection: &mut PgConnection| insert_version(connection, version).await;
        self.during("create a version", create).await
    }

    async fn versions(&self, model: Option<&ModelName>) -> Result<Vec<Version>, StoreError> {
        let select = async |connection: &mut PgConnection| {
            sqlx::query_as(
                "SELECT model, version, enabled, record FROM versions \
                 WHERE $1::text IS NULL OR model = $1 ORDER BY model, version",
            )
            .bind(model.map(ModelName::as_str))
            .fetch_all(connection)
            .await
        };
        let rows: Vec<(String, i64, bool, String)> = self.during("list versions", select).await?;
        columns::versions(rows)
    }

    async fn set_alias(
        &self,
        name: &ModelName,
        alias: &str,
        version: Option<VersionId>,
    ) -> Result<(), StoreError> {
        let set = async |connection: &mut PgConnection| {
            update_alias(connection, name, alias, version).await
        };
        self.during("set an alias", set).await
    }

    async fn set_policy(
        &self,
        name: &ModelName,
        policy: ModelPolicy,
    ) -> Result<ModelPolicy, StoreError> {
        let set =
            async |connection: &mut PgConnection| update_policy(connection, name, policy).await;
        self.during("set a policy", set).await
    }

    async fn set_enabled(
        &self,
        name: &ModelName,
        version: Option<VersionId>,
        enabled: bool,
    ) -> Result<(), StoreError> {
        let update = async |connection: &mut PgConnection| {
            sqlx::query(
                "UPDATE versions SET enabled = $1 \
                 WHERE model = $2 AND ($3::bigint IS NULL OR version = $3)",
            )
            .bind(enabled)
            .bind(name.as_str())
            .bind(version.map(|version| i64::from(version.number())))
            .execute(connection)
            .await
        };
        let done = self.during("enable or disable a version", update).await?;
        if done.rows_affected() > 0 {
            return Ok(());
        }
        Err(version.map_or_else(|| no_model(name), |version| no_version(name, version)))
    }
}

async fn insert_version(
    connection: &mut PgConnection,
    mut version: Version,
) -> Result<Version, Broken> {
    let model = version.model.clone();
    let mut change = begin(connection).await?;
    if lock_model(&mut change, &model).await?.is_none() {
        return Err(no_model(&model).into());
    }
    let next: i64 =
        sqlx::query_scalar("SELECT coalesce(max(version), 0) + 1 FROM versions WHERE model = $1")
            .bind(model.as_str())
            .fetch_one(&mut *change)
            .await?;
    version.version = version_id(&model, next)?;
    let record = json::write("version", &id_of(&model, version.version), &version)?;
    sqlx::query("INSERT INTO versions (model, version, enabled, record) VALUES ($1, $2, $3, $4)")
        .bind(model.as_str())
        .bind(next)
        .bind(version.enabled)
        .bind(record)
        .execute(&mut *change)
        .await?;
    change.commit().await?;
    Ok(version)
}

async fn update_alias(
    connection: &mut PgConnection,
    name: &ModelName,
    alias: &str,
    version: Option<VersionId>,
) -> Result<(), Broken> {
    let mut change = begin(connection).await?;
    let Some(record) = lock_model(&mut change, name).await? else {
        return Err(no_model(name).into());
    };
    if let Some(version) = version {
        let known: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM versions WHERE model = $1 AND version = $2)",
        )
        .bind(name.as_str())
        .bind(i64::from(version.number()))
        .fetch_one(&mut *change)
        .await?;
        if !known {
            return Err(no_version(name, version).into());
        }
    }
    write_model(&mut change, name, &columns::with_alias(name, &record, alias, version)?).await?;
    change.commit().await?;
    Ok(())
}

async fn update_policy(
    connection: &mut PgConnection,
    name: &ModelName,
    policy: ModelPolicy,
) -> Result<ModelPolicy, Broken> {
    let mut change = begin(connection).await?;
    let Some(record) = lock_model(&mut change, name).await? else {
        return Err(no_model(name).into());
    };
    let (record, policy) = columns::with_policy(name, &record, policy)?;
    write_model(&mut change, name, &record).await?;
    change.commit().await?;
    Ok(policy)
}

async fn write_model(
    change: &mut PgConnection,
    name: &ModelName,
    record: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE models SET record = $1 WHERE name = $2")
        .bind(record)
        .bind(name.as_str())
        .execute(change)
        .await
        .map(drop)
}

/// Reads a model's record. Nobody else changes the model, or adds a version, until the change ends.
async fn lock_model(
    change: &mut PgConnection,
    name: &ModelName,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT record FROM models WHERE name = $1 FOR UPDATE")
        .bind(name.as_str())
        .fetch_optional(change)
        .await
}
