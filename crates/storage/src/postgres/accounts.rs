//! User accounts.

use async_trait::async_trait;
use domain::User;
use sqlx::PgConnection;

use super::RelationalServer;
use crate::StoreError;
use crate::columns::{self, corrupt_user, taken};
use crate::ports::Accounts;

/// A row, as the columns are listed in the queries.
type Row = (Vec<u8>, String, String, Vec<u8>, String, Vec<u8>);

#[async_trait]
impl Accounts for RelationalServer {
    async fn create_user(&self, user: User) -> Result<(), StoreError> {
        let created_at = columns::created_at(&user)?;
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
        Err(taken("user", &user.username))
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
    let shown = String::from_utf8_lossy(&username).into_owned();
    let text = |bytes| String::from_utf8(bytes).map_err(|cause| corrupt_user(&shown, cause.into()));
    let (username, password_hash) = (text(username)?, text(password_hash)?);
    columns::user((username, id, role, password_hash, created_at, text(created_by)?))
}
