//! Experiments, rollouts and layers; what was counted for them; leases.

use async_trait::async_trait;
use domain::counts::CountBatch;
use domain::{Plan, PlanId, PlanKind};
use sqlx::SqliteConnection;
use time::OffsetDateTime;

use super::RelationalFile;
use crate::columns::{StoredPlan, count_batches, nanoseconds};
use crate::ports::Plans;
use crate::{StoreError, json};

#[async_trait]
impl Plans for RelationalFile {
    async fn plan(&self, id: &PlanId) -> Result<Option<Plan>, StoreError> {
        let record: Option<String> = sqlx::query_scalar("SELECT record FROM plans WHERE id = ?")
            .bind(id.as_str())
            .fetch_optional(&self.0.read)
            .await
            .map_err(self.0.during("read a plan"))?;
        record.map(|record| json::read("plan", id.as_str(), &record)).transpose()
    }

    async fn plans(&self, kind: PlanKind, open_only: bool) -> Result<Vec<Plan>, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT id, record FROM plans WHERE kind = ? AND open >= ? ORDER BY id DESC",
        )
        .bind(kind.as_str())
        .bind(open_only)
        .fetch_all(&self.0.read)
        .await
        .map_err(self.0.during("list plans"))?;
        rows.iter().map(|(id, record)| json::read("plan", id, record)).collect()
    }

    async fn put_plan(&self, plan: Plan) -> Result<(), StoreError> {
        self.take_in(plan, &[]).await
    }

    async fn count(&self, batches: &[CountBatch]) -> Result<(), StoreError> {
        let action = "keep counts";
        let mut change = self.0.change(action).await?;
        for batch in batches {
            sqlx::query("INSERT OR IGNORE INTO counts (id, plan, at, record) VALUES (?, ?, ?, ?)")
                .bind(&batch.id)
                .bind(batch.plan.as_str())
                .bind(nanoseconds(batch.at))
                .bind(json::write("counts", &batch.id, batch)?)
                .execute(&mut *change)
                .await
                .map_err(self.0.during(action))?;
        }
        change.commit().await.map_err(self.0.during(action))
    }

    async fn waiting(&self, plan: &PlanId, limit: u32) -> Result<Vec<CountBatch>, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT id, record FROM counts WHERE plan = ? AND taken = 0 ORDER BY at, id LIMIT ?",
        )
        .bind(plan.as_str())
        .bind(limit)
        .fetch_all(&self.0.read)
        .await
        .map_err(self.0.during("read counts"))?;
        count_batches(&rows)
    }

    async fn take_in(&self, plan: Plan, batches: &[String]) -> Result<(), StoreError> {
        let action = "keep a plan";
        let stored = StoredPlan::of(&plan)?;
        let mut change = self.0.change(action).await?;
        if stored
            .name_is_taken(name_holder(&mut change, &stored).await.map_err(self.0.during(action))?)
        {
            return Err(stored.taken());
        }
        let put = if stored.revision == 1 {
            sqlx::query(
                "INSERT INTO plans (kind, name, model, open, revision, record, id) \
                 VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            )
        } else {
            sqlx::query(
                "UPDATE plans SET kind = ?, name = ?, model = ?, open = ?, revision = ?, record = ? \
                 WHERE id = ? AND revision = ?",
            )
        };
        let put = put
            .bind(stored.kind)
            .bind(stored.name)
            .bind(stored.model)
            .bind(stored.open)
            .bind(stored.revision)
            .bind(&stored.record)
            .bind(stored.id);
        let put = if stored.revision == 1 { put } else { put.bind(stored.revision - 1) };
        let done = put.execute(&mut *change).await.map_err(self.0.during(action))?;
        if done.rows_affected() == 0 {
            return Err(stored.changed_meanwhile());
        }
        for batch in batches {
            let done = sqlx::query("UPDATE counts SET taken = 1 WHERE id = ? AND taken = 0")
                .bind(batch)
                .execute(&mut *change)
                .await
                .map_err(self.0.during(action))?;
            if done.rows_affected() == 0 {
                return Err(stored.changed_meanwhile());
            }
        }
        change.commit().await.map_err(self.0.during(action))
    }

    async fn forget_counts(&self, before: OffsetDateTime) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM counts WHERE at < ?")
            .bind(nanoseconds(before))
            .execute(&self.0.write)
            .await
            .map_err(self.0.during("forget counts"))?;
        Ok(done.rows_affected())
    }

    async fn lease(
        &self,
        name: &str,
        holder: &str,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO leases (name, holder, until) VALUES (?1, ?2, ?4) \
             ON CONFLICT (name) DO UPDATE SET holder = ?2, until = ?4 \
             WHERE holder = ?2 OR until < ?3",
        )
        .bind(name)
        .bind(holder)
        .bind(nanoseconds(now))
        .bind(nanoseconds(until))
        .execute(&self.0.write)
        .await
        .map_err(self.0.during("take a lease"))?;
        Ok(done.rows_affected() > 0)
    }
}

/// The plan that has the name.
async fn name_holder(
    connection: &mut SqliteConnection,
    stored: &StoredPlan<'_>,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT id FROM plans WHERE kind = ? AND name = ?")
        .bind(stored.kind)
        .bind(stored.name)
        .fetch_optional(connection)
        .await
}
