//! Routes with their history.

use async_trait::async_trait;
use domain::{ModelName, Route};

use super::RelationalFile;
use crate::ports::Routes;
use crate::{StoreError, json};

#[async_trait]
impl Routes for RelationalFile {
    async fn route(&self, model: &ModelName) -> Result<Option<Route>, StoreError> {
        let record: Option<String> = sqlx::query_scalar(
            "SELECT record FROM routes WHERE model = ? ORDER BY generation DESC LIMIT 1",
        )
        .bind(model.as_str())
        .fetch_optional(&self.0.read)
        .await
        .map_err(self.0.during("read a route"))?;
        record.map(|record| json::read("route", model.as_str(), &record)).transpose()
    }

    async fn routes(&self) -> Result<Vec<Route>, StoreError> {
        // SQLite takes the bare columns from the row that has the maximum.
        let rows: Vec<(String, i64, String)> = sqlx::query_as(
            "SELECT model, max(generation), record FROM routes GROUP BY model ORDER BY model",
        )
        .fetch_all(&self.0.read)
        .await
        .map_err(self.0.during("list routes"))?;
        rows.iter().map(|(model, _, record)| json::read("route", model, record)).collect()
    }

    async fn put_route(&self, route: Route) -> Result<(), StoreError> {
        let action = "put a route in force";
        let model = route.model.as_str();
        for arm in &route.arms {
            json::finite("route", model, "weight", arm.weight)?;
        }
        let record = json::write("route", model, &route)?;

        let mut change = self.0.change(action).await?;
        let in_force: i64 =
            sqlx::query_scalar("SELECT coalesce(max(generation), 0) FROM routes WHERE model = ?")
                .bind(model)
                .fetch_one(&mut *change)
                .await
                .map_err(self.0.during(action))?;
        let next = in_force.saturating_add(1);
        if i64::try_from(route.generation).ok() != Some(next) {
            return Err(StoreError::Conflict {
                what: "route",
                id: model.to_owned(),
                why: format!(
                    "was changed meanwhile: generation {} cannot follow {in_force}; read it and try again",
                    route.generation
                ),
            });
        }
        sqlx::query("INSERT INTO routes (model, generation, record) VALUES (?, ?, ?)")
            .bind(model)
            .bind(next)
            .bind(record)
            .execute(&mut *change)
            .await
            .map_err(self.0.during(action))?;
        change.commit().await.map_err(self.0.during(action))
    }

    async fn history(
        &self,
        model: &ModelName,
        before: u64,
        limit: u32,
    ) -> Result<Vec<Route>, StoreError> {
        let records: Vec<String> = sqlx::query_scalar(
            "SELECT record FROM routes WHERE model = ? AND generation < ? \
             ORDER BY generation DESC LIMIT ?",
        )
        .bind(model.as_str())
        .bind(i64::try_from(before).unwrap_or(i64::MAX))
        .bind(limit)
        .fetch_all(&self.0.read)
        .await
        .map_err(self.0.during("read the history of a route"))?;
        records.iter().map(|record| json::read("route", model.as_str(), record)).collect()
    }
}
