//! Redis. Commands go through a pool; announcements are heard on a connection of their own, and
//! limits, which every request may wait for, share one that answers without being asked first
//! whether it still lives.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo as _, RedisError, RedisResult,
    ServerErrorKind, cmd,
};
use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime};
use tokio::time::timeout;

use crate::StoreError;
use crate::announcements::{Hub, Listener};
use crate::error::Cause;
use crate::ports::{Announcements, ResponseCache};
use crate::stores::Check;

mod answers;
mod buckets;
mod follower;

use buckets::Buckets;
use follower::Follower;

/// A Redis server, which need not be there yet.
pub(crate) struct Redis {
    url: String,
    client: Client,
    pool: Pool,
    channel: String,
    hub: OnceLock<Arc<Hub>>,
    buckets: Buckets,
}

/// How long to wait before the server counts as unavailable.
struct Waits {
    /// For a connection.
    connect: Duration,
    /// For one answer.
    answer: Duration,
    /// For a whole call, a new connection included.
    call: Duration,
}

const WAITS: Waits = Waits {
    connect: Duration::from_secs(1),
    answer: Duration::from_secs(1),
    call: Duration::from_millis(1500),
};

/// Connections at most, beside the one that listens.
const CONNECTIONS: usize = 16;

impl Redis {
    /// `url` is `redis://` or `rediss://`; `shown` is the same without its password. Fails only if
    /// it is no such URL.
    pub(crate) fn open(url: &str, shown: String) -> RedisResult<Self> {
        let info = url.into_connection_info()?;
        // A channel is the server's, not the database's, so its name tells one from the other.
        let channel = format!("decision-engine:{}:announcements", info.redis_settings().db());
        // The driver asks for the process's default, and there may be none. If there is one, it
        // stays.
        rustls::crypto::ring::default_provider().install_default().ok();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(WAITS.connect))
            .set_response_timeout(Some(WAITS.answer));
        let manager = Manager::new_with_config(info.clone(), config)?;
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .wait_timeout(Some(WAITS.connect))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|cause| {
                let kind = ErrorKind::InvalidClientConfig;
                RedisError::from((kind, "the pool cannot be made", cause.to_string()))
            })?;
        let client = Client::open(info)?;
        let buckets = Buckets::new(client.clone());
        Ok(Self { url: shown, client, pool, channel, hub: OnceLock::new(), buckets })
    }

    /// Does one thing on a connection of the pool, within [`Waits::call`].
    async fn call<T>(
        &self,
        action: &'static str,
        work: impl AsyncFnOnce(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, StoreError> {
        let call = async {
            let mut connection = self.pool.get().await.map_err(|cause| match cause {
                PoolError::Backend(cause) => self.failure(action, cause),
                cause => self.unavailable(action, cause.into()),
            })?;
            work(&mut connection).await.map_err(|cause| self.failure(action, cause))
        };
        match timeout(WAITS.call, call).await {
            Ok(done) => done,
            Err(cause) => Err(self.unavailable(action, cause.into())),
        }
    }

    /// Sorts a driver's error by what a caller would do about it.
    fn failure(&self, action: &'static str, cause: RedisError) -> StoreError {
        use ServerErrorKind as Server;
        let passing = match cause.kind() {
            ErrorKind::Io => true,
            ErrorKind::Server(kind) => matches!(
                kind,
                Server::BusyLoading
                    | Server::TryAgain
                    | Server::ClusterDown
                    | Server::MasterDown
                    | Server::ReadOnly
            ),
            // Out of memory; cannot write to its disk.
            _ => matches!(cause.code(), Some("OOM" | "MISCONF")),
        };
        if passing {
            return self.unavailable(action, cause.into());
        }
        StoreError::Failed { store: self.url.clone(), action, source: cause.into() }
    }

    fn unavailable(&self, action: &'static str, source: Cause) -> StoreError {
        StoreError::Unavailable { store: self.url.clone(), action, source }
    }
}

#[async_trait]
impl Announcements for Redis {
    async fn announce(&self, topic: &str) -> Result<(), StoreError> {
        self.call("announce a change", async |connection| {
            cmd("PUBLISH").arg(&self.channel).arg(topic).exec_async(connection).await
        })
        .await
    }

    fn listen(&self) -> Listener {
        let hub = self.hub.get_or_init(|| {
            let (url, channel) = (self.url.clone(), self.channel.clone());
            let client = self.client.clone();
            Hub::fed_by(|sender| Follower { url, channel, client, sender }.follow())
        });
        hub.listen()
    }
}

#[async_trait]
impl ResponseCache for Redis {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let found: Option<Vec<u8>> = self
            .call("read a kept answer", async |connection| {
                cmd("GET").arg(response_key(key)).query_async(connection).await
            })
            .await?;
        Ok(found.map(Bytes::from))
    }

    async fn put(&self, key: &str, bytes: Bytes, ttl: Duration) -> Result<(), StoreError> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        self.call("keep an answer", async |connection| {
            let mut set = cmd("SET");
            set.arg(response_key(key)).arg(bytes.as_ref()).arg("PX").arg(ttl_ms);
            set.exec_async(connection).await
        })
        .await
    }
}

fn response_key(key: &str) -> String {
    format!("decision-engine:response:{key}")
}

#[async_trait]
impl Check for Redis {
    async fn check(&self) -> Result<(), StoreError> {
        self.call("answer a check", async |connection| cmd("PING").exec_async(connection).await)
            .await
    }
}
