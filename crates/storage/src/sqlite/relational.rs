//! Accounts, credentials, the audit trail, registry and routes in one file.

use std::path::Path;

use async_trait::async_trait;

use super::{Database, Schema, WAITS};
use crate::StoreError;
use crate::stores::Check;

mod accounts;
mod audit;
mod credentials;
mod events;
mod plans;
mod registry;
mod routes;

const SCHEMA: Schema = Schema {
    applied: "relational_migrations",
    migrations: &[
        (
            1,
            "accounts, registry, routes",
            include_str!(
                "../../../../migrations/sqlite/relational/0001_accounts_registry_routes.sql"
            ),
        ),
        (
            2,
            "credentials, audit",
            include_str!("../../../../migrations/sqlite/relational/0002_credentials_audit.sql"),
        ),
        (3, "events", include_str!("../../../../migrations/sqlite/relational/0003_events.sql")),
        (4, "plans", include_str!("../../../../migrations/sqlite/relational/0004_plans.sql")),
    ],
};

/// The file that serves all ports of [`Relational`](crate::stores::Relational).
pub(crate) struct RelationalFile(Database);

impl RelationalFile {
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        Database::open(path, &SCHEMA, &WAITS).await.map(Self)
    }
}

#[async_trait]
impl Check for RelationalFile {
    async fn check(&self) -> Result<(), StoreError> {
        self.0.check().await
    }
}
