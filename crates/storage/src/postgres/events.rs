//! Events, webhooks, deliveries.

use std::time::Duration;

use async_trait::async_trait;
use domain::{
    Delivery, DeliveryFilter, DueDelivery, Event, EventFilter, PlacedEvent, Webhook, WebhookId,
};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::failure::Broken;
use super::{RelationalServer, begin};
use crate::StoreError;
use crate::columns::{changed_meanwhile, nanoseconds};
use crate::events::{
    DeliveryColumns, EventColumns, WebhookColumns, claimed, deliveries, place, placed, texts,
    webhooks,
};
use crate::ports::Events;

/// Whoever adds events holds this lock of the database until they are there, so that places become
/// visible in their order.
const LOCK: i64 = i64::from_be_bytes(*b"de-event");

#[async_trait]
impl Events for RelationalServer {
    async fn append(
        &self,
        events: &[Event],
        forget_before: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let columns: Vec<_> = events.iter().map(EventColumns::of).collect::<Result<_, _>>()?;
        let append = async |connection: &mut PgConnection| {
            let mut change = begin(connection).await?;
            sqlx::query("SELECT pg_advisory_xact_lock($1)")
                .bind(LOCK)
                .execute(&mut *change)
                .await?;
            // None of them is removed before its deliveries are there.
            let enabled: Vec<(String, String)> =
                sqlx::query_as("SELECT id, record FROM webhooks WHERE enabled FOR SHARE")
                    .fetch_all(&mut *change)
                    .await?;
            let enabled = webhooks(&enabled)?;
            for (event, columns) in events.iter().zip(&columns) {
                let added = sqlx::query(
                    "INSERT INTO events (id, at, kind, model, record) \
                     VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
                )
                .bind(&columns.id)
                .bind(columns.at)
                .bind(event.kind.as_str())
                .bind(&columns.model)
                .bind(&columns.record)
                .execute(&mut *change)
                .await?;
                if added.rows_affected() == 0 {
                    continue;
                }
                for webhook in enabled.iter().filter(|webhook| webhook.wants(event)) {
                    let delivery = Delivery::new(event, webhook);
                    insert_delivery(&mut change, DeliveryColumns::of(&delivery)?).await?;
                }
            }
            sqlx::query(
                "DELETE FROM events WHERE at < $1 AND NOT EXISTS \
                 (SELECT 1 FROM deliveries WHERE event = events.id AND state = 'waiting')",
            )
            .bind(nanoseconds(forget_before))
            .execute(&mut *change)
            .await?;
            change.commit().await?;
            Ok::<_, Broken>(())
        };
        self.during("add events", append).await
    }

    async fn page(&self, filter: &EventFilter, limit: u32) -> Result<Vec<PlacedEvent>, StoreError> {
        let order = if filter.newest_before.is_some() { "DESC" } else { "ASC" };
        let query = format!(
            "SELECT place, record FROM events WHERE place > $1 AND place < $2 \
             AND ($3::bigint IS NULL OR at >= $3) AND ($4::bigint IS NULL OR at < $4) \
             AND ($5::text IS NULL OR kind = $5 \
                  OR (right($5, 1) = '.' AND left(kind, length($5)) = $5)) \
             AND ($6::text[] IS NULL OR model = ANY($6)) ORDER BY place {order} LIMIT $7"
        );
        let select = async |connection: &mut PgConnection| {
            sqlx::query_as(sqlx::AssertSqlSafe(query))
                .bind(place(filter.after))
                .bind(filter.newest_before.map_or(i64::MAX, place))
                .bind(filter.from.map(nanoseconds))
                .bind(filter.to.map(nanoseconds))
                .bind(filter.kind.as_ref().map(|kind| kind.as_str()))
                .bind(texts(&filter.models))
                .bind(i64::from(limit))
                .fetch_all(connection)
                .await
        };
        placed(self.during("read events", select).await?)
    }

    async fn put_webhook(&self, webhook: Webhook) -> Result<(), StoreError> {
        let columns = WebhookColumns::of(&webhook)?;
        let put = async |connection: &mut PgConnection| {
            let change = if columns.revision == 1 {
                sqlx::query(
                    "INSERT INTO webhooks (revision, enabled, record, id) \
                     VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
                )
            } else {
                sqlx::query(
                    "UPDATE webhooks SET revision = $1, enabled = $2, record = $3 \
                     WHERE id = $4 AND revision = $1 - 1",
                )
            };
            change
                .bind(columns.revision)
                .bind(columns.enabled)
                .bind(&columns.record)
                .bind(&columns.id)
                .execute(connection)
                .await
        };
        match self.during("keep a webhook", put).await?.rows_affected() {
            0 => Err(changed_meanwhile("webhook", &columns.id)),
            _ => Ok(()),
        }
    }

    async fn webhooks(&self) -> Result<Vec<Webhook>, StoreError> {
        let select = async |connection: &mut PgConnection| {
            sqlx::query_as("SELECT id, record FROM webhooks ORDER BY id")
                .fetch_all(connection)
                .await
        };
        let rows: Vec<(String, String)> = self.during("list webhooks", select).await?;
        webhooks(&rows)
    }

    async fn remove_webhook(&self, id: WebhookId) -> Result<(), StoreError> {
        let id = id.to_string();
        let remove = async |connection: &mut PgConnection| {
            sqlx::query("DELETE FROM webhooks WHERE id = $1").bind(&id).execute(connection).await
        };
        match self.during("remove a webhook", remove).await?.rows_affected() {
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
        let claim = async |connection: &mut PgConnection| {
            let mut change = begin(connection).await?;
            let rows: Vec<(String, String, String, String)> = sqlx::query_as(
                "SELECT d.id, d.record, e.record, w.record FROM deliveries d \
                 JOIN events e ON e.id = d.event JOIN webhooks w ON w.id = d.webhook \
                 WHERE d.state = 'waiting' AND d.next_at <= $1 AND w.enabled \
                 ORDER BY d.next_at, d.id LIMIT $2 FOR UPDATE OF d SKIP LOCKED",
            )
            .bind(nanoseconds(now))
            .bind(i64::from(limit))
            .fetch_all(&mut *change)
            .await?;
            let mut due = Vec::new();
            for row in &rows {
                let one = claimed(row, now, lease)?;
                update_delivery(&mut change, &DeliveryColumns::of(&one.delivery)?).await?;
                due.push(one);
            }
            change.commit().await?;
            Ok::<_, Broken>(due)
        };
        self.during("claim deliveries", claim).await
    }

    async fn put_delivery(&self, delivery: Delivery) -> Result<(), StoreError> {
        let columns = DeliveryColumns::of(&delivery)?;
        let put = async |connection: &mut PgConnection| update_delivery(connection, &columns).await;
        match self.during("note what came of a delivery", put).await? {
            0 => Err(changed_meanwhile("delivery", &columns.id)),
            _ => Ok(()),
        }
    }

    async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let select = async |connection: &mut PgConnection| {
            sqlx::query_as(
                "SELECT id, record FROM deliveries WHERE ($1::text IS NULL OR id = $1) \
                 AND ($2::text IS NULL OR state = $2) AND ($3::text IS NULL OR id < $3) \
                 AND ($4::text[] IS NULL OR webhook = ANY($4)) ORDER BY id DESC LIMIT $5",
            )
            .bind(filter.id.map(|id| id.to_string()))
            .bind(filter.state.map(|state| state.as_str()))
            .bind(filter.before.map(|id| id.to_string()))
            .bind(texts(&filter.webhooks))
            .bind(i64::from(limit))
            .fetch_all(connection)
            .await
        };
        let rows: Vec<(String, String)> = self.during("list deliveries", select).await?;
        deliveries(&rows)
    }
}

async fn insert_delivery(
    connection: &mut PgConnection,
    columns: DeliveryColumns,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO deliveries (id, event, webhook, state, next_at, revision, record) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
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
    connection: &mut PgConnection,
    columns: &DeliveryColumns,
) -> Result<u64, sqlx::Error> {
    sqlx::query(
        "UPDATE deliveries SET state = $1, next_at = $2, revision = $3, record = $4 \
         WHERE id = $5 AND revision = $3 - 1",
    )
    .bind(columns.state)
    .bind(columns.next_at)
    .bind(columns.revision)
    .bind(&columns.record)
    .bind(&columns.id)
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}
