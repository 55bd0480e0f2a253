//! Routes with their history.

use async_trait::async_trait;
use domain::{ModelName, Route};
use sqlx::PgConnection;

use super::RelationalServer;
use crate::ports::Routes;
use crate::{StoreError, json};

#[async_trait]
impl Routes for RelationalServer {
    async fn route(&self, model: &ModelName) -> Result<Option<Route>, StoreError> {
        let select = async |connection: &mut PgConnection| {
            sqlx::query_scalar(
                "SELECT record FROM routes WHERE model = $1 ORDER BY generation DESC LIMIT 1",
            )
            .bind(model.as_str())
            .fetch_optional(connection)
            .await
        };
        let record: Option<String> = self.during("read a route", select).await?;
        record.map(|record| json::read("route", model.as_str(), &record)).transpose()
    }

    async fn routes(&self) -> Result<Vec<Route>, StoreError> {
        // The history is counted through in the index alone; only the last of each is read.
        let select = async |connection: &mut PgConnection| {
            sqlx::query_as(
                "SELECT model, record FROM routes JOIN \
                 (SELECT model, max(generation) AS generation FROM routes GROUP BY model) AS last \
                 USING (model, generation) ORDER BY model",
            )
            .fetch_all(connection)
            .await
        };
        let rows: Vec<(String, String)> = self.during("list routes", select).await?;
        rows.iter().map(|(model, record)| json::read("route", model, record)).collect()
    }

    async fn put_route(&self, route: Route) -> Result<(), StoreError> {
        let model = route.model.as_str();
        for arm in &route.arms {
            json::finite("route", model, "weight", arm.weight)?;
        }
        let record = json::write("route", model, &route)?;

        let wanted = i64::try_from(route.generation).ok();
        // No transaction: no generation is ever removed, so that the one before stays in force
        // until somebody puts this one, of which the primary key allows one.
        let put = async |connection: &mut PgConnection| {
            let in_force: i64 = sqlx::query_scalar(
                "SELECT coalesce(max(generation), 0) FROM routes WHERE model = $1",
            )
            .bind(model)
            .fetch_one(&mut *connection)
            .await?;
            let next = in_force.saturating_add(1);
            if wanted != Some(next) {
                return Ok(Some(in_force));
            }
            let inserted = sqlx::query(
                "INSERT INTO routes (model, generation, record) VALUES ($1, $2, $3) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(model)
            .bind(next)
            .bind(&record)
            .execute(connection)
            .await?;
            Ok::<_, sqlx::Error>((inserted.rows_affected() == 0).then_some(next))
        };
        let Some(in_force) = self.during("put a route in force", put).await? else {
            return Ok(());
        };
        Err(StoreError::Conflict {
            what: "route",
            id: model.to_owned(),
            why: format!(
                "was changed meanwhile: generation {} cannot follow {in_force}; read it and try again",
                route.generation
            ),
        })
    }

    async fn history(
        &self,
        model: &ModelName,
        before: u64,
        limit: u32,
    ) -> Result<Vec<Route>, StoreError> {
        let select = async |connection: &mut PgConnection| {
            sqlx::query_scalar(
                "SELECT record FROM routes WHERE model = $1 AND generation < $2 \
                 ORDER BY generation DESC LIMIT $3",
            )
            .bind(model.as_str())
            .bind(i64::try_from(before).unwrap_or(i64::MAX))
            .bind(i64::from(limit))
            .fetch_all(connection)
            .await
        };
        let records: Vec<String> = self.during("read the history of a route", select).await?;
        records.iter().map(|record| json::read("route", model.as_str(), record)).collect()
    }
}
