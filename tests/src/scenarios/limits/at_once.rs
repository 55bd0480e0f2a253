//! Requests at once, and large bodies.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use testkit::{Client, Engine, Method, Setup, Topology, scenarios, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

scenarios!(
    too_many_at_once_is_503_and_health_answers,
    one_client_cannot_have_all_places,
    a_body_without_a_length_is_bounded_too,
);

const LIMIT: Duration = Duration::from_secs(20);
const ACTIVE: &str = "http_server_active_requests{";

/// A request whose body does not come: it is under way until it is dropped.
async fn hold(client: &Client, base_url: &str) -> TcpStream {
    let address = base_url.trim_start_matches("http://");
    let head = format!(
        "POST /api/v1/feedback HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 22\r\n\r\n{{",
        client.token()
    );
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(head.as_bytes()).await.unwrap();
    let arrived = || async {
        let text = client.get("/metrics").await.text();
        let mut lines = text.lines();
        let is_post = |line: &&str| line.starts_with(ACTIVE) && line.contains("\"POST\"");
        lines.find(is_post).filter(|line| !line.ends_with(" 0")).map(|_| ())
    };
    until("a request under way", LIMIT, arrived).await;
    connection
}

async fn too_many_at_once_is_503_and_health_answers(topology: Topology) {
    let mut setup = Setup::new(topology);
    setup.gateways = 1;
    setup.set("ENGINE__GATEWAY__MAX_CONCURRENT_REQUESTS", "2");
    let engine = Engine::start(setup).await;
    let client = engine.admin().await;
    let mut held = Vec::new();
    // One that is to be held may be refused itself, if something else is under way just then.
    let refused = loop {
        held.push(hold(&client, &engine.base_url).await);
        let answer = client.get("/api/v1/models").await;
        if answer.status == 503 {
            break answer;
        }
        assert!(held.len() < 20, "20 requests are under way");
    };
    refused.expect_problem(503, "unavailable", &["`gateway.max_concurrent_requests`", "try again"]);
    let body = refused.json();
    let kind = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";
    assert_eq!(body["type"], kind);
    assert_eq!(body["violated-policies"], json!(["concurrent-requests"]));
    assert_eq!(refused.header("retry-after"), "1");
    for path in ["/livez", "/readyz", "/metrics", "/v2/health/live"] {
        client.get(path).await.expect_status(200);
    }
    drop(held);
    let free = || async { (client.get("/api/v1/models").await.status == 200).then_some(()) };
    until("free again", LIMIT, free).await;
}

async fn one_client_cannot_have_all_places(topology: Topology) {
    let mut setup = Setup::new(topology);
    setup.gateways = 1;
    setup.set("ENGINE__GATEWAY__MAX_CONCURRENT_PER_CLIENT", "1");
    let engine = Engine::start(setup).await;
    let (ada, bob) = (engine.admin().await, engine.sign_in_as(domain::Role::Engineer).await);
    // Of two at once the one that is to be held may be refused: then it is sent again.
    let full = || async {
        let held = hold(&ada, &engine.base_url).await;
        let answer = ada.get("/api/v1/models").await;
        (answer.status == 429).then_some((held, answer))
    };
    let (held, refused) = until("full", LIMIT, full).await;
    refused.expect_problem(429, "rate_limited", &["`gateway.max_concurrent_per_client`"]);
    assert_eq!(refused.json()["violated-policies"], json!(["concurrent-requests-per-client"]));
    bob.get("/api/v1/models").await.expect_status(200);
    drop(held);
    let free = || async { (ada.get("/api/v1/models").await.status == 200).then_some(()) };
    until("free again", LIMIT, free).await;
}

async fn a_body_without_a_length_is_bounded_too(topology: Topology) {
    let mut setup = Setup::new(topology);
    setup.gateways = 1;
    setup.set("ENGINE__HTTP__MAX_BODY_BYTES", "100000");
    setup.set("ENGINE__HTTP__MAX_UPLOAD_BYTES", "200000");
    let engine = Engine::start(setup).await;
    let client = engine.admin().await;
    client.create_model("bounded").await.expect_status(201);
    let address = engine.base_url.trim_start_matches("http://").to_owned();
    for (path, kind, key) in [
        ("/api/v1/models/bounded/predict", "application/json", ""),
        ("/v2/models/bounded/infer", "application/json", ""),
        ("/api/v1/auth/token", "application/json", ""),
        ("/api/v1/feedback", "application/json", ""),
        ("/api/v1/feedback", "application/json", "Idempotency-Key: \"bounded-1\"\r\n"),
        ("/api/v1/models/bounded/versions", "multipart/form-data; boundary=xyz", ""),
        (
            "/api/v1/models/bounded/versions",
            "multipart/form-data; boundary=xyz",
            "Idempotency-Key: \"bounded-2\"\r\n",
        ),
    ] {
        let mut connection = TcpStream::connect(&address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: {kind}\r\n{key}Transfer-Encoding: chunked\r\n\r\n",
            client.token()
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        let begin: Bytes = match kind.starts_with("multipart") {
            true => {
                "--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n"
                    .into()
            }
            false => "{\"features\": \"".into(),
        };
        let (mut reads, mut writes) = connection.into_split();
        let send = tokio::spawn(async move {
            writes.write_all(&chunk(&begin)).await?;
            // It ends when the engine hangs up, long before this is done.
            for _ in 0..10_000 {
                writes.write_all(&chunk(&[b'x'; 10_000])).await?;
            }
            writes.write_all(b"0\r\n\r\n").await
        });
        let mut answer = vec![0; 12];
        let read = reads.read_exact(&mut answer);
        tokio::time::timeout(LIMIT, read).await.expect(path).unwrap();
        assert_eq!(answer, b"HTTP/1.1 413", "{path} {key}");
        send.abort();
    }
    let request = client.request(Method::GET, "/api/v1/models");
    client.send(request).await.expect_status(200);
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}
