//! Events, webhooks, deliveries.

use std::time::Duration;

use async_trait::async_trait;
use domain::{
    Delivery, DeliveryFilter, DueDelivery, Event, EventFilter, PlacedEvent, Webhook, WebhookId,
};
use sqlx::SqliteConnection;
use time::OffsetDateTime;

use super::RelationalFile;
use crate::columns::{changed_meanwhile, nanoseconds};
use crate::events::{
    DeliveryColumns, EventColumns, WebhookColumns, claimed, deliveries, place, placed, texts,
    webhooks,
};
use crate::ports::Events;
use crate::{StoreError, json};

/// What is due, and to whom.
const DUE: &str = "FROM deliveries d JOIN events e ON e.id = d.event \
    JOIN webhooks w ON w.id = d.webhook \
    WHERE d.state = 'waiting' AND d.next_at <= ? AND w.enabled = 1";

#[async_trait]
impl Events for RelationalFile {
    async fn append(
        &self,
        events: &[Event],
        forget_before: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let action = "add events";
        let columns: Vec<_> = events.iter().map(EventColumns::of).collect::<Result<_, _>>()?;
        let mut change = self.0.change(action).await?;
        let enabled: Vec<(String, String)> =
            sqlx::query_as("SELECT id, record FROM webhooks WHERE enabled = 1")
                .fetch_all(&mut *change)
                .await
                .map_err(self.0.during(action))?;
        let enabled = webhooks(&enabled)?;
        for (event, columns) in events.iter().zip(columns) {
            let insert = sqlx::query(
                "INSERT INTO events (id, at, kind, model, record) VALUES (?, ?, ?, ?, ?) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(columns.id)
            .bind(columns.at)
            .bind(event.kind.as_str())
            .bind(columns.model)
            .bind(columns.record);
            let added = insert.execute(&mut *change).await.map_err(self.0.during(action))?;
            if added.rows_affected() == 0 {
                continue;
            }
            for webhook in enabled.iter().filter(|webhook| webhook.wants(event)) {
                let columns = DeliveryColumns::of(&Delivery::new(event, webhook))?;
                insert_delivery(&mut change, columns).await.map_err(self.0.during(action))?;
            }
        }
        sqlx::query(
            "DELETE FROM events WHERE at < ? AND NOT EXISTS \
             (SELECT 1 FROM deliveries WHERE event = events.id AND state = 'waiting')",
        )
        .bind(nanoseconds(forget_before))
        .execute(&mut *change)
        .await
        .map_err(self.0.during(action))?;
        change.commit().await.map_err(self.0.during(action))
    }

    async fn page(&self, filter: &EventFilter, limit: u32) -> Result<Vec<PlacedEvent>, StoreError> {
        let order = if filter.newest_before.is_some() { "DESC" } else { "ASC" };
        let query = format!(
            "SELECT place, record FROM events WHERE place > ?1 AND place < ?2 \
             AND (?3 IS NULL OR at >= ?3) AND (?4 IS NULL OR at < ?4) \
             AND (?5 IS NULL OR kind = ?5 \
                  OR (substr(?5, -1) = '.' AND substr(kind, 1, length(?5)) = ?5)) \
             AND (?6 IS NULL OR model IN (SELECT value FROM json_each(?6))) \
             ORDER BY place {order} LIMIT ?7"
        );
        let rows: Vec<(i64, String)> = sqlx::query_as(sqlx::AssertSqlSafe(query))
            .bind(place(filter.after))
            .bind(filter.newest_before.map_or(i64::MAX, place))
            .bind(filter.from.map(nanoseconds))
            .bind(filter.to.map(nanoseconds))
            .bind(filter.kind.as_ref().map(|kind| kind.as_str().to_owned()))
            .bind(list("model", texts(&filter.models))?)
            .bind(i64::from(limit))
            .fetch_all(&self.0.read)
            .await
            .map_err(self.0.during("read events"))?;
        placed(rows)
    }

    async fn put_webhook(&self, webhook: Webhook) -> Result<(), StoreError> {
        let columns = WebhookColumns::of(&webhook)?;
        let first = columns.revision == 1;
        let change = if first {
            sqlx::query(
                "INSERT INTO webhooks (revision, enabled, record, id) VALUES (?, ?, ?, ?) \
                 ON CONFLICT DO NOTHING",
            )
        } else {
            sqlx::query(
                "UPDATE webhooks SET revision = ?, enabled = ?, record = ? \
                 WHERE id = ? AND revision = ?",
            )
        };
        let change = change
            .bind(columns.revision)
            .bind(columns.enabled)
            .bind(columns.record)
            .bind(&columns.id);
        let change = if first { change } else { change.bind(columns.revision - 1) };
        let done = change.execute(&self.0.write).await;
        match done.map_err(self.0.during("keep a webhook"))?.rows_affected() {
            0 => Err(changed_meanwhile("webhook", &columns.id)),
            _ => Ok(()),
        }
    }

    async fn webhooks(&self) -> Result<Vec<Webhook>, StoreError> {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT id, record FROM webhooks ORDER BY id")
                .fetch_all(&self.0.read)
                .await
                .map_err(self.0.during("list webhooks"))?;
        webhooks(&rows)
    }

    async fn remove_webhook(&self, id: WebhookId) -> Result<(), StoreError> {
        let id = id.to_string();
        let done = sqlx::query("DELETE FROM webhooks WHERE id = ?")
            .bind(&id)
            .execute(&self.0.write)
            .await
            .map_err(self.0.during("remove a webhook"))?;
        match done.rows_affected() {
            0 => Err(StoreError::NotFound { what: "webhook", id }),
            _ => Ok(()),
        }
    }

    async fn claim(
        &self,
        now: OffsetDateTime,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let action = "claim deliveries";
        // Looked at first, so that routers with nothing to do do not wait in line with those who
        // write.
        let look = format!("SELECT EXISTS (SELECT 1 {DUE})");
        let any: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(look))
            .bind(nanoseconds(now))
            .fetch_one(&self.0.read)
            .await
            .map_err(self.0.during(action))?;
        if !any {
            return Ok(Vec::new());
        }
        let mut change = self.0.change(action).await?;
        let select = format!(
            "SELECT d.id, d.record, e.record, w.record {DUE} ORDER BY d.next_at, d.id LIMIT ?"
        );
        let rows: Vec<(String, String, String, String)> =
            sqlx::query_as(sqlx::AssertSqlSafe(select))
                .bind(nanoseconds(now))
                .bind(i64::from(limit))
                .fetch_all(&mut *change)
                .await
                .map_err(self.0.during(action))?;
        let mut due = Vec::new();
        for row in &rows {
            let one = claimed(row, now, lease)?;
            let columns = DeliveryColumns::of(&one.delivery)?;
            update_delivery(&mut change, columns).await.map_err(self.0.during(action))?;
            due.push(one);
        }
        change.commit().await.map_err(self.0.during(action))?;
        Ok(due)
    }

    async fn put_delivery(&self, delivery: Delivery) -> Result<(), StoreError> {
        let action = "note what came of a delivery";
        let columns = DeliveryColumns::of(&delivery)?;
        let mut connection = self.0.write.acquire().await.map_err(self.0.during(action))?;
        match update_delivery(&mut connection, columns).await.map_err(self.0.during(action))? {
            0 => Err(changed_meanwhile("delivery", &delivery.id.to_string())),
            _ => Ok(()),
        }
    }

    async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT id, record FROM deliveries WHERE (?1 IS NULL OR id = ?1) \
             AND (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR id < ?3) \
             AND (?4 IS NULL OR webhook IN (SELECT value FROM json_each(?4))) \
             ORDER BY id DESC LIMIT ?5",
        )
        .bind(filter.id.map(|id| id.to_string()))
        .bind(filter.state.map(|state| state.as_str()))
        .bind(filter.before.map(|id| id.to_string()))
        .bind(list("webhook", texts(&filter.webhooks))?)
        .bind(i64::from(limit))
        .fetch_all(&self.0.read)
        .await
        .map_err(self.0.during("list deliveries"))?;
        deliveries(&rows)
    }
}

/// A list as SQLite takes it: JSON.
fn list(what: &'static str, texts: Option<Vec<String>>) -> Result<Option<String>, StoreError> {
    texts.map(|texts| json::write(what, "filter", &texts)).transpose()
}

async fn insert_delivery(
    connection: &mut SqliteConnection,
    columns: DeliveryColumns,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO deliveries (id, event, webhook, state, next_at, revision, record) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(columns.id)
    .bind(columns.event)
    .bind(columns.webhook)
    .bind(columns.state)
    .bind(columns.next_at)
    .bind(columns.revision)
    .bind(columns.record)
    .execute(connection)
    .await
    .map(drop)
}

/// Replaces a delivery of the revision before; tells how many that was.
async fn update_delivery(
    connection: &mut SqliteConnection,
    columns: DeliveryColumns,
) -> Result<u64, sqlx::Error> {
    sqlx::query(
        "UPDATE deliveries SET state = ?1, next_at = ?2, revision = ?3, record = ?4 \
         WHERE id = ?5 AND revision = ?3 - 1",
    )
    .bind(columns.state)
    .bind(columns.next_at)
    .bind(columns.revision)
    .bind(columns.record)
    .bind(columns.id)
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}
