//! Stores to test on: real servers, each on a free port of loopback and in a temporary folder.
//!
//! `tests/servers/install.sh` installs the programs. Reading order: [`PrivateServer`], `program` (a
//! program with its folder and port), then one file per server.

mod mongo;
mod postgres;
mod program;
mod redis;
mod s3;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::OnceCell;

use self::program::Program;
use self::s3::S3;

/// A private server. It and its data are gone when dropped, or with the test run.
#[derive(Debug)]
pub struct PrivateServer {
    url: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Program(Program),
    S3(S3),
}

impl PrivateServer {
    /// The access key of the S3 server.
    pub const S3_KEY: &str = "engine-test-key";
    /// The secret of the S3 server's access key.
    pub const S3_SECRET: &str = "engine-test-secret";

    /// PostgreSQL, with the database `engine`. It trusts everybody, and sorts text as people do and
    /// not by bytes: `a` is before `B`.
    pub async fn postgres() -> Self {
        let program = Program::start(&postgres::RECIPE).await;
        Self { url: postgres::url(program.port(), "engine"), kind: Kind::Program(program) }
    }

    /// MongoDB, with the database `engine` and without authentication.
    pub async fn mongo() -> Self {
        let program = Program::start(&mongo::RECIPE).await;
        Self { url: mongo::url(program.port(), "engine"), kind: Kind::Program(program) }
    }

    /// Redis. It keeps nothing over a stop.
    pub async fn redis() -> Self {
        let program = Program::start(&redis::RECIPE).await;
        Self { url: format!("redis://127.0.0.1:{}", program.port()), kind: Kind::Program(program) }
    }

    /// An S3 server on a folder, with the bucket `engine`. See [`Self::S3_KEY`].
    #[expect(clippy::unused_async, reason = "like its sisters")]
    pub async fn s3() -> Self {
        let s3 = S3::start();
        let url = format!("s3://{}?endpoint=http://127.0.0.1:{}", s3::BUCKET, s3.port());
        Self { url, kind: Kind::S3(s3) }
    }

    /// Where it is, as the settings of the engine have it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops it in good order. Its data stay (but for Redis), nobody listens on its port.
    pub async fn stop(&mut self) {
        match &mut self.kind {
            Kind::Program(program) => program.stop().await,
            Kind::S3(s3) => s3.stop(),
        }
    }

    /// Starts it after a stop, on the same port and data, and waits until it answers.
    pub async fn start_again(&mut self) {
        match &mut self.kind {
            Kind::Program(program) => program.start_again().await,
            Kind::S3(s3) => s3.start_again(),
        }
    }

    /// Freezes it: it takes connections and never answers.
    pub fn pause(&self) {
        match &self.kind {
            Kind::Program(program) => program.signal("STOP"),
            Kind::S3(s3) => s3.pause(true),
        }
    }

    /// Goes on after [`Self::pause`].
    pub fn resume(&self) {
        match &self.kind {
            Kind::Program(program) => program.signal("CONT"),
            Kind::S3(s3) => s3.pause(false),
        }
    }
}

static POSTGRES: OnceCell<PrivateServer> = OnceCell::const_new();
static MONGO: OnceCell<PrivateServer> = OnceCell::const_new();
static REDIS: OnceCell<PrivateServer> = OnceCell::const_new();
static S3_SERVER: OnceCell<PrivateServer> = OnceCell::const_new();

/// A new and empty database on the PostgreSQL that this test binary shares.
pub async fn shared_postgres() -> String {
    let server = POSTGRES.get_or_init(PrivateServer::postgres).await;
    let name = new_name();
    postgres::create_database(server.port(), &name);
    postgres::url(server.port(), &name)
}

/// A new and empty database on the MongoDB that this test binary shares.
pub async fn shared_mongo() -> String {
    let server = MONGO.get_or_init(PrivateServer::mongo).await;
    mongo::url(server.port(), &new_name())
}

/// The Redis that this test binary shares. Tests keep apart by the keys they use.
pub async fn shared_redis() -> String {
    REDIS.get_or_init(PrivateServer::redis).await.url.clone()
}

/// The S3 server that this test binary shares. Tests keep apart by the keys they use.
pub async fn shared_s3() -> String {
    S3_SERVER.get_or_init(PrivateServer::s3).await.url.clone()
}

impl PrivateServer {
    fn port(&self) -> u16 {
        match &self.kind {
            Kind::Program(program) => program.port(),
            Kind::S3(s3) => s3.port(),
        }
    }
}

/// The name of a database that no other test has.
fn new_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    format!("engine_{}", COUNT.fetch_add(1, Ordering::Relaxed))
}
