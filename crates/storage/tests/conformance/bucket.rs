//! Artefacts on an S3 server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::ObjectStoreExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use storage::conformance as suite;
use storage::ports::Artifacts;
use storage::{Keys, StoreError};
use testkit::stores::{PrivateServer, shared_s3};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::Outcome;

const KEYS: Keys<'_> = Keys {
    access: PrivateServer::S3_KEY,
    secret: PrivateServer::S3_SECRET,
    encryption: "",
    old_encryption: "",
};
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

async fn open(url: &str) -> Arc<dyn Artifacts> {
    storage::artifacts(url, KEYS).await.unwrap()
}

/// The same server, in the folder `prefix` of its bucket.
fn under(prefix: &str, url: &str) -> String {
    url.replacen('?', &format!("/{prefix}?region=eu-central-1&"), 1)
}

/// The bucket itself, for whoever wants to do harm.
fn raw(url: &str) -> AmazonS3 {
    let (_, endpoint) = url.split_once("endpoint=").unwrap();
    AmazonS3Builder::new()
        .with_bucket_name("engine")
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_access_key_id(PrivateServer::S3_KEY)
        .with_secret_access_key(PrivateServer::S3_SECRET)
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_bucket_does_what_the_port_promises() -> Outcome {
    let url = shared_s3().await;
    for url in [url.clone(), under("models/a b", &url)] {
        let (first, second) = (open(&url).await, open(&url).await);
        suite::artifacts(&*first).await?;
        suite::artifacts(&*second).await?;
        suite::artifacts_by_two(&*first, &*second).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_object_lies_under_its_digest_and_its_prefix() -> Outcome {
    let url = shared_s3().await;
    let here = open(&under("here", &url)).await;
    here.put(Bytes::from_static(b"abc")).await?;
    let path = Path::parse(format!("here/ba/{ABC}")).unwrap();
    let found = raw(&url).get(&path).await.unwrap().bytes().await.unwrap();
    assert_eq!(found, "abc");
    let there = open(&under("there", &url)).await.get(ABC).await;
    assert!(matches!(there, Err(StoreError::NotFound { .. })), "{there:?}");
    Ok(())
}

#[tokio::test]
async fn a_large_artefact_is_sent_in_parts() -> Outcome {
    let store = open(&under("large", &shared_s3().await)).await;
    let bytes: Vec<u8> = (0..20_000_003_u32).map(|number| (number % 251) as u8).collect();
    let bytes = Bytes::from(bytes);
    let sha256 = store.put(bytes.clone()).await?;
    assert_eq!(store.put(bytes.clone()).await?, sha256);
    assert!(store.get(&sha256).await? == bytes);
    Ok(())
}

#[tokio::test]
async fn a_changed_object_is_tampered_and_the_same_upload_mends_it() -> Outcome {
    let url = shared_s3().await;
    let store = open(&under("changed", &url)).await;
    store.put(Bytes::from_static(b"abc")).await?;
    let path = Path::parse(format!("changed/ba/{ABC}")).unwrap();
    for changed in [&b"other"[..], b"", b"abc and more"] {
        raw(&url).put(&path, Bytes::from_static(changed).into()).await.unwrap();
        let error = store.get(ABC).await.unwrap_err();
        assert!(matches!(&error, StoreError::Tampered { sha256, .. } if sha256 == ABC), "{error}");
    }
    store.put(Bytes::from_static(b"abc")).await?;
    assert_eq!(store.get(ABC).await?, "abc");
    Ok(())
}

#[tokio::test]
async fn a_stopped_server_is_unavailable_until_it_is_back() -> Outcome {
    let mut server = PrivateServer::s3().await;
    let store = open(server.url()).await;
    store.put(Bytes::from_static(b"abc")).await?;
    server.stop().await;
    // Opening needs no server.
    let second = open(server.url()).await;
    assert_unavailable(&*store, Duration::from_secs(5)).await;
    assert_unavailable(&*second, Duration::from_secs(5)).await;
    server.start_again().await;
    for store in [store, second] {
        assert_eq!(store.get(ABC).await?, "abc");
        suite::artifacts(&*store).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_unavailable() -> Outcome {
    let server = PrivateServer::s3().await;
    let store = open(server.url()).await;
    store.put(Bytes::from_static(b"abc")).await?;
    server.pause();
    assert_unavailable(&*store, Duration::from_secs(15)).await;
    server.resume();
    assert_eq!(store.get(ABC).await?, "abc");
    Ok(())
}

async fn assert_unavailable(store: &dyn Artifacts, within: Duration) {
    let begun = Instant::now();
    let (got, put) = tokio::join!(store.get(ABC), store.put(Bytes::from_static(b"abc")));
    for error in [got.unwrap_err(), put.unwrap_err()] {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    }
    assert!(begun.elapsed() < within, "it took {:?}", begun.elapsed());
}

#[tokio::test]
async fn who_is_not_let_in_is_told_and_shows_no_key() {
    let url = shared_s3().await;
    let wrong = Keys { secret: "another-secret", ..KEYS };
    for keys in [wrong, Keys::default()] {
        let store = storage::artifacts(&url, keys).await.unwrap();
        for error in [
            store.get(ABC).await.unwrap_err(),
            store.put(Bytes::from_static(b"abc")).await.unwrap_err(),
        ] {
            assert!(matches!(error, StoreError::Failed { .. }), "{error:?}");
            assert!(!format!("{error:?}").contains("another-secret"), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_no_missing_artefact() {
    // The test server makes a bucket when asked for it, so the answer is the cloud's, word by word.
    let body = "<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist\
                </Message></Error>";
    let length = body.len();
    let answer = format!("HTTP/1.1 404 Not Found\r\nContent-Length: {length}\r\n\r\n{body}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("s3://engine?endpoint=http://{}", listener.local_addr().unwrap());
    let store = open(&url).await;
    let asked = async {
        for error in [
            store.get(ABC).await.unwrap_err(),
            store.put(Bytes::from_static(b"abc")).await.unwrap_err(),
        ] {
            assert!(matches!(error, StoreError::Failed { .. }), "{error:?}");
        }
    };
    let answering = async {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let read = stream.read(&mut [0; 4096]).await.unwrap();
            assert!(read > 0, "no request");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    };
    tokio::select! {
        () = asked => {}
        () = answering => {}
    }
}
