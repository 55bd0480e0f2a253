//! What the guard lets through, and what it does not, however it is written.

use std::net::{Ipv4Addr, Ipv6Addr};

use contracts::Outbound as _;
use ipnet::Ipv4Net;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const SETTING: &str = "router.outbound.allow";

fn outbound(allow: &[&str]) -> Outbound {
    let allow: Vec<String> = allow.iter().map(|item| (*item).to_owned()).collect();
    Outbound::new(SETTING, &allow).unwrap()
}

fn post(url: &str) -> Post {
    Post {
        url: url.to_owned(),
        headers: vec![("webhook-id", "1".to_owned())],
        body: Bytes::from_static(b"{}"),
        timeout: Duration::from_secs(5),
        max_answer_bytes: 10,
    }
}

async fn refused(outbound: &Outbound, url: &str) -> String {
    let checked = outbound.check(url).await;
    let posted = outbound.post(post(url)).await;
    match (checked, posted) {
        (Err(OutboundError::Refused(why)), Err(OutboundError::Refused(same))) => {
            assert_eq!(why, same, "{url}");
            why
        }
        other => panic!("{url}: {other:?}"),
    }
}

/// Answers each request with this text, and returns its port.
async fn server(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

#[tokio::test]
async fn an_address_inside_is_refused_however_it_is_written() {
    let outbound = outbound(&[]);
    for (url, address) in [
        ("http://127.0.0.1/", "127.0.0.1"),
        ("http://0x7f.1/", "127.0.0.1"),
        ("http://2130706433/", "127.0.0.1"),
        ("http://0177.0.0.1/", "127.0.0.1"),
        ("http://127.1:8000/", "127.0.0.1"),
        ("http://１２７.0.0.1/", "127.0.0.1"),
        ("http://0/", "0.0.0.0"),
        ("http://10.1.2.3/", "10.1.2.3"),
        ("http://172.31.255.255/", "172.31.255.255"),
        ("http://192.168.0.1/", "192.168.0.1"),
        ("http://169.254.169.254/latest/meta-data", "169.254.169.254"),
        ("http://168.63.129.16/", "168.63.129.16"),
        ("http://100.100.100.200/", "100.100.100.200"),
        ("http://255.255.255.255/", "255.255.255.255"),
        ("http://224.0.0.1/", "224.0.0.1"),
        ("http://[::1]/", "::1"),
        ("http://[::]/", "::"),
        ("http://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1"),
        ("http://[::ffff:8.8.8.8]/", "::ffff:8.8.8.8"),
        ("http://[::127.0.0.1]/", "::7f00:1"),
        ("http://[64:ff9b::7f00:1]/", "64:ff9b::7f00:1"),
        ("http://[64:ff9b:1::a00:1]/", "64:ff9b:1::a00:1"),
        ("http://[2002:7f00:1::]/", "2002:7f00:1::"),
        ("http://[2001:0:a00:1::]/", "2001:0:a00:1::"),
        ("http://[fd00:ec2::254]/", "fd00:ec2::254"),
        ("http://[fe80::1]/", "fe80::1"),
        ("http://[ff02::1]/", "ff02::1"),
        ("https://localhost/", "127.0.0.1"),
        ("http://LOCALHOST:80/", "127.0.0.1"),
    ] {
        let why = refused(&outbound, url).await;
        // A name may have an address of either family first.
        let told = why.contains(&format!("`{address}`")) || why.contains("`::1`");
        assert!(told && why.contains(SETTING), "{url}: {why}");
    }
}

#[tokio::test]
async fn what_is_no_such_url_is_refused_and_told() {
    let outbound = outbound(&["127.0.0.0/8"]);
    for url in [
        "",
        "hook",
        "//host/x",
        "ftp://host/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_x",
        "javascript:1",
        "http://",
        "http:///x y",
        "unix:/run/x.sock",
    ] {
        let why = refused(&outbound, url).await;
        assert!(why.contains("must be `http://<host>"), "{url}: {why}");
    }
    let long = format!("http://example.com/{}", "x".repeat(MOST_CHARS));
    assert!(refused(&outbound, &long).await.contains("2048"));
    for url in ["http://me:hush@127.0.0.1/", "http://me@127.0.0.1/", "http://:hush@127.0.0.1/"] {
        let why = refused(&outbound, url).await;
        assert!(why.contains("no password") && !why.contains("hush"), "{why}");
    }
    let why = refused(&outbound, "http://no-such-host.invalid/").await;
    assert!(why.contains("`no-such-host.invalid` does not resolve"), "{why}");
}

#[tokio::test]
async fn what_the_setting_names_is_called_and_only_so_much_of_an_answer_is_read() {
    let port =
        server("HTTP/1.1 201 Created\r\ncontent-length: 26\r\n\r\nabcdefghijklmnopqrstuvwxyz");
    let url = format!("http://127.0.0.1:{}/", port.await);
    for allow in ["127.0.0.1", "127.0.0.0/8"] {
        let outbound = outbound(&[allow]);
        outbound.check(&url).await.unwrap();
        let reply = outbound.post(post(&url)).await.unwrap();
        assert_eq!((reply.status, reply.body.as_ref()), (201, b"abcdefghij".as_ref()));
    }
    let named = url.replace("127.0.0.1", "localhost");
    let outbound = outbound(&["LocalHost"]);
    outbound.check(&named).await.unwrap();
    assert_eq!(outbound.post(post(&named)).await.unwrap().status, 201);
    // The name is allowed, not the address.
    refused(&outbound, &url).await;
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_leads_nowhere() {
    let inside = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let location = format!(
        "HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:{inside}/\r\ncontent-length: 0\r\n\r\n"
    );
    let port = server(location.leak()).await;
    let reply = outbound(&["127.0.0.1"]).post(post(&format!("http://127.0.0.1:{port}/"))).await;
    assert_eq!(reply.unwrap().status, 307);
}

#[tokio::test]
async fn silence_and_a_closed_port_are_failures_and_no_refusals() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let outbound = outbound(&["127.0.0.1"]);
    let url = format!("http://127.0.0.1:{port}/");
    let timeout = Duration::from_millis(100);
    let silent = outbound.post(Post { timeout, ..post(&url) }).await;
    assert_eq!(silent, Err(OutboundError::Failed("no answer within 100 ms".to_owned())));
    drop(listener);
    let Err(OutboundError::Failed(why)) = outbound.post(post(&url)).await else { panic!() };
    assert!(why.to_lowercase().contains("connection refused"), "{why}");
}

#[test]
fn what_cannot_be_allowed_is_named() {
    for bad in ["", "*", "*.internal", "10.0.0.0/33", "http://host", "host:80", "1.2.3", "a..b"] {
        let error = Outbound::new(SETTING, &[bad.to_owned()]).unwrap_err();
        let told = format!("setting `{SETTING}` names `{bad}`");
        assert!(error.message.starts_with(&told), "{}", error.message);
    }
}

/// What the standard library knows of an address, apart from our list.
fn known_inside(address: Ipv4Addr) -> bool {
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || address.is_unspecified()
}

proptest! {
    #[test]
    fn no_inside_address_of_ipv4_is_open_in_any_form(bits: u32) {
        let address = Ipv4Addr::from(bits);
        let shut = guard::closed(address.into()).is_some();
        prop_assert!(shut || !known_inside(address), "{address}");
        let guard = Guard { allowed: Allowed::default(), setting: SETTING };
        let [a, b, c, d] = address.octets();
        for text in [
            format!("{address}"),
            format!("{bits}"),
            format!("{bits:#x}"),
            format!("{a:#x}.{b:#o}.{c}.{d}").replace("0o", "0"),
            format!("{a}.{}", bits & 0x00ff_ffff),
        ] {
            let parsed = guard.parse(&format!("https://{text}:8443/x"));
            prop_assert_eq!(parsed.is_err(), shut, "{} {:?}", text, parsed);
        }
        // Whatever it is in IPv4, as IPv6 it is a way round.
        let [high, low] = [(bits >> 16) as u16, (bits & 0xffff) as u16];
        for hidden in [
            Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low),
            Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, !high, !low),
        ] {
            prop_assert!(guard::closed(hidden.into()).is_some(), "{hidden}");
        }
    }

    #[test]
    fn an_address_of_ipv6_is_open_only_where_addresses_are_given_out(bits: u128) {
        let address = Ipv6Addr::from(bits);
        if guard::closed(address.into()).is_none() {
            prop_assert_eq!(address.segments()[0] >> 13, 1, "{}", address);
        }
        let given_out = Ipv6Addr::from((bits >> 3) | (1 << 125));
        if !matches!(given_out.segments()[0], 0x2001 | 0x2002 | 0x3fff) {
            prop_assert_eq!(guard::closed(given_out.into()), None, "{}", given_out);
        }
    }

    #[test]
    fn no_text_makes_the_guard_call_a_closed_address(text in "\\PC{0,60}") {
        let guard = Guard { allowed: Allowed::default(), setting: SETTING };
        for url in [text.clone(), format!("http://{text}"), format!("http://127.0.0.1{text}")] {
            let Ok(url) = guard.parse(&url) else { continue };
            let host = url.host_str().unwrap().trim_matches(['[', ']']).to_owned();
            if let Ok(address) = host.parse::<IpAddr>() {
                prop_assert_eq!(guard::closed(address), None, "{}", url);
            }
            prop_assert!(url.username().is_empty() && url.password().is_none());
        }
    }

    #[test]
    fn only_what_is_allowed_is_open(bits: u32, length in 0_u8..=32, other: u32) {
        let network = Ipv4Net::new(Ipv4Addr::from(bits), length).unwrap();
        let allowed = Allowed::parse(&[network.to_string()]).unwrap();
        let other = Ipv4Addr::from(other);
        prop_assert_eq!(allowed.has_address(other.into()), network.contains(&other));
        prop_assert!(!allowed.has_address(other.to_ipv6_mapped().into()));
    }
}
