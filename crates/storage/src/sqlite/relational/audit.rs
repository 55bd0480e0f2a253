//! The audit trail.

use async_trait::async_trait;
use domain::{AuditFilter, AuditRow};

use super::RelationalFile;
use crate::StoreError;
use crate::columns::{StoredAudit, audit_rows, nanoseconds, not_next};
use crate::ports::AuditTrail;

#[async_trait]
impl AuditTrail for RelationalFile {
    async fn append(&self, rows: &[AuditRow]) -> Result<(), StoreError> {
        let action = "add to the audit trail";
        let Some(last) = rows.last() else { return Ok(()) };
        let mut change = self.0.change(action).await?;
        let mut there: i64 = sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM audit_head")
            .fetch_one(&mut *change)
            .await
            .map_err(self.0.during(action))?;
        for row in rows {
            there += 1;
            if i64::try_from(row.seq).ok() != Some(there) {
                return Err(not_next(row.seq));
            }
            sqlx::query(
                "INSERT INTO audit (seq, at, actor, action, target, record, seal) \
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(there)
            .bind(nanoseconds(row.at))
            .bind(&row.actor)
            .bind(&row.action)
            .bind(&row.target)
            .bind(&row.record)
            .bind(&row.seal)
            .execute(&mut *change)
            .await
            .map_err(self.0.during(action))?;
        }
        sqlx::query("INSERT OR REPLACE INTO audit_head (one, seq, seal) VALUES (1, ?, ?)")
            .bind(there)
            .bind(&last.seal)
            .execute(&mut *change)
            .await
            .map_err(self.0.during(action))?;
        change.commit().await.map_err(self.0.during(action))
    }

    async fn head(&self) -> Result<Option<(u64, String)>, StoreError> {
        let head: Option<(i64, String)> = sqlx::query_as("SELECT seq, seal FROM audit_head")
            .fetch_optional(&self.0.read)
            .await
            .map_err(self.0.during("read the audit trail"))?;
        Ok(head.map(|(seq, seal)| (seq.unsigned_abs(), seal)))
    }

    async fn page(&self, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        let order = if filter.newest_before.is_some() { "DESC" } else { "ASC" };
        let query = format!(
            "SELECT seq, at, actor, action, target, record, seal FROM audit \
             WHERE seq > ?1 AND seq < ?2 AND (?3 IS NULL OR at >= ?3) AND (?4 IS NULL OR at < ?4) \
             AND (?5 IS NULL OR actor = ?5) \
             AND (?6 IS NULL OR action = ?6 OR substr(action, 1, length(?6) + 1) = ?6 || '.') \
             AND (?7 IS NULL OR target = ?7) ORDER BY seq {order} LIMIT ?8"
        );
        let rows: Vec<StoredAudit> = sqlx::query_as(sqlx::AssertSqlSafe(query))
            .bind(i64::try_from(filter.after).unwrap_or(i64::MAX))
            .bind(filter.newest_before.and_then(|seq| i64::try_from(seq).ok()).unwrap_or(i64::MAX))
            .bind(filter.from.map(nanoseconds))
            .bind(filter.to.map(nanoseconds))
            .bind(&filter.actor)
            .bind(&filter.action)
            .bind(&filter.target)
            .bind(i64::from(limit))
            .fetch_all(&self.0.read)
            .await
            .map_err(self.0.during("read the audit trail"))?;
        Ok(audit_rows(rows))
    }
}
