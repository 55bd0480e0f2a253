//! User accounts.

use async_trait::async_trait;
use domain::{Role, User, UserId};
use sqlx::PgConnection;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::RelationalServer;
use crate::StoreError;
use crate::error::Cause;
use crate::ports::Accounts;

/// A row, as the columns are listed in the queries.
type Row = (Vec<u8>, String, String, Vec<u8>, String, Vec<u8>);

#[async_trait]
impl Accounts for RelationalServer {
    async fn create_user(&self, user: User) -> Result<(), StoreError> {
        let created_at = user.created_at.format(&Rfc3339).map_err(|cause| StoreError::Invalid {
            what: "user",
            id: user.username.clone(),
            why: format!("`created_at`: {cause}"),
        })?;
        let insert = async |connection: &mut PgConnection| {
            sqlx::query(
                "INSERT INTO users (username, id, role, password_hash, created_at, created_by) \
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            )
            .bind(user.username.as_bytes())
            .bind(user.id.to_string())
            .bind(user.role.as_str())
            .bind(user.password_hash.as_bytes())
            .bind(created_at)
            .bind(user.created_by.as_bytes())
            .execute(connection)
            .await
        };
        if self.during("create a user", insert).await?.rows_affected() > 0 {
            return Ok(());
        }
        Err(StoreError::Conflict {
            what: "user",
            id: user.username,
            why: "exists already".to_owned(),
        })
    }

    async fn user_by_name(&self, username: &str) -> Result<Option<User>, StoreError> {
        let select = async |connection: &mut PgConnection| {
            sqlx::query_as(
                "SELECT username, id, role, password_hash, created_at, created_by FROM users \
                 WHERE sha256(username) = sha256($1)",
            )
            .bind(username.as_bytes())
            .fetch_optional(connection)
            .await
        };
        let row: Option<Row> = self.during("read a user", select).await?;
        row.map(user_of).transpose()
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        let select = async |connection: &mut PgConnection| {
            sqlx::query_as(
                "SELECT username, id, role, password_hash, created_at, created_by FROM users \
                 ORDER BY username",
            )
            .fetch_all(connection)
            .await
        };
        let rows: Vec<Row> = self.during("list users", select).await?;
        rows.into_iter().map(user_of).collect()
    }
}

fn user_of(row: Row) -> Result<User, StoreError> {
    let (username, id, role, password_hash, created_at, created_by) = row;
    let read = || -> Result<User, Cause> {
        let role_known = Role::parse(&role).ok_or_else(|| format!("there is no role `{role}`"))?;
        Ok(User {
            id: UserId::from(id.parse::<Uuid>()?),
            username: String::from_utf8(username.clone())?,
            role: role_known,
            password_hash: String::from_utf8(password_hash)?,
            created_at: OffsetDateTime::parse(&created_at, &Rfc3339)?,
            created_by: String::from_utf8(created_by)?,
        })
    };
    read().map_err(|cause| StoreError::Corrupt {
        what: "user",
        id: String::from_utf8_lossy(&username).into_owned(),
        source: cause,
    })
}
