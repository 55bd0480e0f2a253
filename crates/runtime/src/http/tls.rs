//! TLS in this process, with a certificate that may change while it runs.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use crate::RuntimeError;
use crate::settings::Http;

/// A certificate with its key, followed by a task that looks for a newer one.
#[derive(Debug)]
pub(super) struct Tls {
    current: Arc<Current>,
    following: tokio::task::JoinHandle<()>,
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.following.abort();
    }
}

/// What the next connection is shown.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Tls {
    /// As the settings have it; `None` where they name no certificate.
    pub(super) fn of(settings: &Http) -> Result<Option<Self>, RuntimeError> {
        let files =
            Files { certificate: settings.tls_certificate.clone(), key: settings.tls_key.clone() };
        match (is_set(&files.certificate), is_set(&files.key)) {
            (false, false) => return Ok(None),
            (true, true) => {}
            _ => {
                return Err(RuntimeError::Tls(
                    "`http.tls_certificate` and `http.tls_key` go together: set both or none"
                        .to_owned(),
                ));
            }
        }
        let state = files.state();
        let current = Arc::new(Current(ArcSwap::from_pointee(files.load()?)));
        let pause = Duration::from_secs(settings.tls_reload_s.max(1));
        let following = tokio::spawn(follow(files, state, Arc::clone(&current), pause));
        Ok(Some(Self { current, following }))
    }

    /// TLS 1.2 and 1.3; the server adds the names of HTTP/2 and HTTP/1.1.
    pub(super) fn config(&self) -> Result<ServerConfig, RuntimeError> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| RuntimeError::Tls(error.to_string()))?;
        let current = Arc::clone(&self.current);
        Ok(builder.with_no_client_auth().with_cert_resolver(current))
    }
}

fn is_set(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What shows that a file is another one: when it was changed, and which it is.
type State = [Option<(i64, i64, u64)>; 2];

impl Files {
    fn state(&self) -> State {
        [&self.certificate, &self.key].map(|path| {
            let found = fs::metadata(path).ok()?;
            Some((found.mtime(), found.mtime_nsec(), found.ino()))
        })
    }

    fn load(&self) -> Result<CertifiedKey, RuntimeError> {
        let unusable = |path: &Path, why: &dyn std::fmt::Display| {
            RuntimeError::Tls(format!("`{}` cannot be used: {why}", path.display()))
        };
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unusable(&self.certificate, &error))?;
        if chain.is_empty() {
            return Err(unusable(&self.certificate, &"it holds no certificate in PEM form"));
        }
        not_for_others(&self.key)?;
        let key =
            PrivateKeyDer::from_pem_file(&self.key).map_err(|error| unusable(&self.key, &error))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| unusable(&self.key, &error))
    }
}

/// A key that others may read is no secret. Of root's, a group that was given it may read it.
fn not_for_others(path: &Path) -> Result<(), RuntimeError> {
    let failed = |source| RuntimeError::File { path: path.display().to_string(), source };
    let found = fs::metadata(path).map_err(failed)?;
    let forbidden = if found.uid() == 0 { 0o037 } else { 0o077 };
    let mode = found.mode() & 0o777;
    if mode & forbidden == 0 {
        return Ok(());
    }
    let path = path.display();
    Err(RuntimeError::Tls(format!(
        "key file `{path}` may be read by others (mode {mode:03o}): run `chmod 600 {path}`, or mount it with mode 0400"
    )))
}

/// Takes a renewed certificate. While the two files do not fit each other, the last one stays.
async fn follow(files: Files, mut seen: State, current: Arc<Current>, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        let state = files.state();
        if state == seen {
            continue;
        }
        seen = state;
        match files.load() {
            Ok(renewed) => {
                current.0.store(Arc::new(renewed));
                tracing::info!("the TLS certificate was renewed: new connections get it");
            }
            Err(error) => {
                tracing::warn!(%error, "the TLS certificate changed and cannot be used: going on with the last one");
            }
        }
    }
}
