//! Calls at URLs that people gave, and the guard that keeps them out of the engine's own network.
//!
//! A URL may have a name that leads inside today, or tomorrow. So the guard judges addresses, not
//! names, at the one place where a name becomes addresses: the resolver of the very connection. What
//! it lets through is what is connected to, and no redirect leads elsewhere.

mod guard;

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use contracts::outbound::{OutboundError, Post, Reply};
use contracts::{ApiError, ErrorCode};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use guard::Allowed;

/// The longest URL.
const MOST_CHARS: usize = 2048;
/// A name that takes longer to resolve does not.
const RESOLVE_LIMIT: Duration = Duration::from_secs(5);
/// Connections that are not used for this long are closed.
const IDLE: Duration = Duration::from_secs(30);

/// Calls URLs that people gave.
#[derive(Debug, Clone)]
pub struct Outbound {
    client: Client,
    guard: Arc<Guard>,
}

/// Who may be called.
#[derive(Debug)]
struct Guard {
    allowed: Allowed,
    /// The setting that allows more.
    setting: &'static str,
}

impl Outbound {
    /// Calls public addresses, and what `allow` names: hosts, addresses and networks. `setting` is
    /// where `allow` comes from, to be told to who is refused.
    ///
    /// # Errors
    /// `unprocessable` if an item of `allow` is none; `internal` if the HTTP client cannot be set up.
    pub fn new(setting: &'static str, allow: &[String]) -> Result<Self, ApiError> {
        let allowed = Allowed::parse(allow).map_err(|item| {
            ApiError::new(
                ErrorCode::Unprocessable,
                format!("setting `{setting}` names `{item}`, but each must be a host such as `hooks.internal`, an address or a network such as `10.1.0.0/16`"),
            )
        })?;
        let guard = Arc::new(Guard { allowed, setting });
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(Duration::from_secs(5))
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("decision-engine/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(Guarded(Arc::clone(&guard))));
        let client = client.build().map_err(|error| {
            tracing::error!(%error, "failed to set up the HTTP client for other people's URLs");
            ApiError::internal()
        })?;
        Ok(Self { client, guard })
    }
}

#[async_trait]
impl contracts::Outbound for Outbound {
    async fn check(&self, url: &str) -> Result<(), OutboundError> {
        let url = self.guard.parse(url)?;
        // An address was judged with the URL.
        let Some(name) = url.domain() else { return Ok(()) };
        self.guard.resolve(name).await.map(drop).map_err(OutboundError::Refused)
    }

    async fn post(&self, post: Post) -> Result<Reply, OutboundError> {
        let url = self.guard.parse(&post.url)?;
        let mut request = self.client.post(url).body(post.body).timeout(post.timeout);
        for (name, value) in &post.headers {
            request = request.header(*name, value);
        }
        let failed = |error: reqwest::Error| {
            let error = error.without_url();
            match refusal(&error) {
                Some(refused) => OutboundError::Refused(refused),
                None if error.is_timeout() => OutboundError::Failed(format!(
                    "no answer within {} ms",
                    post.timeout.as_millis()
                )),
                None => OutboundError::Failed(innermost(&error)),
            }
        };
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        let mut body = BytesMut::new();
        // The status is the answer; a body that breaks off takes nothing from it.
        while let Ok(Some(chunk)) = answer.chunk().await {
            let room = post.max_answer_bytes.saturating_sub(body.len());
            body.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or_default());
            if chunk.len() >= room {
                break;
            }
        }
        Ok(Reply { status, body: Bytes::from(body) })
    }
}

impl Guard {
    /// The URL, if its form and its host, where that is an address, are let through.
    fn parse(&self, text: &str) -> Result<Url, OutboundError> {
        let refused = |why: String| Err(OutboundError::Refused(why));
        let shown: String = text.chars().take(200).collect();
        let url = Url::parse(text).ok().filter(|_| text.len() <= MOST_CHARS);
        let Some(url) = url.filter(|url| matches!(url.scheme(), "http" | "https")) else {
            return refused(format!(
                "URL `{}` must be `http://<host>/...` or `https://<host>/...`, of {MOST_CHARS} characters at most",
                shown.escape_debug()
            ));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return refused(
                "the URL must hold no user name and no password: logs and lists would show them"
                    .to_owned(),
            );
        }
        let Some(host) = url.host_str() else {
            return refused(format!("URL `{}` names no host", shown.escape_debug()));
        };
        if url.domain().is_none() {
            // The parser wrote it in its plain form, whatever it was: `0x7f.1` is `127.0.0.1`.
            let address = host.trim_start_matches('[').trim_end_matches(']');
            let Ok(address) = address.parse::<IpAddr>() else {
                return refused(format!("`{host}` is no address"));
            };
            self.judge(host, address).map_err(OutboundError::Refused)?;
        }
        Ok(url)
    }

    /// The addresses of a name, if all of them are let through.
    async fn resolve(&self, name: &str) -> Result<Vec<SocketAddr>, String> {
        let none = |why: &str| format!("host `{name}` does not resolve to an address: {why}");
        let found = tokio::net::lookup_host((name, 0));
        let found = match tokio::time::timeout(RESOLVE_LIMIT, found).await {
            Ok(Ok(found)) => found.collect::<Vec<_>>(),
            Ok(Err(error)) => return Err(none(&error.to_string())),
            Err(_elapsed) => return Err(none("no answer in time")),
        };
        if found.is_empty() {
            return Err(none("it has none"));
        }
        if !self.allowed.has_host(name) {
            // One that may not be called spoils all: such a name is a trick.
            for address in &found {
                self.judge(name, address.ip())?;
            }
        }
        Ok(found)
    }

    fn judge(&self, host: &str, address: IpAddr) -> Result<(), String> {
        let Some(kind) = guard::closed(address) else { return Ok(()) };
        if self.allowed.has_address(address) {
            return Ok(());
        }
        Err(format!(
            "host `{host}` is at `{address}`, {kind}, which is not called: if it is meant, an operator names it in the setting `{}`",
            self.setting
        ))
    }
}

/// Resolves the names of connections.
#[derive(Debug)]
struct Guarded(Arc<Guard>);

/// What the guard said, on its way through the HTTP client.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.0);
        Box::pin(async move {
            match guard.resolve(name.as_str()).await {
                Ok(found) => Ok(Box::new(found.into_iter()) as Addrs),
                Err(why) => Err(Refusal(why).into()),
            }
        })
    }
}

fn causes(error: &dyn Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&error| error.source())
}

/// What the guard said, if it did.
fn refusal(error: &reqwest::Error) -> Option<String> {
    let mut causes = causes(error);
    causes.find_map(|cause| cause.downcast_ref::<Refusal>()).map(ToString::to_string)
}

/// The cause behind all others, such as `connection refused`.
fn innermost(error: &reqwest::Error) -> String {
    causes(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests;
