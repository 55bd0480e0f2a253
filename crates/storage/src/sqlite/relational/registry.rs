//! Models and their versions.

use async_trait::async_trait;
use domain::{Model, ModelName, ModelPolicy, Version, VersionId};
use sqlx::SqliteConnection;

use super::RelationalFile;
use crate::columns::{self, id_of, no_model, no_version, taken, version_id};
use crate::ports::Registry;
use crate::sqlite::is_taken;
use crate::{StoreError, json};

#[async_trait]
impl Registry for RelationalFile {
    async fn create_model(&self, model: Model) -> Result<(), StoreError> {
        let name = model.name.as_str();
        let record = json::write("model", name, &model)?;
        let insert =
            sqlx::query("INSERT INTO models (name, record) VALUES (?, ?)").bind(name).bind(record);
        match insert.execute(&self.0.write).await {
            Ok(_) => Ok(()),
            Err(cause) if is_taken(&cause) => Err(taken("model", name)),
            Err(cause) => Err(self.0.during("create a model")(cause)),
        }
    }

    async fn model(&self, name: &ModelName) -> Result<Option<Model>, StoreError> {
        let record: Option<String> = sqlx::query_scalar("SELECT record FROM models WHERE name = ?")
            .bind(name.as_str())
            .fetch_optional(&self.0.read)
            .await
            .map_err(self.0.during("read a model"))?;
        record.map(|record| json::read("model", name.as_str(), &record)).transpose()
    }

    async fn models(&self) -> Result<Vec<Model>, StoreError> {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT name, record FROM models ORDER BY name")
                .fetch_all(&self.0.read)
                .await
                .map_err(self.0.during("list models"))?;
        rows.iter().map(|(name, record)| json::read("model", name, record)).collect()
    }

    async fn create_version(&self, mut version: Version) -> Result<Version, StoreError> {
        let action = "create a version";
        let mut change = self.0.change(action).await?;
        if read_model(&mut change, &version.model).await.map_err(self.0.during(action))?.is_none() {
            return Err(no_model(&version.model));
        }
        let next: i64 = sqlx::query_scalar(
            "SELECT coalesce(max(version), 0) + 1 FROM versions WHERE model = ?",
        )
        .bind(version.model.as_str())
        .fetch_one(&mut *change)
        .await
        .map_err(self.0.during(action))?;
        version.version = version_id(&version.model, next)?;
        let record = json::write("version", &id_of(&version.model, version.version), &version)?;
        sqlx::query("INSERT INTO versions (model, version, enabled, record) VALUES (?, ?, ?, ?)")
            .bind(version.model.as_str())
            .bind(next)
            .bind(version.enabled)
            .bind(record)
            .execute(&mut *change)
            .await
            .map_err(self.0.during(action))?;
        change.commit().await.map_err(self.0.during(action))?;
        Ok(version)
    }

    async fn versions(&self, model: Option<&ModelName>) -> Result<Vec<Version>, StoreError> {
        let rows: Vec<(String, i64, bool, String)> = sqlx::query_as(
            "SELECT model, version, enabled, record FROM versions \
             WHERE ?1 IS NULL OR model = ?1 ORDER BY model, version",
        )
        .bind(model.map(ModelName::as_str))
        .fetch_all(&self.0.read)
        .await
        .map_err(self.0.during("list versions"))?;
        columns::versions(rows)
    }

    async fn set_alias(
        &self,
        name: &ModelName,
        alias: &str,
        version: Option<VersionId>,
    ) -> Result<(), StoreError> {
        let action = "set an alias";
        let mut change = self.0.change(action).await?;
        let record = read_model(&mut change, name).await.map_err(self.0.during(action))?;
        let Some(record) = record else {
            return Err(no_model(name));
        };
        if let Some(version) = version {
            let known: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM versions WHERE model = ? AND version = ?)",
            )
            .bind(name.as_str())
            .bind(version.number())
            .fetch_one(&mut *change)
            .await
            .map_err(self.0.during(action))?;
            if !known {
                return Err(no_version(name, version));
            }
        }
        let record = columns::with_alias(name, &record, alias, version)?;
        write_model(&mut change, name, &record).await.map_err(self.0.during(action))?;
        change.commit().await.map_err(self.0.during(action))
    }

    async fn set_policy(
        &self,
        name: &ModelName,
        policy: ModelPolicy,
    ) -> Result<ModelPolicy, StoreError> {
        let action = "set a policy";
        let mut change = self.0.change(action).await?;
        let record = read_model(&mut change, name).await.map_err(self.0.during(action))?;
        let record = record.ok_or_else(|| no_model(name))?;
        let (record, policy) = columns::with_policy(name, &record, policy)?;
        write_model(&mut change, name, &record).await.map_err(self.0.during(action))?;
        change.commit().await.map_err(self.0.during(action))?;
        Ok(policy)
    }

    async fn set_enabled(
        &self,
        name: &ModelName,
        version: Option<VersionId>,
        enabled: bool,
    ) -> Result<(), StoreError> {
        let done = sqlx::query(
            "UPDATE versions SET enabled = ?1 WHERE model = ?2 AND (?3 IS NULL OR version = ?3)",
        )
        .bind(enabled)
        .bind(name.as_str())
        .bind(version.map(VersionId::number))
        .execute(&self.0.write)
        .await
        .map_err(self.0.during("enable or disable a version"))?;
        if done.rows_affected() > 0 {
            return Ok(());
        }
        Err(version.map_or_else(|| no_model(name), |version| no_version(name, version)))
    }
}

async fn read_model(
    change: &mut SqliteConnection,
    name: &ModelName,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT record FROM models WHERE name = ?")
        .bind(name.as_str())
        .fetch_optional(change)
        .await
}

async fn write_model(
    change: &mut SqliteConnection,
    name: &ModelName,
    record: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE models SET record = ? WHERE name = ?")
        .bind(record)
        .bind(name.as_str())
        .execute(change)
        .await
        .map(drop)
}
