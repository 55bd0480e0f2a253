//! User accounts.

use async_trait::async_trait;
use domain::{User, UserId};

use super::RelationalFile;
use crate::StoreError;
use crate::columns::{
    self, UserRow, changed_meanwhile, last_admin, nanoseconds, taken, texts_of, user_columns,
};
use crate::ports::Accounts;
use crate::sqlite::is_taken;

#[async_trait]
impl Accounts for RelationalFile {
    async fn create_user(&self, user: User) -> Result<(), StoreError> {
        let (created_at, more) = texts_of(&user)?;
        let insert = sqlx::query(concat!(
            "INSERT INTO users (",
            user_columns!(),
            ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        ))
        .bind(&user.username)
        .bind(user.id.to_string())
        .bind(user.role.as_str())
        .bind(user.password_hash)
        .bind(created_at)
        .bind(user.created_by)
        .bind(i64::from(user.revision))
        .bind(user.disabled)
        .bind(nanoseconds(user.tokens_from))
        .bind(more);
        match insert.execute(&self.0.write).await {
            Ok(_) => Ok(()),
            Err(cause) if is_taken(&cause) => Err(taken("user", &user.username)),
            Err(cause) => Err(self.0.during("create a user")(cause)),
        }
    }

    async fn user_by_name(&self, username: &str) -> Result<Option<User>, StoreError> {
        let query = concat!("SELECT ", user_columns!(), " FROM users WHERE username = ?");
        let row: Option<UserRow> = sqlx::query_as(query)
            .bind(username)
            .fetch_optional(&self.0.read)
            .await
            .map_err(self.0.during("read a user"))?;
        row.map(columns::user).transpose()
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let query = concat!("SELECT ", user_columns!(), " FROM users WHERE id = ?");
        let row: Option<UserRow> = sqlx::query_as(query)
            .bind(id.to_string())
            .fetch_optional(&self.0.read)
            .await
            .map_err(self.0.during("read a user"))?;
        row.map(columns::user).transpose()
    }

    async fn update_user(&self, user: User) -> Result<(), StoreError> {
        let action = "change a user";
        let (_, more) = texts_of(&user)?;
        let mut change = self.0.change(action).await?;
        let done = sqlx::query(
            "UPDATE users SET role = ?, password_hash = ?, revision = ?, disabled = ?, \
             tokens_from = ?, more = ? WHERE id = ? AND revision = ?",
        )
        .bind(user.role.as_str())
        .bind(&user.password_hash)
        .bind(i64::from(user.revision))
        .bind(user.disabled)
        .bind(nanoseconds(user.tokens_from))
        .bind(more)
        .bind(user.id.to_string())
        .bind(i64::from(user.revision) - 1)
        .execute(&mut *change)
        .await
        .map_err(self.0.during(action))?;
        if done.rows_affected() == 0 {
            return Err(changed_meanwhile("user", &user.username));
        }
        let admins: i64 =
            sqlx::query_scalar("SELECT count(*) FROM users WHERE role = 'admin' AND disabled = 0")
                .fetch_one(&mut *change)
                .await
                .map_err(self.0.during(action))?;
        if admins == 0 {
            return Err(last_admin(&user.username));
        }
        change.commit().await.map_err(self.0.during(action))
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        let query = concat!("SELECT ", user_columns!(), " FROM users ORDER BY username");
        let rows: Vec<UserRow> = sqlx::query_as(query)
            .fetch_all(&self.0.read)
            .await
            .map_err(self.0.during("list users"))?;
        rows.into_iter().map(columns::user).collect()
    }
}
