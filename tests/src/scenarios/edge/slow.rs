//! Clients that take their time end by a limit, and hold up nobody meanwhile.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use testkit::{Engine, Setup, Topology, models, scenarios};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::doors;

scenarios!(slow_clients_are_ended_and_hold_up_nobody);

/// nginx has ten seconds for a head.
const PATIENCE: Duration = Duration::from_secs(20);

async fn slow_clients_are_ended_and_hold_up_nobody(topology: Topology) {
    let mut setup = Setup::new(topology);
    setup.set("ENGINE__HTTP__HEADER_TIMEOUT_MS", "1000");
    setup.set("ENGINE__HTTP__REQUEST_TIMEOUT_MS", "2000");
    let engine = Engine::start(setup).await;
    let client = engine.admin().await;
    client.create_model_with("slow", &models::committed("iris-logreg").upload()).await;
    let doors = doors(&engine);
    let mut clients = Vec::new();
    for (door, address) in &doors {
        for number in 0..100 {
            // nginx keeps a body to itself until it is whole, for as long as something comes every
            // 30 s: that costs the gateway nothing.
            let number = if *door == "nginx" { 0 } else { number };
            clients.push((*door, address.clone(), head(number, client.token(), address)));
        }
    }
    let slow = join_all(
        clients
            .into_iter()
            .map(|(door, address, head)| async move { (door, dripped(&address, &head).await) }),
    );
    let others = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..50 {
            let began = Instant::now();
            let body = serde_json::json!({"features": [5.1, 3.5, 1.4, 0.2]});
            client.predict("slow", &body).await.expect_status(200);
            slowest = slowest.max(began.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        slowest
    };
    let (slow, slowest) = tokio::join!(slow, others);
    assert!(slowest < Duration::from_secs(1), "others waited {slowest:?}");
    for (door, ended) in slow {
        let ended = ended.unwrap_or_else(|| panic!("{door} let a slow client go on"));
        assert!(door == "nginx" || ended < Duration::from_secs(8), "{door}: {ended:?}");
    }
}

/// The begin of a request that never ends: of its head, or of its body.
fn head(number: usize, token: &str, address: &str) -> String {
    let line = format!("POST /api/v1/models/slow/predict HTTP/1.1\r\nHost: {address}\r\n");
    if number.is_multiple_of(2) {
        return line;
    }
    format!(
        "{line}Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{{"
    )
}

/// Sends a byte now and then until the server ends it: after which time; `None` if it does not.
async fn dripped(address: &str, head: &str) -> Option<Duration> {
    let began = Instant::now();
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut said = [0; 512];
    while began.elapsed() < PATIENCE {
        let read = connection.read(&mut said);
        // Whether it answers or closes, it has given up.
        if tokio::time::timeout(Duration::from_millis(300), read).await.is_ok() {
            return Some(began.elapsed());
        }
        if connection.write_all(b"a").await.is_err() {
            return Some(began.elapsed());
        }
    }
    None
}
