use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Document, doc};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{ClientOptions, ObjectStoreExt, path::Path};

use super::*;

/// How long a paused server is asked.
const SHORT: Duration = Duration::from_millis(300);

/// What `psql` says to a statement.
fn sql(url: &str, statement: &str) -> Result<String, String> {
    let mut command = Command::new("psql");
    let done = command.args(["-XAtqc", statement, url]).output().unwrap();
    let (said, wrong) = (String::from_utf8(done.stdout), String::from_utf8(done.stderr));
    if done.status.success() { Ok(said.unwrap().trim().to_owned()) } else { Err(wrong.unwrap()) }
}

fn redis_says(server: &PrivateServer, command: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port()))?;
    stream.set_read_timeout(Some(SHORT))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut answer = [0; 64];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

fn s3_client(server: &PrivateServer) -> AmazonS3 {
    let (bucket, endpoint) = server.url().split_once("?endpoint=").unwrap();
    let options = ClientOptions::new().with_timeout(SHORT).with_allow_http(true);
    AmazonS3Builder::new()
        .with_bucket_name(bucket.trim_start_matches("s3://"))
        .with_endpoint(endpoint)
        .with_access_key_id(PrivateServer::S3_KEY)
        .with_secret_access_key(PrivateServer::S3_SECRET)
        .with_client_options(options)
        .with_retry(object_store::RetryConfig { max_retries: 0, ..Default::default() })
        .build()
        .unwrap()
}

/// The folder and processes of a server, to see that they are gone.
fn traces(server: &PrivateServer) -> (std::path::PathBuf, Vec<u32>) {
    match &server.kind {
        Kind::Program(program) => program.traces(),
        Kind::S3(s3) => (s3.folder().to_owned(), Vec::new()),
    }
}

/// Drops a server, and sees that nothing is left of it.
fn drop_and_look(server: PrivateServer) {
    let (folder, processes) = traces(&server);
    let port = server.port();
    assert!(folder.exists());
    drop(server);
    assert!(!folder.exists(), "{} is still there", folder.display());
    let running = processes.into_iter().filter(|process| crate::watch::runs(*process));
    assert_eq!(running.collect::<Vec<_>>(), Vec::<u32>::new());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[tokio::test]
async fn postgres_keeps_its_data_over_a_stop() {
    let mut server = PrivateServer::postgres().await;
    let url = server.url().to_owned();
    sql(&url, "CREATE TABLE t (name text); INSERT INTO t VALUES ('B'), ('ä'), ('a')").unwrap();
    server.stop().await;
    assert!(sql(&url, "SELECT 1").unwrap_err().contains("refused"));
    server.start_again().await;
    let sorted = "SELECT string_agg(name, ' ' ORDER BY name) FROM t";
    assert_eq!(sql(&url, sorted).unwrap(), "a ä B");
    server.pause();
    let port = server.port();
    let asked = TcpStream::connect(("127.0.0.1", port)).unwrap();
    asked.set_read_timeout(Some(SHORT)).unwrap();
    (&asked).write_all(postgres::RECIPE.hello).unwrap();
    assert!((&asked).read(&mut [0]).is_err());
    server.resume();
    assert_eq!(sql(&url, "SELECT count(*) FROM t").unwrap(), "3");
    server.pause();
    drop_and_look(server);
}

#[tokio::test]
async fn mongo_keeps_its_data_over_a_stop() {
    let mut server = PrivateServer::mongo().await;
    let url = format!("{}?serverSelectionTimeoutMS=300", server.url());
    let client = Client::with_uri_str(url).await.unwrap();
    let documents = client.default_database().unwrap().collection::<Document>("t");
    documents.insert_one(doc! {"_id": 1}).await.unwrap();
    server.stop().await;
    assert!(documents.find_one(doc! {}).await.is_err());
    server.start_again().await;
    assert_eq!(documents.find_one(doc! {}).await.unwrap(), Some(doc! {"_id": 1}));
    server.pause();
    let asked = tokio::time::timeout(SHORT, documents.find_one(doc! {})).await;
    assert!(!matches!(asked, Ok(Ok(_))), "{asked:?}");
    server.resume();
    let limit = Duration::from_secs(10);
    let found = || async { documents.find_one(doc! {}).await.ok().flatten() };
    assert_eq!(crate::until("mongod goes on", limit, found).await, doc! {"_id": 1});
    server.pause();
    drop_and_look(server);
}

#[tokio::test]
async fn redis_forgets_over_a_stop() {
    let mut server = PrivateServer::redis().await;
    assert!(redis_says(&server, "SET key value").unwrap().starts_with("+OK"));
    server.pause();
    assert!(redis_says(&server, "GET key").is_err());
    server.resume();
    assert!(redis_says(&server, "GET key").unwrap().contains("value"));
    server.stop().await;
    assert!(redis_says(&server, "PING").is_err());
    server.start_again().await;
    assert_eq!(redis_says(&server, "GET key").unwrap(), "$-1\r\n");
    server.pause();
    drop_and_look(server);
}

#[tokio::test]
async fn s3_keeps_its_data_over_a_stop() {
    let mut server = PrivateServer::s3().await;
    let client = s3_client(&server);
    let key = Path::from("some/key");
    client.put(&key, "value".into()).await.unwrap();
    server.stop().await;
    assert!(client.get(&key).await.is_err());
    server.start_again().await;
    assert_eq!(client.get(&key).await.unwrap().bytes().await.unwrap(), "value");
    server.pause();
    assert!(client.get(&key).await.is_err());
    server.resume();
    assert_eq!(client.get(&key).await.unwrap().bytes().await.unwrap(), "value");
    server.pause();
    drop_and_look(server);
}

#[tokio::test]
async fn shared_servers_give_a_database_to_each() {
    let (first, second) = tokio::join!(shared_postgres(), shared_postgres());
    assert_ne!(first, second);
    let server = |url: &str| url.rsplit_once('/').unwrap().0.to_owned();
    assert_eq!(server(&first), server(&second));
    sql(&first, "CREATE TABLE t ()").unwrap();
    sql(&second, "CREATE TABLE t ()").unwrap();
    assert_ne!(shared_mongo().await, shared_mongo().await);
    assert_eq!(shared_redis().await, shared_redis().await);
    assert_eq!(shared_s3().await, shared_s3().await);
}
