//! A collector of traces: takes OTLP over HTTP, and keeps the spans.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A span as it came.
#[derive(Debug, Clone)]
pub struct Span {
    /// The service it came from.
    pub service: String,
    /// Its name.
    pub name: String,
    /// `SPAN_KIND_SERVER` and the like.
    pub kind: String,
    /// Lower-case hex.
    pub trace: String,
    /// Lower-case hex.
    pub id: String,
    /// Lower-case hex; empty where the trace begins.
    pub parent: String,
    /// Whether it says that it failed.
    pub failed: bool,
    attributes: Vec<(String, String)>,
    /// What happened within it: names and attributes.
    events: Vec<(String, Vec<(String, String)>)>,
}

impl Span {
    /// An attribute as text; empty if it is not there.
    pub fn attribute(&self, key: &str) -> &str {
        let found = self.attributes.iter().find(|(name, _)| name == key);
        found.map_or("", |(_, value)| value)
    }

    /// The attributes of what happened within it under this name.
    pub fn event(&self, name: &str) -> Option<&[(String, String)]> {
        let found = self.events.iter().find(|(known, _)| known == name);
        found.map(|(_, attributes)| attributes.as_slice())
    }
}

/// A running collector; ends when dropped.
#[derive(Debug)]
pub struct Collector {
    /// What `telemetry.otlp_endpoint` has to be.
    pub url: String,
    spans: Arc<Mutex<Vec<Span>>>,
    task: JoinHandle<()>,
}

impl Collector {
    /// Starts one.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let kept = Arc::clone(&spans);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                let service = service_fn(move |request| take(request, Arc::clone(&kept)));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, spans, task }
    }

    /// The spans that came so far.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(
    request: Request<Incoming>,
    kept: Arc<Mutex<Vec<Span>>>,
) -> Result<Response<String>, Infallible> {
    assert_eq!(request.uri().path(), "/v1/traces");
    let mut body = std::pin::pin!(request.into_body());
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await
    {
        bytes.extend_from_slice(&frame.unwrap().into_data().unwrap_or_default());
    }
    let sent = ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap();
    for of_process in sent.resource_spans {
        let resource = of_process.resource.unwrap_or_default();
        let service = texts(resource.attributes).into_iter().find(|(key, _)| key == "service.name");
        let service = service.map(|(_, value)| value).unwrap_or_default();
        let spans = of_process.scope_spans.into_iter().flat_map(|scope| scope.spans);
        kept.lock().unwrap().extend(spans.map(|span| Span {
            service: service.clone(),
            kind: span.kind().as_str_name().to_owned(),
            name: span.name,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            failed: span.status.is_some_and(|status| status.code == 2),
            attributes: texts(span.attributes),
            events: span.events.into_iter().map(|e| (e.name, texts(e.attributes))).collect(),
        }));
    }
    Ok(Response::new(String::new()))
}

fn texts(attributes: Vec<KeyValue>) -> Vec<(String, String)> {
    let text = |pair: KeyValue| {
        let value = match pair.value.and_then(|value| value.value) {
            Some(Value::StringValue(text)) => text,
            Some(Value::IntValue(number)) => number.to_string(),
            Some(Value::DoubleValue(number)) => number.to_string(),
            other => format!("{other:?}"),
        };
        (pair.key, value)
    };
    attributes.into_iter().map(text).collect()
}

fn hex(bytes: &[u8]) -> String {
    domain::hex(bytes)
}
