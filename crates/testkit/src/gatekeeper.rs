//! A gate of a rollout: is asked by webhook whether a step may begin, and says what it was told to.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

#[derive(Debug, Default)]
struct State {
    passes: bool,
    asked: Vec<Value>,
}

/// A running gate, on loopback; ends when dropped.
#[derive(Debug)]
pub struct Gatekeeper {
    /// Where it listens.
    pub url: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Gatekeeper {
    /// Starts one that says no.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/gate", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let kept = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                let service = service_fn(move |request| answer(request, Arc::clone(&kept)));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, state, task }
    }

    /// Says yes from now on.
    pub fn open(&self) {
        self.state.lock().unwrap().passes = true;
    }

    /// What it was asked, in order.
    pub fn asked(&self) -> Vec<Value> {
        self.state.lock().unwrap().asked.clone()
    }
}

impl Drop for Gatekeeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    kept: Arc<Mutex<State>>,
) -> Result<Response<String>, Infallible> {
    let mut body = std::pin::pin!(request.into_body());
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) =
        std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await
    {
        bytes.extend_from_slice(frame.data_ref().map(|data| &data[..]).unwrap_or_default());
    }
    let mut state = kept.lock().unwrap();
    state.asked.push(serde_json::from_slice(&bytes).unwrap_or_default());
    let answer = json!({"pass": state.passes, "reason": "freeze over the weekend"});
    Ok(Response::new(answer.to_string()))
}
