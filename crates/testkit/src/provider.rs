//! An identity provider: `oidc-provider`, as `tests/servers/install.sh` puts it into
//! `target/oidc-provider`, run by `tests/servers/oidc/provider.mjs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use reqwest::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Url};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Answer;
use crate::engine::Engine;
use crate::secrets;
use crate::server::{Server, target};
use crate::topology::{Setup, free_address};
use crate::wait::until;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/servers/oidc/provider.mjs");
/// Where engines say that browsers come back to. The tests go there in the browser's place.
const REDIRECT: &str = "https://engine.example/api/v1/auth/oidc/callback";
const CLIENT: &str = "decision engine";
const SECRET: &str = "secret of the client: 100% & more";
/// Generous: the machine may be busy with other things.
const LIMIT: Duration = Duration::from_secs(60);

/// A running identity provider. It and its folder are gone when dropped, or with the test run.
#[derive(Debug)]
pub struct Provider {
    /// Its issuer.
    pub issuer: String,
    server: Option<Server>,
    http: reqwest::Client,
    certificate: Option<(PathBuf, PathBuf)>,
    // Last, so that nothing writes to what is being removed.
    folder: TempDir,
}

/// What a browser holds when the provider sends it back to the engine.
#[derive(Debug, Clone)]
pub struct Returned {
    /// The cookie of the engine.
    pub cookie: String,
    /// The query of the page that it is sent to: `code`, `state` and more.
    pub query: BTreeMap<String, String>,
}

impl Provider {
    /// Starts one on loopback.
    pub async fn start() -> Self {
        Self::launch(None).await
    }

    /// Starts one that speaks TLS with this certificate and key, which are files in PEM form.
    pub async fn start_with_tls(certificate: &Path, key: &Path) -> Self {
        Self::launch(Some((certificate.to_owned(), key.to_owned()))).await
    }

    async fn launch(certificate: Option<(PathBuf, PathBuf)>) -> Self {
        secrets::remember(SECRET);
        let folder = tempfile::Builder::new().prefix("engine-oidc-").tempdir().unwrap();
        let modules = target("oidc-provider/node_modules");
        let shown = modules.display();
        assert!(modules.exists(), "`{shown}` is not there: run `tests/servers/install.sh` first");
        // Modules are looked for beside the script.
        std::os::unix::fs::symlink(modules, folder.path().join("node_modules")).unwrap();
        fs::copy(SCRIPT, folder.path().join("provider.mjs")).unwrap();
        let mut http = reqwest::Client::builder().redirect(Policy::none()).no_proxy();
        if let Some((certificate, _)) = &certificate {
            let pem = fs::read(certificate).unwrap();
            http = http.add_root_certificate(Certificate::from_pem(&pem).unwrap());
        }
        let scheme = if certificate.is_some() { "https" } else { "http" };
        let issuer = format!("{scheme}://{}", free_address());
        let http = http.build().unwrap();
        let mut provider = Self { issuer, server: None, http, certificate, folder };
        provider.start_again().await;
        provider
    }

    /// Starts it after a stop, on the same port, without accounts and with a new key.
    pub async fn start_again(&mut self) {
        let port = self.issuer.rsplit(':').next().unwrap().to_owned();
        let mut command = Command::new("node");
        command.arg("provider.mjs").env("PORT", port).env("REDIRECT_URI", REDIRECT);
        command.env("CLIENT_ID", CLIENT).env("CLIENT_SECRET", SECRET);
        if let Some((certificate, key)) = &self.certificate {
            command.env("TLS_CERT", certificate).env("TLS_KEY", key);
        }
        let folder = self.folder.path();
        let server = Server::spawn("provider", command, "KILL", folder, self.issuer.clone());
        self.server = Some(server);
        let url = format!("{}/.well-known/openid-configuration", self.issuer);
        let is_ready = || async { self.http.get(&url).send().await.ok().map(drop) };
        until("the identity provider answers", LIMIT, is_ready).await;
    }

    /// Ends it: nobody listens on its port.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
    }

    /// Has an engine use it: admins, engineers and clients have groups of these names.
    pub fn set_up(&self, setup: &mut Setup) {
        let roles = json!([
            {"group": "admins", "role": "admin"},
            {"group": "engineers", "role": "engineer"},
            {"group": "clients", "role": "client"},
        ]);
        for (key, value) in [
            ("ISSUER", self.issuer.as_str()),
            ("CLIENT_ID", CLIENT),
            ("CLIENT_SECRET", SECRET),
            ("REDIRECT_URL", REDIRECT),
            ("SCOPES", "openid,profile,groups"),
            ("ROLES", &roles.to_string()),
        ] {
            setup.set(&format!("ENGINE__AUTH__OIDC__{key}"), value);
        }
    }

    /// Says who a person is: the claims of the subject, and with `forge` how the ID token is changed on
    /// its way (see `provider.mjs`).
    pub async fn account(&self, subject: &str, claims: Value, forge: Option<Value>) {
        let url = format!("{}/accounts/{subject}", self.issuer);
        let body = json!({"claims": claims, "forge": forge}).to_string();
        let answer = self.http.put(url).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 204);
    }

    /// Goes the whole way as a browser does.
    pub async fn sign_in(&self, engine: &Engine, subject: &str) -> Answer {
        let returned = self.go(engine, subject, |_| {}).await;
        returned.finish(engine).await
    }

    /// Goes to the provider and back, up to the engine's door. `change` may change what the engine told
    /// the browser to tell the provider.
    pub async fn go(
        &self,
        engine: &Engine,
        subject: &str,
        change: impl FnOnce(&mut BTreeMap<String, String>),
    ) -> Returned {
        let begun = self.http.get(format!("{}/api/v1/auth/oidc/login", engine.base_url));
        let begun = begun.send().await.unwrap();
        assert_eq!(begun.status(), 302, "{}", begun.text().await.unwrap());
        let mut jar = BTreeMap::new();
        keep(&mut jar, begun.headers());
        let cookie = format!("engine-sign-in={}", jar.remove("engine-sign-in").unwrap());
        let mut url = location(begun.headers(), &self.issuer);
        let mut query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        query.insert("login_hint".to_owned(), subject.to_owned());
        change(&mut query);
        url.query_pairs_mut().clear().extend_pairs(&query);
        for _ in 0..10 {
            let cookies: Vec<String> =
                jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let asked = self.http.get(url.clone()).header(COOKIE, cookies.join("; "));
            let answer = asked.send().await.unwrap();
            let status = answer.status();
            assert!(status.is_redirection(), "{url}: {status}: {}", answer.text().await.unwrap());
            keep(&mut jar, answer.headers());
            url = location(answer.headers(), url.as_str());
            if url.as_str().starts_with(REDIRECT) {
                let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
                query.get("code").into_iter().for_each(|code| secrets::remember(code));
                secrets::remember(&cookie);
                return Returned { cookie, query };
            }
        }
        panic!("the provider sends the browser round and round: {url}");
    }
}

impl Returned {
    /// Comes back to the engine.
    pub async fn finish(&self, engine: &Engine) -> Answer {
        let client = engine.anonymous();
        let mut url = Url::parse("http://engine/api/v1/auth/oidc/callback").unwrap();
        url.query_pairs_mut().extend_pairs(&self.query);
        let path = format!("{}?{}", url.path(), url.query().unwrap_or_default());
        let request = client.request(reqwest::Method::GET, &path).header(COOKIE, &self.cookie);
        client.send(request).await
    }
}

fn location(headers: &HeaderMap, base: &str) -> Url {
    let text = headers[LOCATION].to_str().unwrap();
    Url::parse(base).unwrap().join(text).unwrap()
}

/// Keeps cookies as a browser does, but for where they belong.
fn keep(jar: &mut BTreeMap<String, String>, headers: &HeaderMap) {
    for value in headers.get_all(SET_COOKIE) {
        let pair = value.to_str().unwrap().split(';').next().unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        jar.insert(name.to_owned(), value.to_owned());
    }
}
