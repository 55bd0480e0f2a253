//! Experiments, rollouts and layers; what was counted for them; leases.

use async_trait::async_trait;
use domain::counts::CountBatch;
use domain::{Plan, PlanId, PlanKind};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::failure::Broken;
use super::{RelationalServer, begin};
use crate::columns::{StoredPlan, count_batches, nanoseconds};
use crate::ports::Plans;
use crate::{StoreError, json};

#[async_trait]
impl Plans for RelationalServer {
    async fn plan(&self, id: &PlanId) -> Result<Option<Plan>, StoreError> {
        let select = async |connection: &mut PgConnection| {
            sqlx::query_scalar("SELECT record FROM plans WHERE id = $1")
                .bind(id.as_str())
                .fetch_optional(connection)
                .await
        };
        let record: Option<String> = self.during("read a plan", select).await?;
        record.map(|record| json::read("plan", id.as_str(), &record)).transpose()
    }

    async fn plans(&self, kind: PlanKind, open_only: bool) -> Result<Vec<Plan>, StoreError> {
        let select = async |connection: &mut PgConnection| {
            sqlx::query_as(
                "SELECT id, record FROM plans WHERE kind = $1 AND (open OR NOT $2) \
                 ORDER BY id DESC",
            )
            .bind(kind.as_str())
            .bind(open_only)
            .fetch_all(connection)
            .await
        };
        let rows: Vec<(String, String)> = self.during("list plans", select).await?;
        rows.iter().map(|(id, record)| json::read("plan", id, record)).collect()
    }

    async fn put_plan(&self, plan: Plan) -> Result<(), StoreError> {
        self.take_in(plan, &[]).await
    }

    async fn count(&self, batches: &[CountBatch]) -> Result<(), StoreError> {
        let mut rows = Vec::with_capacity(batches.len());
        for batch in batches {
            rows.push((batch, json::write("counts", &batch.id, batch)?));
        }
        let insert = async |connection: &mut PgConnection| {
            let mut change = begin(connection).await?;
            for (batch, record) in &rows {
                sqlx::query(
                    "INSERT INTO counts (id, plan, at, record) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT DO NOTHING",
                )
                .bind(&batch.id)
                .bind(batch.plan.as_str())
                .bind(nanoseconds(batch.at))
                .bind(record)
                .execute(&mut *change)
                .await?;
            }
            change.commit().await
        };
        self.during("keep counts", insert).await
    }

    async fn waiting(&self, plan: &PlanId, limit: u32) -> Result<Vec<CountBatch>, StoreError> {
        let select = async |connection: &mut PgConnection| {
            sqlx::query_as(
                "SELECT id, record FROM counts WHERE plan = $1 AND NOT taken \
                 ORDER BY at, id LIMIT $2",
            )
            .bind(plan.as_str())
            .bind(i64::from(limit))
            .fetch_all(connection)
            .await
        };
        count_batches(&self.during("read counts", select).await?)
    }

    async fn take_in(&self, plan: Plan, batches: &[String]) -> Result<(), StoreError> {
        let stored = StoredPlan::of(&plan)?;
        let name = stored.name.as_bytes();
        let put = async |connection: &mut PgConnection| {
            let mut change = begin(connection).await?;
            let holder: Option<String> = sqlx::query_scalar(
                "SELECT id FROM plans WHERE kind = $1 AND sha256(name) = sha256($2)",
            )
            .bind(stored.kind)
            .bind(name)
            .fetch_optional(&mut *change)
            .await?;
            if stored.name_is_taken(holder) {
                return Err(Broken::Ours(stored.taken()));
            }
            let put = if stored.revision == 1 {
                sqlx::query(
                    "INSERT INTO plans (kind, name, model, open, revision, record, id) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
                )
            } else {
                sqlx::query(
                    "UPDATE plans SET kind = $1, name = $2, model = $3, open = $4, revision = $5, \
                     record = $6 WHERE id = $7 AND revision = $5 - 1",
                )
            };
            let done = put
                .bind(stored.kind)
                .bind(name)
                .bind(stored.model)
                .bind(stored.open)
                .bind(stored.revision)
                .bind(&stored.record)
                .bind(stored.id)
                .execute(&mut *change)
                .await?;
            if done.rows_affected() == 0 {
                return Err(Broken::Ours(stored.changed_meanwhile()));
            }
            let done =
                sqlx::query("UPDATE counts SET taken = TRUE WHERE id = ANY($1) AND NOT taken")
                    .bind(batches)
                    .execute(&mut *change)
                    .await?;
            if done.rows_affected() != batches.len() as u64 {
                return Err(Broken::Ours(stored.changed_meanwhile()));
            }
            change.commit().await.map_err(Broken::Driver)
        };
        self.during("keep a plan", put).await
    }

    async fn forget_counts(&self, before: OffsetDateTime) -> Result<u64, StoreError> {
        let remove = async |connection: &mut PgConnection| {
            sqlx::query("DELETE FROM counts WHERE at < $1")
                .bind(nanoseconds(before))
                .execute(connection)
                .await
        };
        Ok(self.during("forget counts", remove).await?.rows_affected())
    }

    async fn lease(
        &self,
        name: &str,
        holder: &str,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let take = async |connection: &mut PgConnection| {
            sqlx::query(
                "INSERT INTO leases (name, holder, until) VALUES ($1, $2, $4) \
                 ON CONFLICT (name) DO UPDATE SET holder = $2, until = $4 \
                 WHERE leases.holder = $2 OR leases.until < $3",
            )
            .bind(name)
            .bind(holder)
            .bind(nanoseconds(now))
            .bind(nanoseconds(until))
            .execute(connection)
            .await
        };
        Ok(self.during("take a lease", take).await?.rows_affected() > 0)
    }
}
