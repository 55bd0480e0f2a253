//! The audit trail.

use async_trait::async_trait;
use domain::{AuditFilter, AuditRow};
use sqlx::PgConnection;

use super::failure::Broken;
use super::{RelationalServer, begin};
use crate::StoreError;
use crate::columns::{StoredAudit, audit_rows, nanoseconds, not_next};
use crate::ports::AuditTrail;

#[async_trait]
impl AuditTrail for RelationalServer {
    async fn append(&self, rows: &[AuditRow]) -> Result<(), StoreError> {
        let Some(last) = rows.last() else { return Ok(()) };
        let append = async |connection: &mut PgConnection| {
            let mut change = begin(connection).await?;
            // One at a time: readers go on.
            sqlx::query("LOCK TABLE audit_head IN SHARE ROW EXCLUSIVE MODE")
                .execute(&mut *change)
                .await?;
            let mut there: i64 = sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM audit_head")
                .fetch_one(&mut *change)
                .await?;
            for row in rows {
                there += 1;
                if i64::try_from(row.seq).ok() != Some(there) {
                    return Err(Broken::Ours(not_next(row.seq)));
                }
                sqlx::query(
                    "INSERT INTO audit (seq, at, actor, action, target, record, seal) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(there)
                .bind(nanoseconds(row.at))
                .bind(&row.actor)
                .bind(&row.action)
                .bind(&row.target)
                .bind(&row.record)
                .bind(&row.seal)
                .execute(&mut *change)
                .await?;
            }
            sqlx::query(
                "INSERT INTO audit_head (one, seq, seal) VALUES (1, $1, $2) \
                 ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, seal = excluded.seal",
            )
            .bind(there)
            .bind(&last.seal)
            .execute(&mut *change)
            .await?;
            change.commit().await.map_err(Broken::Driver)
        };
        self.during("add to the audit trail", append).await
    }

    async fn head(&self) -> Result<Option<(u64, String)>, StoreError> {
        let select = async |connection: &mut PgConnection| {
            sqlx::query_as("SELECT seq, seal FROM audit_head").fetch_optional(connection).await
        };
        let head: Option<(i64, String)> = self.during("read the audit trail", select).await?;
        Ok(head.map(|(seq, seal)| (seq.unsigned_abs(), seal)))
    }

    async fn page(&self, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        let order = if filter.newest_before.is_some() { "DESC" } else { "ASC" };
        let query = format!(
            "SELECT seq, at, actor, action, target, record, seal FROM audit \
             WHERE seq > $1 AND seq < $2 AND ($3::bigint IS NULL OR at >= $3) \
             AND ($4::bigint IS NULL OR at < $4) AND ($5::text IS NULL OR actor = $5) \
             AND ($6::text IS NULL OR action = $6 OR starts_with(action, $6 || '.')) \
             AND ($7::text IS NULL OR target = $7) ORDER BY seq {order} LIMIT $8"
        );
        let select = async |connection: &mut PgConnection| {
            sqlx::query_as(sqlx::AssertSqlSafe(query))
                .bind(i64::try_from(filter.after).unwrap_or(i64::MAX))
                .bind(
                    filter
                        .newest_before
                        .and_then(|seq| i64::try_from(seq).ok())
                        .unwrap_or(i64::MAX),
                )
                .bind(filter.from.map(nanoseconds))
                .bind(filter.to.map(nanoseconds))
                .bind(&filter.actor)
                .bind(&filter.action)
                .bind(&filter.target)
                .bind(i64::from(limit))
                .fetch_all(connection)
                .await
        };
        let rows: Vec<StoredAudit> = self.during("read the audit trail", select).await?;
        Ok(audit_rows(rows))
    }
}
