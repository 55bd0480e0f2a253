//! A server with TLS, as a client sees it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test binary, what is not there is a failure"
)]

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{HttpResponse, web};
use runtime::http::{App, Server};
use runtime::settings::{HTTP, Http};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate of one's own, in files as the settings name them.
struct Place(TempDir);

impl Place {
    fn new() -> (Self, CertificateDer<'static>) {
        let place = Self(tempfile::tempdir().unwrap());
        let certificate = place.renew();
        (place, certificate)
    }

    fn renew(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        self.write("key.pem", &made.signing_key.serialize_pem(), 0o600);
        self.write("cert.pem", &made.cert.pem(), 0o644);
        made.cert.der().clone()
    }

    /// Another file under the same name, as who renews certificates puts it there.
    fn write(&self, name: &str, text: &str, mode: u32) {
        let (new, path) = (self.0.path().join("new"), self.0.path().join(name));
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, Permissions::from_mode(mode)).unwrap();
        fs::rename(new, path).unwrap();
    }

    fn settings(&self) -> Http {
        let mut settings = plain();
        settings.tls_certificate = self.0.path().join("cert.pem");
        settings.tls_key = self.0.path().join("key.pem");
        settings.tls_reload_s = 1;
        settings
    }
}

fn plain() -> Http {
    #[derive(Deserialize)]
    struct Root {
        http: Http,
    }

    let root: Root = runtime::settings::load(&[HTTP], None, BTreeMap::new()).unwrap();
    let mut settings = root.http;
    settings.workers = 1;
    settings
}

fn start(settings: &Http) -> Result<Server, runtime::RuntimeError> {
    let app = App::internal(false, |config| {
        config.route("/hello", web::get().to(async || HttpResponse::Ok().body("hello")));
    });
    Server::start("127.0.0.1:0", "server.listen", settings, app)
}

async fn connect(
    server: &Server,
    trusted: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(server.address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Asks once, on a connection that stays open.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    stream.write_all(b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    let mut piece = [0; 1024];
    while !said.ends_with(b"hello") {
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(piece.get(..count).unwrap());
    }
    String::from_utf8(said).unwrap()
}

#[actix_web::test]
async fn both_versions_and_both_protocols_are_spoken() {
    let (place, certificate) = Place::new();
    let server = start(&place.settings()).unwrap();
    assert!(server.url().starts_with("https://127.0.0.1:"));
    for version in [&TLS12, &TLS13] {
        let mut stream = connect(&server, &certificate, &[version], &["http/1.1"]).await.unwrap();
        assert!(ask(&mut stream).await.starts_with("HTTP/1.1 200"));
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
    }
    let stream = connect(&server, &certificate, &[&TLS13], &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (_, stranger) = Place::new();
    assert!(connect(&server, &stranger, &[&TLS13], &[]).await.is_err(), "who is not trusted");
    server.stop().await;
}

#[actix_web::test]
async fn an_older_version_and_plain_http_are_turned_away() {
    let (place, certificate) = Place::new();
    let server = start(&place.settings()).unwrap();
    // A greeting in TLS 1.1, which no client library here speaks any more: version 3.2, one cipher.
    let greeting: Vec<u8> =
        [&[0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2][..], &[7; 32], &[0, 0, 2, 0xc0, 0x13, 1, 0]]
            .concat();
    for bytes in [&greeting[..], b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut said = Vec::new();
        let read = stream.read_to_end(&mut said);
        tokio::time::timeout(Duration::from_secs(10), read).await.expect("it is closed").ok();
        // At most an alert (content type 21), and never a word of HTTP.
        assert!(said.is_empty() || said.first() == Some(&21), "{said:?}");
    }
    let mut stream = connect(&server, &certificate, &[&TLS13], &[]).await.unwrap();
    ask(&mut stream).await;
    server.stop().await;
}

#[actix_web::test]
async fn a_renewed_certificate_is_used_without_a_restart_and_a_damaged_one_is_not() {
    let (place, first) = Place::new();
    let server = start(&place.settings()).unwrap();
    let mut held = connect(&server, &first, &[&TLS13], &[]).await.unwrap();
    ask(&mut held).await;

    place.write("cert.pem", "-----BEGIN CERTIFICATE-----\nhalf", 0o644);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    connect(&server, &first, &[&TLS13], &[]).await.expect("the last one stays");

    let second = place.renew();
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut stream = loop {
        match connect(&server, &second, &[&TLS13], &[]).await {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    ask(&mut stream).await;
    ask(&mut held).await;
    assert!(connect(&server, &first, &[&TLS13], &[]).await.is_err());
    server.stop().await;
}

#[actix_web::test]
async fn what_cannot_be_used_is_refused_at_the_start_by_name() {
    let (place, _) = Place::new();
    let refused = |change: &dyn Fn(&mut Http)| {
        let mut settings = place.settings();
        change(&mut settings);
        match start(&settings) {
            Ok(_) => panic!("it must not start"),
            Err(error) => error.to_string(),
        }
    };
    let both = refused(&|settings| settings.tls_key = "".into());
    assert!(both.contains("set both or none"), "{both}");
    let swapped = refused(&|settings| settings.tls_certificate = settings.tls_key.clone());
    assert!(swapped.contains("key.pem") && swapped.contains("certificate"), "{swapped}");
    let absent = refused(&|settings| settings.tls_certificate = "/nowhere/cert.pem".into());
    assert!(absent.contains("/nowhere/cert.pem"), "{absent}");
    let (other, _) = Place::new();
    let misfit = refused(&|settings| settings.tls_key = other.0.path().join("key.pem"));
    assert!(misfit.contains("key.pem"), "{misfit}");
    let key = fs::read_to_string(place.0.path().join("key.pem")).unwrap();
    place.write("key.pem", &key, 0o644);
    let open = refused(&|_| {});
    assert!(open.contains("644") && open.contains("chmod 600"), "{open}");
}

#[actix_web::test]
async fn a_request_over_tls_costs_little_more() {
    let (place, certificate) = Place::new();
    let (secure, open) = (start(&place.settings()).unwrap(), start(&plain()).unwrap());
    let mut over_tls = connect(&secure, &certificate, &[&TLS13], &["http/1.1"]).await.unwrap();
    let mut over_tcp = TcpStream::connect(open.address).await.unwrap();
    over_tcp.set_nodelay(true).unwrap();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..3000 {
        let began = Instant::now();
        ask(&mut over_tcp).await;
        without.push(began.elapsed());
        let began = Instant::now();
        ask(&mut over_tls).await;
        with.push(began.elapsed());
    }
    let mut handshakes = Vec::new();
    for _ in 0..50 {
        let began = Instant::now();
        connect(&secure, &certificate, &[&TLS13], &[]).await.unwrap();
        handshakes.push(began.elapsed());
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times.get(times.len() / 2).copied().unwrap()
    };
    let (with, without) = (median(&mut with), median(&mut without));
    let handshake = median(&mut handshakes);
    println!("a request: {without:?} plain, {with:?} with TLS; a handshake {handshake:?}");
    assert!(with < without * 10 + Duration::from_millis(1), "{with:?} with, {without:?} without");
    secure.stop().await;
    open.stop().await;
}
