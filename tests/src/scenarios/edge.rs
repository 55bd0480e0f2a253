//! What stands before every route: pages of other origins, headers, compressed bodies; and, one file
//! each, requests made to be misread (`smuggling`), clients that take their time (`slow`) and TLS.

mod slow;
mod smuggling;
mod tls;

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use futures_util::future::join_all;
use serde_json::json;
use testkit::server::Server;
use testkit::{Answer, Client, Engine, Method, Setup, Topology, models, scenarios, shared};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

scenarios!(
    a_page_of_a_known_origin_may_ask_and_others_may_not,
    without_the_setting_no_page_may_ask,
    every_answer_carries_the_headers_that_browsers_heed,
    a_compressed_body_is_read_within_the_limits,
    a_bomb_is_413_and_takes_no_memory,
);

const APP: &str = "https://app.example.com";

/// Sends bytes as they are; what comes back until the server closes, or has said nothing for a
/// while.
async fn raw(address: &str, bytes: &[u8]) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    // It may be closed before all is sent.
    connection.write_all(bytes).await.ok();
    let mut said = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let read = connection.read(&mut piece);
        match tokio::time::timeout(Duration::from_millis(1500), read).await {
            Ok(Ok(count)) if count > 0 => said.extend_from_slice(&piece[..count]),
            _ => return String::from_utf8_lossy(&said).into_owned(),
        }
    }
}

/// The doors of an engine: the gateway's own, and nginx's where there is one.
fn doors(engine: &Engine) -> Vec<(&'static str, String)> {
    let address = |url: &str| url.trim_start_matches("http://").to_owned();
    let gateway = address(&engine.server("gateway").url);
    let door = address(&engine.base_url);
    if door == gateway {
        vec![("gateway", gateway)]
    } else {
        vec![("gateway", gateway), ("nginx", door)]
    }
}

async fn preflight(client: &Client, origin: &str, path: &str, wants: &[(&str, &str)]) -> Answer {
    let mut request = client.request(Method::OPTIONS, path).header("origin", origin);
    for (name, value) in wants {
        request = request.header(*name, *value);
    }
    client.send(request).await
}

async fn a_page_of_a_known_origin_may_ask_and_others_may_not(topology: Topology) {
    let mut setup = Setup::new(topology);
    setup.set("ENGINE__GATEWAY__CORS__ALLOWED_ORIGINS", &format!("{APP},http://localhost:3000"));
    let engine = Engine::start(setup).await;
    // Who asks whether it may ask has no token yet.
    let client = engine.anonymous();
    let path = "/api/v1/models/any/predict";
    let post = ("access-control-request-method", "POST");
    let names = ("access-control-request-headers", "authorization,content-type");
    let answer = preflight(&client, APP, path, &[post, names]).await;
    answer.expect_status(200);
    assert_eq!(answer.header("access-control-allow-origin"), APP);
    assert!(answer.header("access-control-allow-methods").contains("POST"));
    assert!(answer.header("access-control-allow-headers").contains("authorization"));
    assert_eq!(answer.header("access-control-max-age"), "3600");
    assert_eq!(answer.header("access-control-allow-credentials"), "");
    assert!(answer.header("vary").contains("Origin"));
    assert!(!answer.header("x-request-id").is_empty());

    for (origin, wants) in [
        ("https://evil.example.com", &[post][..]),
        ("https://app.example.com.evil.example.com", &[post]),
        ("null", &[post]),
        (APP, &[("access-control-request-method", "TRACE")]),
        (APP, &[post, ("access-control-request-headers", "x-unheard-of")]),
    ] {
        let answer = preflight(&client, origin, path, wants).await;
        answer.expect_problem(400, "bad_request", &[]);
        assert_eq!(answer.header("access-control-allow-origin"), "", "{origin} {wants:?}");
    }

    // The answer itself, also a refusal, is for the page to read.
    let ask = |origin: &str| client.request(Method::GET, "/api/v1/models").header("origin", origin);
    let answer = client.send(ask(APP)).await;
    answer.expect_problem(401, "unauthenticated", &[]);
    assert_eq!(answer.header("access-control-allow-origin"), APP);
    for name in ["x-request-id", "retry-after", "ratelimit", "cache-status", "location"] {
        assert!(answer.header("access-control-expose-headers").contains(name), "{name}");
    }
    let answer = client.send(ask("https://evil.example.com")).await;
    answer.expect_problem(401, "unauthenticated", &[]);
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

async fn without_the_setting_no_page_may_ask(topology: Topology) {
    let engine = shared(topology).await;
    let method = ("access-control-request-method", "GET");
    let answer = preflight(&engine.anonymous(), APP, "/api/v1/models", &[method]).await;
    answer.expect_problem(405, "method_not_allowed", &["OPTIONS"]);
    let client = engine.admin().await;
    let answer = client.send(client.request(Method::GET, "/api/v1/models").header("origin", APP));
    let answer = answer.await;
    answer.expect_status(200);
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control-")));
}

#[test]
fn a_wrong_origin_is_refused_at_the_start() {
    let any_with_credentials =
        [("ALLOWED_ORIGINS", "*"), ("ALLOW_CREDENTIALS", "true")].map(|(k, v)| (k, v.to_owned()));
    let with_path = [("ALLOWED_ORIGINS", format!("{APP}/"))];
    for (settings, word) in
        [(&with_path[..], "lower case"), (&any_with_credentials, "allow_credentials")]
    {
        let folder = tempfile::tempdir().unwrap();
        let environment: Vec<(String, String)> = settings
            .iter()
            .map(|(key, value)| (format!("ENGINE__GATEWAY__CORS__{key}"), value.clone()))
            .collect();
        let mut server = Server::start(
            "check",
            "decision-engine",
            &["serve", "--check"],
            &environment,
            folder.path(),
            String::new(),
        );
        let ended = async { server.wait(Duration::from_secs(30)).await.success() };
        let well = tokio::runtime::Runtime::new().unwrap().block_on(ended);
        assert!(!well && server.log().contains(word), "{}", server.log());
    }
}

async fn every_answer_carries_the_headers_that_browsers_heed(topology: Topology) {
    let engine = shared(topology).await;
    let client = engine.admin().await;
    let mut asked = vec![
        client.get("/livez").await,
        client.get("/docs/").await,
        client.get("/api/v1/auth/me").await,
        client.get("/api/v1/models/no-such").await,
        client.get("/nowhere").await,
        engine.anonymous().get("/api/v1/users").await,
    ];
    if topology == Topology::Distributed {
        // What nginx refuses itself.
        asked.push(client.get("/metrics").await);
        let long = "x".repeat(20 << 10);
        asked.push(client.get(&format!("/{long}")).await);
    }
    for answer in &asked {
        let one = |name: &str| {
            assert_eq!(answer.headers.get_all(name).iter().count(), 1, "{name}: {answer:?}");
            answer.header(name)
        };
        assert_eq!(one("x-content-type-options"), "nosniff");
        assert_eq!(one("x-frame-options"), "DENY");
        assert_eq!(one("referrer-policy"), "no-referrer");
        let policy = one("content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(["", "nginx"].contains(&answer.header("server")), "{}", answer.header("server"));
        assert_eq!(answer.header("strict-transport-security"), "", "this is plain HTTP");
        assert_eq!(answer.header("x-powered-by"), "");
    }
    for kept_nowhere in &asked[2..4] {
        assert_eq!(kept_nowhere.header("cache-control"), "no-store");
    }
    let keys = client.get("/.well-known/jwks.json").await;
    assert!(keys.header("cache-control").contains("public"), "what sets its own keeps it");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::best());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

async fn send_encoded(client: &Client, path: &str, encoding: &str, body: Vec<u8>) -> Answer {
    let request = client
        .request(Method::POST, path)
        .header("content-type", "application/json")
        .header("content-encoding", encoding);
    client.send(request.body(body)).await
}

async fn a_compressed_body_is_read_within_the_limits(topology: Topology) {
    let client = shared(topology).await.admin().await;
    client.create_model_with("edge-gzip", &models::committed("iris-logreg").upload()).await;
    let path = "/api/v1/models/edge-gzip/predict";
    let plain = json!({"features": [5.1, 3.5, 1.4, 0.2]}).to_string().into_bytes();
    for (encoding, body) in [
        ("gzip", gzip(&plain)),
        ("GZIP", gzip(&plain)),
        ("x-gzip", gzip(&plain)),
        ("identity", plain.clone()),
    ] {
        send_encoded(&client, path, encoding, body).await.expect_status(200);
    }
    let mut deflated = ZlibEncoder::new(Vec::new(), Compression::best());
    deflated.write_all(&plain).unwrap();
    let deflated = deflated.finish().unwrap();
    for (encoding, body) in [
        ("gzip, gzip", gzip(&gzip(&plain))),
        ("deflate", deflated),
        ("br", plain.clone()),
        ("zstd", plain.clone()),
        ("chunked", plain.clone()),
        ("\"gzip\"", gzip(&plain)),
    ] {
        let answer = send_encoded(&client, path, encoding, body).await;
        answer.expect_problem(400, "bad_request", &["Content-Encoding", "gzip"]);
    }
    // What says gzip and is none, is cut short, or is damaged.
    let (mut cut, mut damaged) = (gzip(&plain), gzip(&plain));
    cut.truncate(cut.len() - 6);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    for body in [plain, cut, damaged, Vec::new()] {
        send_encoded(&client, path, "gzip", body).await.expect_problem(400, "bad_request", &[]);
    }
    client.get("/livez").await.expect_status(200);
}

async fn a_bomb_is_413_and_takes_no_memory(topology: Topology) {
    let engine = shared(topology).await;
    let client = engine.admin().await;
    client.create_model_with("edge-bomb", &models::committed("iris-logreg").upload()).await;
    let bomb = gzip(&vec![0; 256 << 20]);
    assert!(bomb.len() < 300 << 10, "{} bytes become 256 MB", bomb.len());
    let gateway = engine.server("gateway");
    let anonymous = engine.anonymous();
    let rounds = [
        (&client, "/api/v1/models/edge-bomb/predict"),
        (&client, "/v2/models/edge-bomb/infer"),
        (&client, "/api/v1/models"),
        (&anonymous, "/api/v1/auth/token"),
    ];
    let before = gateway.memory();
    for (client, path) in rounds {
        let sent = (0..4).map(|_| send_encoded(client, path, "gzip", bomb.clone()));
        for answer in join_all(sent).await {
            assert_eq!(answer.status, 413, "{path}: {}", answer.text());
        }
    }
    let grown = gateway.memory().saturating_sub(before) >> 20;
    // Four at once, each up to `http.max_body_bytes`; of the 4 GB that came out, no more is kept.
    assert!(grown < 150, "{grown} MiB more");
}
