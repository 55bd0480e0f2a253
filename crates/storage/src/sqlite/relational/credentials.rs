//! Sessions, API keys, failures to sign in.

use async_trait::async_trait;
use domain::{Credential, CredentialKind, Revocation};
use time::OffsetDateTime;

use super::RelationalFile;
use crate::columns::{Stored, changed_meanwhile, nanoseconds, revocations};
use crate::ports::Credentials;
use crate::{StoreError, json};

#[async_trait]
impl Credentials for RelationalFile {
    async fn get(&self, kind: CredentialKind, id: &str) -> Result<Option<Credential>, StoreError> {
        let record: Option<String> =
            sqlx::query_scalar("SELECT record FROM credentials WHERE kind = ? AND id = ?")
                .bind(kind.as_str())
                .bind(id)
                .fetch_optional(&self.0.read)
                .await
                .map_err(self.0.during("read a credential"))?;
        record.map(|record| json::read("credential", id, &record)).transpose()
    }

    async fn put(&self, credential: Credential) -> Result<(), StoreError> {
        let stored = Stored::of(&credential)?;
        let change = if stored.revision == 1 {
            sqlx::query(
                "INSERT INTO credentials (revision, ended_at, expires_at, record, kind, id) \
                 VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            )
        } else {
            sqlx::query(
                "UPDATE credentials SET revision = ?, ended_at = ?, expires_at = ?, record = ? \
                 WHERE kind = ? AND id = ? AND revision = ?",
            )
        };
        let change = change
            .bind(stored.revision)
            .bind(stored.ended_at)
            .bind(stored.expires_at)
            .bind(stored.record)
            .bind(stored.kind)
            .bind(credential.id());
        let change = if stored.revision == 1 { change } else { change.bind(stored.revision - 1) };
        let done = change.execute(&self.0.write).await;
        match done.map_err(self.0.during("keep a credential"))?.rows_affected() {
            0 => Err(changed_meanwhile(stored.kind, credential.id())),
            _ => Ok(()),
        }
    }

    async fn all(&self, kind: CredentialKind) -> Result<Vec<Credential>, StoreError> {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT id, record FROM credentials WHERE kind = ? ORDER BY id")
                .bind(kind.as_str())
                .fetch_all(&self.0.read)
                .await
                .map_err(self.0.during("list credentials"))?;
        rows.iter().map(|(id, record)| json::read("credential", id, record)).collect()
    }

    async fn ended_since(&self, since: OffsetDateTime) -> Result<Vec<Revocation>, StoreError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT id, ended_at FROM credentials WHERE ended_at >= ?1 \
             UNION ALL SELECT id, tokens_from FROM users WHERE tokens_from >= ?1",
        )
        .bind(nanoseconds(since))
        .fetch_all(&self.0.read)
        .await
        .map_err(self.0.during("list what ended"))?;
        Ok(revocations(rows))
    }

    async fn forget(&self, before: OffsetDateTime) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM credentials WHERE expires_at < ?")
            .bind(nanoseconds(before))
            .execute(&self.0.write)
            .await
            .map_err(self.0.during("forget credentials"))?;
        Ok(done.rows_affected())
    }
}
