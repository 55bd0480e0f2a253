//! TLS in the engine's own process, as an admin turns it on.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use testkit::server::Server;
use testkit::topology::free_address;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

#[test]
fn the_engine_speaks_tls_by_itself() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(path("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let only_mine = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(path("key.pem"), only_mine).unwrap();
        let address = free_address();
        let environment = [
            ("ENGINE__DATA_DIR", path("data")),
            ("ENGINE__GATEWAY__LISTEN", address.clone()),
            ("ENGINE__HTTP__TLS_CERTIFICATE", path("cert.pem")),
            ("ENGINE__HTTP__TLS_KEY", path("key.pem")),
        ]
        .map(|(key, value)| (key.to_owned(), value));
        let server = Server::start(
            "tls",
            "decision-engine",
            &["serve"],
            &environment,
            folder.path(),
            String::new(),
        );
        let url = format!("https://{address}");
        server.wait_for_log(&url, Duration::from_secs(60)).await;

        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(&address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let request = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        let said = said.to_lowercase();
        assert!(said.starts_with("http/1.1 200"), "{said}");
        assert!(said.contains("strict-transport-security: max-age=31536000"), "{said}");
    });
}
