//! Sessions, API keys, failures to sign in.

use async_trait::async_trait;
use domain::{Credential, CredentialKind, Revocation};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::RelationalServer;
use crate::columns::{Stored, changed_meanwhile, nanoseconds, revocations};
use crate::ports::Credentials;
use crate::{StoreError, json};

#[async_trait]
impl Credentials for RelationalServer {
    async fn get(&self, kind: CredentialKind, id: &str) -> Result<Option<Credential>, StoreError> {
        let select = async |connection: &mut PgConnection| {
            sqlx::query_scalar("SELECT record FROM credentials WHERE kind = $1 AND id = $2")
                .bind(kind.as_str())
                .bind(id)
                .fetch_optional(connection)
                .await
        };
        let record: Option<String> = self.during("read a credential", select).await?;
        record.map(|record| json::read("credential", id, &record)).transpose()
    }

    async fn put(&self, credential: Credential) -> Result<(), StoreError> {
        let stored = Stored::of(&credential)?;
        let put = async |connection: &mut PgConnection| {
            let change = if stored.revision == 1 {
                sqlx::query(
                    "INSERT INTO credentials (revision, ended_at, expires_at, record, kind, id) \
                     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
                )
            } else {
                sqlx::query(
                    "UPDATE credentials SET revision = $1, ended_at = $2, expires_at = $3, \
                     record = $4 WHERE kind = $5 AND id = $6 AND revision = $1 - 1",
                )
            };
            change
                .bind(stored.revision)
                .bind(stored.ended_at)
                .bind(stored.expires_at)
                .bind(&stored.record)
                .bind(stored.kind)
                .bind(credential.id())
                .execute(connection)
                .await
        };
        match self.during("keep a credential", put).await?.rows_affected() {
            0 => Err(changed_meanwhile(stored.kind, credential.id())),
            _ => Ok(()),
        }
    }

    async fn all(&self, kind: CredentialKind) -> Result<Vec<Credential>, StoreError> {
        let select = async |connection: &mut PgConnection| {
            sqlx::query_as("SELECT id, record FROM credentials WHERE kind = $1 ORDER BY id")
                .bind(kind.as_str())
                .fetch_all(connection)
                .await
        };
        let rows: Vec<(String, String)> = self.during("list credentials", select).await?;
        rows.iter().map(|(id, record)| json::read("credential", id, record)).collect()
    }

    async fn ended_since(&self, since: OffsetDateTime) -> Result<Vec<Revocation>, StoreError> {
        let select = async |connection: &mut PgConnection| {
            sqlx::query_as(
                "SELECT id, ended_at FROM credentials WHERE ended_at >= $1 \
                 UNION ALL SELECT id, tokens_from FROM users WHERE tokens_from >= $1",
            )
            .bind(nanoseconds(since))
            .fetch_all(connection)
            .await
        };
        Ok(revocations(self.during("list what ended", select).await?))
    }

    async fn forget(&self, before: OffsetDateTime) -> Result<u64, StoreError> {
        let remove = async |connection: &mut PgConnection| {
            sqlx::query("DELETE FROM credentials WHERE expires_at < $1")
                .bind(nanoseconds(before))
                .execute(connection)
                .await
        };
        Ok(self.during("forget credentials", remove).await?.rows_affected())
    }
}
