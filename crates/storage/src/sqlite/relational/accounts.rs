//! User accounts.

use async_trait::async_trait;
use domain::User;

use super::RelationalFile;
use crate::StoreError;
use crate::columns::{self, taken};
use crate::ports::Accounts;
use crate::sqlite::is_taken;

/// A row, as the columns are listed in the queries.
type Row = (String, String, String, String, String, String);

#[async_trait]
impl Accounts for RelationalFile {
    async fn create_user(&self, user: User) -> Result<(), StoreError> {
        let created_at = columns::created_at(&user)?;
        let insert = sqlx::query(
            "INSERT INTO users (username, id, role, password_hash, created_at, created_by) \
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&user.username)
        .bind(user.id.to_string())
        .bind(user.role.as_str())
        .bind(user.password_hash)
        .bind(created_at)
        .bind(user.created_by);
        match insert.execute(&self.0.write).await {
            Ok(_) => Ok(()),
            Err(cause) if is_taken(&cause) => Err(taken("user", &user.username)),
            Err(cause) => Err(self.0.during("create a user")(cause)),
        }
    }

    async fn user_by_name(&self, username: &str) -> Result<Option<User>, StoreError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT username, id, role, password_hash, created_at, created_by FROM users \
             WHERE username = ?",
        )
        .bind(username)
        .fetch_optional(&self.0.read)
        .await
        .map_err(self.0.during("read a user"))?;
        row.map(columns::user).transpose()
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT username, id, role, password_hash, created_at, created_by FROM users \
             ORDER BY username",
        )
        .fetch_all(&self.0.read)
        .await
        .map_err(self.0.during("list users"))?;
        rows.into_iter().map(columns::user).collect()
    }
}
