//! User accounts.

use async_trait::async_trait;
use domain::{User, UserId};
use sqlx::PgConnection;

use super::failure::Broken;
use super::{RelationalServer, begin};
use crate::StoreError;
use crate::columns::{
    self, changed_meanwhile, corrupt_user, last_admin, nanoseconds, taken, texts_of, user_columns,
};
use crate::ports::Accounts;

/// A row, as the columns are listed in the queries.
type Row = (Vec<u8>, String, String, Vec<u8>, String, Vec<u8>, i64, bool, i64, String);

#[async_trait]
impl Accounts for RelationalServer {
    async fn create_user(&self, user: User) -> Result<(), StoreError> {
        let (created_at, more) = texts_of(&user)?;
        let insert = async |connection: &mut PgConnection| {
            sqlx::query(concat!(
                "INSERT INTO users (",
                user_columns!(),
                ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING"
            ))
            .bind(user.username.as_bytes())
            .bind(user.id.to_string())
            .bind(user.role.as_str())
            .bind(user.password_hash.as_bytes())
            .bind(created_at)
            .bind(user.created_by.as_bytes())
            .bind(i64::from(user.revision))
            .bind(user.disabled)
            .bind(nanoseconds(user.tokens_from))
            .bind(more)
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
            sqlx::query_as(concat!(
                "SELECT ",
                user_columns!(),
                " FROM users WHERE sha256(username) = sha256($1)"
            ))
            .bind(username.as_bytes())
            .fetch_optional(connection)
            .await
        };
        let row: Option<Row> = self.during("read a user", select).await?;
        row.map(user_of).transpose()
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let select = async |connection: &mut PgConnection| {
            sqlx::query_as(concat!("SELECT ", user_columns!(), " FROM users WHERE id = $1"))
                .bind(id.to_string())
                .fetch_optional(connection)
                .await
        };
        let row: Option<Row> = self.during("read a user", select).await?;
        row.map(user_of).transpose()
    }

    async fn update_user(&self, user: User) -> Result<(), StoreError> {
        let (_, more) = texts_of(&user)?;
        let update = async |connection: &mut PgConnection| {
            let mut change = begin(connection).await?;
            // One at a time, so that of two last admins only one can go.
            sqlx::query("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE")
                .execute(&mut *change)
                .await?;
            let done = sqlx::query(
                "UPDATE users SET role = $1, password_hash = $2, revision = $3, disabled = $4, \
                 tokens_from = $5, more = $6 WHERE id = $7 AND revision = $8",
            )
            .bind(user.role.as_str())
            .bind(user.password_hash.as_bytes())
            .bind(i64::from(user.revision))
            .bind(user.disabled)
            .bind(nanoseconds(user.tokens_from))
            .bind(more)
            .bind(user.id.to_string())
            .bind(i64::from(user.revision) - 1)
            .execute(&mut *change)
            .await?;
            if done.rows_affected() == 0 {
                return Err(Broken::Ours(changed_meanwhile("user", &user.username)));
            }
            let admins: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM users WHERE role = 'admin' AND NOT disabled",
            )
            .fetch_one(&mut *change)
            .await?;
            if admins == 0 {
                return Err(Broken::Ours(last_admin(&user.username)));
            }
            change.commit().await.map_err(Broken::Driver)
        };
        self.during("change a user", update).await
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        let select = async |connection: &mut PgConnection| {
            sqlx::query_as(concat!("SELECT ", user_columns!(), " FROM users ORDER BY username"))
                .fetch_all(connection)
                .await
        };
        let rows: Vec<Row> = self.during("list users", select).await?;
        rows.into_iter().map(user_of).collect()
    }
}

fn user_of(row: Row) -> Result<User, StoreError> {
    let (username, id, role, password_hash, created_at, created_by, ..) = row;
    let (.., revision, disabled, tokens_from, more) = row;
    let shown = String::from_utf8_lossy(&username).into_owned();
    let text = |bytes| String::from_utf8(bytes).map_err(|cause| corrupt_user(&shown, cause.into()));
    let (username, password_hash, created_by) =
        (text(username)?, text(password_hash)?, text(created_by)?);
    columns::user((
        username,
        id,
        role,
        password_hash,
        created_at,
        created_by,
        revision,
        disabled,
        tokens_from,
        more,
    ))
}
