//! A receiver of webhooks: keeps what is posted to it, and answers as it is told.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What was posted.
#[derive(Debug, Clone)]
pub struct Received {
    /// The path it was posted to.
    pub path: String,
    /// Header names, lower-case, and values.
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte.
    pub body: Vec<u8>,
    /// What it was answered with.
    pub answered: u16,
}

impl Received {
    /// A header; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The kind of event.
    pub fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }
}

#[derive(Debug, Default)]
struct State {
    received: Vec<Received>,
    /// For the next ones, in order.
    next: VecDeque<u16>,
    /// For all after these.
    then: Option<u16>,
}

/// A running receiver, on loopback; ends when dropped.
#[derive(Debug)]
pub struct Receiver {
    /// Where it listens.
    pub url: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Starts one that answers 204.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let kept = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                let service = service_fn(move |request| take(request, Arc::clone(&kept)));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, state, task }
    }

    /// From now on it answers the next ones with `next`, in order, and all others with `then`.
    pub fn answer(&self, next: &[u16], then: u16) {
        let mut state = self.state.lock().unwrap();
        state.next = next.iter().copied().collect();
        state.then = Some(then);
    }

    /// All that came.
    pub fn received(&self) -> Vec<Received> {
        self.state.lock().unwrap().received.clone()
    }

    /// What came of this kind.
    pub fn of_kind(&self, kind: &str) -> Vec<Received> {
        let mut received = self.received();
        received.retain(|one| one.kind() == kind);
        received
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(
    request: Request<Incoming>,
    kept: Arc<Mutex<State>>,
) -> Result<Response<String>, Infallible> {
    let path = request.uri().path().to_owned();
    let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    let mut body = std::pin::pin!(request.into_body());
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) =
        std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await
    {
        bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    let mut state = kept.lock().unwrap();
    let status = state.next.pop_front().or(state.then).unwrap_or(204);
    state.received.push(Received { path, headers, body: bytes, answered: status });
    Ok(Response::builder().status(status).body(String::new()).unwrap())
}
