//! The public API as verbs.

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// The boundary of our multipart bodies; long enough not to occur in a file by chance.
const BOUNDARY: &str = "----e2e-6f1d2c9b8a7e5f403122";

/// A caller of the public API.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base_url: String,
    token: Option<String>,
}

/// A version to be uploaded.
#[derive(Debug, Clone, Default)]
pub struct Upload {
    /// What the author says of it.
    pub manifest: Option<Value>,
    /// Names and bytes.
    pub files: Vec<(String, Bytes)>,
}

/// What the engine answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Client {
    pub(crate) fn new(http: reqwest::Client, base_url: String, token: Option<String>) -> Self {
        token.iter().for_each(|token| crate::secrets::remember(token));
        Self { http, base_url, token }
    }

    /// The same caller at another address.
    #[must_use]
    pub fn at(&self, base_url: &str) -> Self {
        Self { base_url: base_url.to_owned(), ..self.clone() }
    }

    /// The token it calls with.
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    /// A request with the caller's token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base_url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request; panics if no answer comes.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.unwrap()
    }

    /// Sends a request.
    ///
    /// # Errors
    /// If no whole answer comes, as when the engine was killed.
    pub async fn try_send(&self, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, body: response.bytes().await? })
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// `POST` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// `PUT` with a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    /// `POST` with any body.
    pub async fn post_bytes(&self, path: &str, kind: &str, body: impl Into<Bytes>) -> Answer {
        let request = self.request(Method::POST, path).header(CONTENT_TYPE, kind);
        self.send(request.body(body.into())).await
    }

    /// Registers a model.
    pub async fn create_model(&self, name: &str) -> Answer {
        self.post("/api/v1/models", &json!({"name": name})).await
    }

    /// Registers a version.
    pub async fn upload_version(&self, model: &str, upload: &Upload) -> Answer {
        let path = format!("/api/v1/models/{model}/versions");
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        self.post_bytes(&path, &kind, upload.body()).await
    }

    /// Registers a version once, however often this is sent with the same key.
    pub async fn upload_once(&self, model: &str, upload: &Upload, key: &str) -> Answer {
        let request = self
            .request(Method::POST, &format!("/api/v1/models/{model}/versions"))
            .header(CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}"))
            .header("Idempotency-Key", key);
        self.send(request.body(upload.body())).await
    }

    /// `POST` with a JSON body that is done once, however often it is sent with the same key.
    pub async fn post_once(&self, path: &str, body: &Value, key: &str) -> Answer {
        let request = self.request(Method::POST, path).header("Idempotency-Key", key);
        self.send(request.json(body)).await
    }

    /// Registers a model with its first version; panics if either is refused.
    pub async fn create_model_with(&self, name: &str, upload: &Upload) {
        self.create_model(name).await.expect_status(201);
        self.upload_version(name, upload).await.expect_status(201);
    }

    /// Asks a model in our own form.
    pub async fn predict(&self, model: &str, body: &Value) -> Answer {
        self.post(&format!("/api/v1/models/{model}/predict"), body).await
    }

    /// Asks a model with a file of a form.
    pub async fn predict_file(&self, model: &str, name: &str, kind: &str, file: Bytes) -> Answer {
        let mut body = Vec::new();
        part(&mut body, "file", Some(name), kind, &file);
        close(&mut body);
        let path = format!("/api/v1/models/{model}/predict");
        self.post_bytes(&path, &format!("multipart/form-data; boundary={BOUNDARY}"), body).await
    }

    /// Asks a model over the V2 protocol, in JSON.
    pub async fn infer(&self, model: &str, body: &Value) -> Answer {
        self.post(&format!("/v2/models/{model}/infer"), body).await
    }

    /// Asks a model over the V2 protocol, with binary tensors after the JSON.
    pub async fn infer_binary(&self, model: &str, header: &Value, tensors: &[u8]) -> Answer {
        let mut body = header.to_string().into_bytes();
        let length = body.len();
        body.extend_from_slice(tensors);
        let request = self
            .request(Method::POST, &format!("/v2/models/{model}/infer"))
            .header(CONTENT_TYPE, "application/octet-stream")
            .header("Inference-Header-Content-Length", length);
        self.send(request.body(body)).await
    }

    /// Replaces a route: versions with their weights.
    pub async fn put_route(&self, model: &str, arms: &[(u32, f64)]) -> Answer {
        let arm = |(version, weight): &(u32, f64)| json!({"version": version.to_string(), "weight": weight});
        let arms: Vec<Value> = arms.iter().map(arm).collect();
        self.put(&format!("/api/v1/models/{model}/route"), &json!({"arms": arms})).await
    }

    /// The record of a prediction.
    pub async fn prediction(&self, id: &str) -> Answer {
        self.get(&format!("/api/v1/predictions/{id}")).await
    }
}

impl Upload {
    fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        if let Some(manifest) = &self.manifest {
            let bytes = manifest.to_string().into_bytes();
            part(&mut body, "manifest", None, "application/json", &bytes);
        }
        for (name, bytes) in &self.files {
            part(&mut body, "file", Some(name), "application/octet-stream", bytes);
        }
        close(&mut body);
        body
    }
}

fn part(body: &mut Vec<u8>, name: &str, file: Option<&str>, kind: &str, bytes: &[u8]) {
    let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\nContent-Type: {kind}\r\n\r\n"
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(bytes);
    body.extend_from_slice(b"\r\n");
}

fn close(body: &mut Vec<u8>) {
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error}: not JSON: {}", self.text()),
        }
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Panics unless this is the status.
    #[track_caller]
    pub fn expect_status(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// Panics unless this is a problem document with this status and code, whose text or one of
    /// whose pointers holds each of `words`.
    #[track_caller]
    pub fn expect_problem(&self, status: u16, code: &str, words: &[&str]) {
        self.expect_status(status);
        let kind = self.header("content-type");
        assert_eq!(kind, "application/problem+json", "{}", self.text());
        let body = self.json();
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["status"], status, "{body}");
        let id = body["request_id"].as_str().unwrap_or_default();
        assert!(!id.is_empty() && id == self.header("x-request-id"), "{body}");
        let said = format!("{} {}", body["detail"].as_str().unwrap_or_default(), body["errors"]);
        for word in words {
            assert!(said.contains(word), "`{word}` is not in: {body}");
        }
    }
}
