//! Where a service is: base URLs separated by commas, or a name whose addresses all count.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use contracts::{ApiError, ErrorCode};
use tokio::sync::Mutex;

/// How a name's addresses are asked for.
const BY_NAME: &str = "dns+http://";
/// Addresses of a name are asked for again after this time.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(5);
/// A name that takes longer to resolve keeps the addresses it had.
pub(crate) const RESOLVE_LIMIT: Duration = Duration::from_secs(1);
/// A base that failed is the last choice for this time.
const REST: Duration = Duration::from_secs(2);

/// What a setting of `[services]` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Base URLs.
    Listed(Vec<String>),
    /// A name with a port, `inference:8003`: every address of it is a replica.
    Named(String),
}

impl Source {
    /// Reads the setting of the service `name`.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, ApiError> {
        let wrong = || {
            let must_be = "base URLs such as `http://host:8080`, separated by commas, or `dns+http://name:port` for all addresses of a name";
            ApiError::new(
                ErrorCode::Unprocessable,
                format!("setting `services.{name}` is `{text}`, but it must be {must_be}"),
            )
        };
        let clean = |url: &str| url.trim().trim_end_matches('/').to_owned();
        if let Some(place) = text.trim().strip_prefix(BY_NAME) {
            let place = clean(place);
            let (host, port) = place.rsplit_once(':').ok_or_else(wrong)?;
            let odd = host.is_empty() || host.contains(['/', ',', '@']);
            return match port.parse::<u16>() {
                Ok(1..) if !odd => Ok(Self::Named(place)),
                _ => Err(wrong()),
            };
        }
        let urls: Vec<String> = text.split(',').map(clean).filter(|url| !url.is_empty()).collect();
        let fits = |url: &String| url.strip_prefix("http://").is_some_and(|rest| !rest.is_empty());
        if urls.is_empty() || !urls.iter().all(fits) {
            return Err(wrong());
        }
        Ok(Self::Listed(urls))
    }

    /// The base URLs as of now, in order, each once. Of a name with addresses of both families only
    /// those of IPv4 count, as both lead to the same machines.
    ///
    /// # Errors
    /// If the name does not resolve, or not in time.
    pub(crate) async fn look_up(&self) -> io::Result<Vec<String>> {
        let place = match self {
            Self::Listed(urls) => return Ok(urls.clone()),
            Self::Named(place) => place,
        };
        let found = tokio::time::timeout(RESOLVE_LIMIT, tokio::net::lookup_host(place));
        let mut found: Vec<_> = found.await.map_err(io::Error::other)??.collect();
        if found.iter().any(std::net::SocketAddr::is_ipv4) {
            found.retain(std::net::SocketAddr::is_ipv4);
        }
        found.sort_unstable();
        found.dedup();
        if found.is_empty() {
            return Err(io::Error::other("the name has no address"));
        }
        Ok(found.into_iter().map(|address| format!("http://{address}")).collect())
    }
}

/// The base URLs of one service, each with how it did lately. Calls take turns.
#[derive(Debug)]
pub(crate) struct Places {
    name: &'static str,
    source: Source,
    bases: RwLock<Arc<Vec<Arc<Base>>>>,
    /// When the name was last resolved. Whoever holds it resolves.
    resolved_at: Mutex<Option<Instant>>,
    turn: AtomicUsize,
}

/// One base URL.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) url: String,
    began: Instant,
    /// Milliseconds after `began` until which it is the last choice.
    rests_until: AtomicU64,
}

impl Base {
    fn new(url: String) -> Arc<Self> {
        Arc::new(Self { url, began: Instant::now(), rests_until: AtomicU64::new(0) })
    }

    /// Makes it the last choice for a while.
    pub(crate) fn rest(&self) {
        self.rests_until.store(millis(self.began.elapsed() + REST), Ordering::Relaxed);
    }

    fn rests(&self) -> bool {
        millis(self.began.elapsed()) < self.rests_until.load(Ordering::Relaxed)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Places {
    pub(crate) fn new(name: &'static str, setting: &str) -> Result<Self, ApiError> {
        Ok(Self::of(name, Source::parse(name, setting)?))
    }

    /// One base URL.
    pub(crate) fn one(name: &'static str, url: &str) -> Self {
        Self::of(name, Source::Listed(vec![url.to_owned()]))
    }

    fn of(name: &'static str, source: Source) -> Self {
        let urls = match &source {
            Source::Listed(urls) => urls.clone(),
            Source::Named(_) => Vec::new(),
        };
        let bases = RwLock::new(Arc::new(urls.into_iter().map(Base::new).collect()));
        Self { name, source, bases, resolved_at: Mutex::default(), turn: AtomicUsize::new(0) }
    }

    /// The bases in the order in which a call tries them: the next one in turn first, those that
    /// failed lately last. Empty if the name never resolved.
    pub(crate) async fn in_turn(&self) -> Vec<Arc<Base>> {
        if matches!(self.source, Source::Named(_)) {
            self.follow().await;
        }
        let bases = Arc::clone(&self.bases.read().unwrap_or_else(PoisonError::into_inner));
        if bases.len() < 2 {
            return bases.to_vec();
        }
        let start = self.turn.fetch_add(1, Ordering::Relaxed) % bases.len();
        let (head, tail) = bases.split_at(start);
        let mut order: Vec<_> = tail.iter().chain(head).cloned().collect();
        order.sort_by_key(|base| base.rests());
        order
    }

    /// Resolves the name again when it is time. One call does it, the others go on with what is
    /// known, unless nothing is.
    async fn follow(&self) {
        let known = !self.bases.read().unwrap_or_else(PoisonError::into_inner).is_empty();
        let mut resolved_at = match (known, self.resolved_at.try_lock()) {
            (_, Ok(resolved_at)) => resolved_at,
            (true, Err(_)) => return,
            (false, Err(_)) => self.resolved_at.lock().await,
        };
        let fresh = resolved_at.is_some_and(|at| at.elapsed() < RESOLVE_INTERVAL);
        let known = !self.bases.read().unwrap_or_else(PoisonError::into_inner).is_empty();
        if fresh && known {
            return;
        }
        *resolved_at = Some(Instant::now());
        match self.source.look_up().await {
            Ok(urls) => self.replace(urls),
            Err(error) => {
                tracing::warn!(service = self.name, %error, "a service's name does not resolve: its last known addresses stay");
            }
        }
    }

    fn replace(&self, urls: Vec<String>) {
        let mut bases = self.bases.write().unwrap_or_else(PoisonError::into_inner);
        let known = |url: &String| bases.iter().find(|base| base.url == *url).cloned();
        let next = urls.into_iter().map(|url| known(&url).unwrap_or_else(|| Base::new(url)));
        *bases = Arc::new(next.collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_and_a_name_are_told_apart() {
        let listed = Source::parse("router", "http://a:1/, http://b:2,").unwrap();
        assert_eq!(listed, Source::Listed(vec!["http://a:1".to_owned(), "http://b:2".to_owned()]));
        let named = Source::parse("inference", "dns+http://inference:8003").unwrap();
        assert_eq!(named, Source::Named("inference:8003".to_owned()));
    }

    #[test]
    fn a_wrong_place_names_the_setting_and_what_it_may_be() {
        for wrong in
            ["", ",", "a:1", "https://a:1", "dns+http://a", "dns+http://:1", "dns+http://a:x"]
        {
            let text = Source::parse("router", wrong).unwrap_err().to_string();
            assert!(text.starts_with(&format!("setting `services.router` is `{wrong}`")), "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_gives_all_its_addresses_once() {
        let source = Source::Named("localhost:8003".to_owned());
        assert_eq!(source.look_up().await.unwrap(), ["http://127.0.0.1:8003"]);
        assert!(Source::Named("no-such-host.invalid:1".to_owned()).look_up().await.is_err());
    }

    #[tokio::test]
    async fn bases_take_turns_and_one_that_failed_comes_last() {
        let places = Places::new("router", "http://a:1,http://b:2,http://c:3").unwrap();
        let mut firsts = Vec::new();
        for _ in 0..3 {
            firsts.push(places.in_turn().await.first().unwrap().url.clone());
        }
        assert_eq!(firsts, ["http://a:1", "http://b:2", "http://c:3"]);
        places.in_turn().await.first().unwrap().rest();
        for _ in 0..3 {
            assert_eq!(places.in_turn().await.last().unwrap().url, "http://a:1");
        }
    }

    #[tokio::test]
    async fn addresses_join_and_leave_and_stay_when_the_name_is_lost() {
        let places = Places::new("router", "dns+http://no-such-host.invalid:1").unwrap();
        assert!(places.in_turn().await.is_empty());
        places.replace(vec!["http://10.0.0.1:1".to_owned(), "http://10.0.0.2:1".to_owned()]);
        assert_eq!(places.in_turn().await.len(), 2);
        places.replace(vec!["http://10.0.0.2:1".to_owned()]);
        *places.resolved_at.lock().await = None;
        assert_eq!(places.in_turn().await.len(), 1, "a failed look-up keeps what is known");
    }
}
