//! Requests that two servers in a row might read differently. None is answered twice, and what is
//! hidden in one is never answered.

use testkit::{Topology, scenarios, shared};

use super::{doors, raw};

scenarios!(
    a_request_that_may_be_misread_is_answered_once_at_most,
    heads_have_limits,
    what_is_no_http_is_refused,
);

/// What an attacker would slip past the first server: the second must never see it as a request.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";

/// Must it be refused, or may it be read in the one way that there is?
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Refused,
    OneAnswer,
}

fn cases() -> Vec<(&'static str, String, Then)> {
    use Then::{OneAnswer, Refused};
    let length = HIDDEN.len();
    let post = |headers: &str, body: &str| {
        format!(
            "POST /api/v1/auth/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{headers}\r\n{body}"
        )
    };
    let get = |line: &str, headers: &str| format!("{line}\r\n{headers}\r\n");
    let chunked = "Transfer-Encoding: chunked\r\n";
    vec![
        (
            "length and chunks",
            post(
                &format!("Content-Length: {}\r\n{chunked}", 5 + length),
                &format!("0\r\n\r\n{HIDDEN}"),
            ),
            Refused,
        ),
        (
            "chunks and length",
            post(&format!("{chunked}Content-Length: 3\r\n"), &format!("0\r\n\r\n{HIDDEN}")),
            Refused,
        ),
        (
            "two lengths",
            post(&format!("Content-Length: 0\r\nContent-Length: {length}\r\n"), HIDDEN),
            Refused,
        ),
        ("two equal lengths", post("Content-Length: 2\r\nContent-Length: 2\r\n", "{}"), Refused),
        ("a list of lengths", post(&format!("Content-Length: 0, {length}\r\n"), HIDDEN), Refused),
        ("a length with a sign", post("Content-Length: +2\r\n", "{}"), Refused),
        ("a length below zero", post("Content-Length: -1\r\n", HIDDEN), Refused),
        ("a length in hex", post("Content-Length: 0x10\r\n", HIDDEN), Refused),
        (
            "a length beyond 64 bits",
            post("Content-Length: 18446744073709551618\r\n", HIDDEN),
            Refused,
        ),
        (
            "a length with a space before the colon",
            post(&format!("Content-Length : {length}\r\n"), HIDDEN),
            Refused,
        ),
        (
            "chunks spelt wrongly",
            post(&format!("Transfer-Encoding: xchunked\r\nContent-Length: {length}\r\n"), HIDDEN),
            Refused,
        ),
        (
            "chunks in a list",
            post("Transfer-Encoding: identity, chunked\r\n", &format!("0\r\n\r\n{HIDDEN}")),
            Refused,
        ),
        (
            "chunks named twice",
            post(&format!("{chunked}{chunked}"), &format!("0\r\n\r\n{HIDDEN}")),
            Refused,
        ),
        (
            "chunks with a tab before the colon",
            post(&format!("Transfer-Encoding\t: chunked\r\nContent-Length: {length}\r\n"), HIDDEN),
            Refused,
        ),
        (
            "chunks folded",
            post(
                &format!("Transfer-Encoding:\r\n chunked\r\nContent-Length: {length}\r\n"),
                HIDDEN,
            ),
            Refused,
        ),
        ("a folded header", post("Content-Length: 2\r\nX-Long: a\r\n b\r\n", "{}"), Refused),
        (
            "chunks in HTTP/1.0",
            format!(
                "POST /api/v1/auth/token HTTP/1.0\r\nHost: a\r\n{chunked}\r\n0\r\n\r\n{HIDDEN}"
            ),
            Refused,
        ),
        (
            "a chunk size beyond 64 bits",
            post(chunked, &format!("10000000000000002\r\n{{}}\r\n0\r\n\r\n{HIDDEN}")),
            Refused,
        ),
        (
            "a chunk size that is none",
            post(chunked, &format!("zz\r\n{{}}\r\n0\r\n\r\n{HIDDEN}")),
            Refused,
        ),
        (
            "a chunk size with a sign",
            post(chunked, &format!("+2\r\n{{}}\r\n0\r\n\r\n{HIDDEN}")),
            Refused,
        ),
        (
            "a chunk longer than its size",
            post(chunked, &format!("1\r\n{{}}\r\n0\r\n\r\n{HIDDEN}")),
            Refused,
        ),
        (
            "a chunk with an extension",
            post(&format!("{chunked}Connection: close\r\n"), "2;a=b\r\n{}\r\n0\r\n\r\n"),
            OneAnswer,
        ),
        (
            "a chunk with lines in its extension",
            post(
                &format!("{chunked}Connection: close\r\n"),
                &format!("2;a=\n\"b\r\n{{}}\r\n0\r\n\r\n{HIDDEN}"),
            ),
            OneAnswer,
        ),
        (
            "a chunk ended by a bare line feed",
            post(&format!("{chunked}Connection: close\r\n"), &format!("2\n{{}}\n0\n\n{HIDDEN}")),
            OneAnswer,
        ),
        (
            "lines ended by a bare line feed",
            "GET /livez HTTP/1.1\nHost: a\nConnection: close\n\n".to_owned(),
            OneAnswer,
        ),
        (
            "a bare carriage return in a header",
            get("GET /livez HTTP/1.1", "Host: a\r\nX-A: b\rTransfer-Encoding: chunked\r\n"),
            Refused,
        ),
        (
            "a zero byte in a header",
            get("GET /livez HTTP/1.1", "Host: a\r\nX-A: b\0c\r\n"),
            Refused,
        ),
        ("a zero byte in a name", get("GET /livez HTTP/1.1", "Host: a\r\nX-\0A: b\r\n"), Refused),
        ("a space in a name", get("GET /livez HTTP/1.1", "Host: a\r\nX A: b\r\n"), Refused),
        ("a line that is no header", get("GET /livez HTTP/1.1", "Host: a\r\nnothing\r\n"), Refused),
        ("no host", get("GET /livez HTTP/1.1", "Connection: close\r\n"), Refused),
        ("two hosts", get("GET /livez HTTP/1.1", "Host: a\r\nHost: b\r\n"), Refused),
        (
            "a whole address as target",
            get("GET http://elsewhere/livez HTTP/1.1", "Host: a\r\nConnection: close\r\n"),
            OneAnswer,
        ),
        ("a space in the target", get("GET /livez /hidden HTTP/1.1", "Host: a\r\n"), Refused),
        ("a zero byte in the target", get("GET /livez\0 HTTP/1.1", "Host: a\r\n"), Refused),
        ("another version", get("GET /livez HTTP/3.7", "Host: a\r\n"), Refused),
    ]
}

async fn a_request_that_may_be_misread_is_answered_once_at_most(topology: Topology) {
    let engine = shared(topology).await;
    let mut wrong = Vec::new();
    for (door, address) in doors(engine) {
        let asked = cases().into_iter().map(|(name, request, then)| {
            let address = address.clone();
            async move { (name, then, raw(&address, request.as_bytes()).await) }
        });
        for (name, then, said) in futures_util::future::join_all(asked).await {
            let answers = said.matches("HTTP/1.").count();
            let refused = said.is_empty()
                || ["400", "501", "505"].iter().any(|status| said.get(9..12) == Some(*status));
            // nginx reads some of these in one way only and writes them anew for the gateway.
            let must_refuse = then == Then::Refused && !(door == "nginx" && tolerated(name));
            if answers > 1 || said.contains("/hidden") || (must_refuse && !refused) {
                let start: String = said.chars().take(60).collect();
                wrong.push(format!("{door}, {name}: {answers} answers, {start:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    engine.anonymous().get("/livez").await.expect_status(200);
}

/// What nginx passes on in a form of its own.
fn tolerated(name: &str) -> bool {
    // It leaves the line out.
    const NAMES: [&str; 1] = ["a line that is no header"];
    NAMES.contains(&name)
}

async fn heads_have_limits(topology: Topology) {
    let engine = shared(topology).await;
    let many: String = (0..500).map(|number| format!("X-{number}: a\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "a".repeat(300 << 10));
    let target = format!("/{}", "a".repeat(300 << 10));
    for (door, address) in doors(engine) {
        for (name, target, headers) in
            [("many", "/livez", many.as_str()), ("long", "/livez", &long), ("target", &target, "")]
        {
            let request = format!(
                "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n{HIDDEN}"
            );
            let said = raw(&address, request.as_bytes()).await;
            let status = said.get(9..12).unwrap_or_default();
            assert!(["", "400", "414", "431"].contains(&status), "{door} {name}: {status}");
            assert!(said.matches("HTTP/1.").count() < 2, "{door} {name}: {said}");
        }
    }
    engine.anonymous().get("/livez").await.expect_status(200);
}

async fn what_is_no_http_is_refused(topology: Topology) {
    let engine = shared(topology).await;
    for (door, address) in doors(engine) {
        for bytes in [
            &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\0\0\0\0\0\0\0\0\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
            b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
        ] {
            let said = raw(&address, bytes).await;
            let status = said.get(9..12).unwrap_or_default();
            assert!(!status.starts_with('2'), "{door} {bytes:?}: {said}");
        }
    }
    engine.anonymous().get("/livez").await.expect_status(200);
}
