//! The Open Inference Protocol V2 over REST: metadata, health, inference, the repository.

use std::collections::BTreeMap;

use actix_web::http::header;
use actix_web::web::{Bytes, Data, Json, Path};
use actix_web::{HttpRequest, HttpResponse, Responder};
use contracts::inference::Protocol;
use contracts::router::{Interface, PredictRequest, ServingState, SetEnabled, VersionState};
use contracts::{ApiError, Call, ErrorCode, Framed};
use domain::manifest::{Format, TensorSpec};
use domain::{ModelName, Version, VersionId};
use runtime::http::{Caller, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::aside;
use super::health::readiness;
use super::predict::{cache_wish, send, unit_or_remembered, whole_body};
use super::registry::{not_shown, parse_model};
use crate::Gateway;

/// The header that tells where the JSON of a binary body ends.
pub(super) const HEADER_LENGTH: &str = "inference-header-content-length";

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ServerMetadata {
    name: &'static str,
    version: &'static str,
    extensions: [&'static str; 2],
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Live {
    live: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServerReady)]
pub(super) struct Ready {
    ready: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelReady {
    name: String,
    ready: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelMetadata {
    name: String,
    /// Absent for who is not told of versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    versions: Option<Vec<VersionId>>,
    platform: &'static str,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct IndexRequest {
    /// Only versions that are ready.
    #[serde(default)]
    ready: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct IndexEntry {
    name: ModelName,
    /// Absent for who is not told of versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<VersionId>,
    state: ServingState,
    reason: String,
}

/// Server metadata.
#[utoipa::path(get, path = "/v2", tag = "v2", responses((status = 200, body = ServerMetadata)))]
pub(super) async fn server_metadata() -> impl Responder {
    Json(ServerMetadata {
        name: "decision-engine",
        version: env!("CARGO_PKG_VERSION"),
        extensions: ["binary_tensor_data", "model_repository"],
    })
}

/// Whether the process lives.
#[utoipa::path(get, path = "/v2/health/live", tag = "v2", responses((status = 200, body = Live)))]
pub(super) async fn live() -> impl Responder {
    Json(Live { live: true })
}

/// Whether predictions can be answered now.
#[utoipa::path(get, path = "/v2/health/ready", tag = "v2", responses((status = 200, body = Ready), (status = 503, body = Ready)))]
pub(super) async fn ready(gateway: Data<Gateway>, Caller(call): Caller) -> impl Responder {
    let ready = readiness(&gateway, call).await.is_ok_and(|readiness| readiness.ready);
    status_of(ready).json(Ready { ready })
}

/// A model's tensors, as its most used version has them.
#[utoipa::path(get, path = "/v2/models/{model}", tag = "v2", params(("model" = String, Path)), responses((status = 200, body = ModelMetadata)))]
pub(super) async fn model_metadata(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    name: Path<String>,
) -> Result<impl Responder, Problem> {
    Ok(Json(metadata(&gateway, call, parse_model(&name)?, None).await?))
}

/// A version's tensors.
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}", tag = "v2", params(("model" = String, Path), ("version" = String, Path)), responses((status = 200, body = ModelMetadata)))]
pub(super) async fn version_metadata(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    path: Path<(String, String)>,
) -> Result<impl Responder, Problem> {
    let (model, version) = parse(&path)?;
    Ok(Json(metadata(&gateway, call, model, Some(version)).await?))
}

/// Whether a model can answer.
#[utoipa::path(get, path = "/v2/models/{model}/ready", tag = "v2", params(("model" = String, Path)), responses((status = 200, body = ModelReady), (status = 503, body = ModelReady)))]
pub(super) async fn model_ready(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    name: Path<String>,
) -> Result<impl Responder, Problem> {
    Ok(readiness_of(&gateway, call, parse_model(&name)?, None).await?)
}

/// Whether a version can answer.
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}/ready", tag = "v2", params(("model" = String, Path), ("version" = String, Path)), responses((status = 200, body = ModelReady), (status = 503, body = ModelReady)))]
pub(super) async fn version_ready(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    path: Path<(String, String)>,
) -> Result<impl Responder, Problem> {
    let (model, version) = parse(&path)?;
    Ok(readiness_of(&gateway, call, model, Some(version)).await?)
}

/// Runs a model on tensors, in JSON or binary. The route chooses the version.
#[utoipa::path(post, path = "/v2/models/{model}/infer", tag = "v2", params(("model" = String, Path), ("Inference-Header-Content-Length" = Option<u64>, Header), ("X-User-Id" = Option<String>, Header), ("X-Model-Version" = Option<String>, Header)), request_body(content((Object = "application/json"), (Vec<u8> = "application/octet-stream"))), responses((status = 200, body = Object)))]
pub(super) async fn infer(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    request: HttpRequest,
    name: Path<String>,
    payload: actix_web::web::Payload,
) -> Result<HttpResponse, Problem> {
    Ok(run(&gateway, call, &request, parse_model(&name)?, None, payload).await?)
}

/// Runs one version on tensors, in JSON or binary.
#[utoipa::path(post, path = "/v2/models/{model}/versions/{version}/infer", tag = "v2", params(("model" = String, Path), ("version" = String, Path), ("Inference-Header-Content-Length" = Option<u64>, Header)), request_body(content((Object = "application/json"), (Vec<u8> = "application/octet-stream"))), responses((status = 200, body = Object)))]
pub(super) async fn infer_version(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    request: HttpRequest,
    path: Path<(String, String)>,
    payload: actix_web::web::Payload,
) -> Result<HttpResponse, Problem> {
    let (model, version) = parse(&path)?;
    Ok(run(&gateway, call, &request, model, Some(version), payload).await?)
}

/// Every registered version with its state.
#[utoipa::path(post, path = "/v2/repository/index", tag = "v2", request_body = Option<IndexRequest>, responses((status = 200, body = Vec<IndexEntry>)))]
pub(super) async fn repository_index(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    body: Bytes,
) -> Result<impl Responder, Problem> {
    let request: IndexRequest = optional(&body)?;
    let versions = readiness(&gateway, call).await?.versions;
    let (mut entries, mut hidden) = (Vec::new(), BTreeMap::new());
    for VersionState { target, state, reason, hidden: of_hidden } in versions {
        if of_hidden {
            // One entry for all of the model's: ready if one of them is.
            let best = hidden.entry(target.model).or_insert(state);
            if state == ServingState::Ready {
                *best = state;
            }
            continue;
        }
        let version = Some(target.version);
        entries.push(IndexEntry { name: target.model, version, state, reason });
    }
    entries.extend(hidden.into_iter().map(|(name, state)| {
        let (version, reason) = (None, String::new());
        IndexEntry { name, version, state, reason }
    }));
    entries.retain(|entry| !request.ready || entry.state == ServingState::Ready);
    Ok(Json(entries))
}

/// Loads all versions of a model and lets them be served again.
#[utoipa::path(post, path = "/v2/repository/models/{model}/load", tag = "v2", params(("model" = String, Path)), request_body = Option<Object>, responses((status = 200, description = "Loaded.")))]
pub(super) async fn repository_load(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    name: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    Ok(set_enabled(&gateway, call, &name, &body, true).await?)
}

/// Drains and frees all versions of a model; they answer 503 until loaded again.
#[utoipa::path(post, path = "/v2/repository/models/{model}/unload", tag = "v2", params(("model" = String, Path)), request_body = Option<Object>, responses((status = 200, description = "Unloaded.")))]
pub(super) async fn repository_unload(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    name: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    Ok(set_enabled(&gateway, call, &name, &body, false).await?)
}

async fn set_enabled(
    gateway: &Gateway,
    call: Call,
    name: &str,
    body: &[u8],
    enabled: bool,
) -> Result<HttpResponse, ApiError> {
    #[derive(Default, Deserialize)]
    struct Request {
        #[serde(default)]
        parameters: serde_json::Map<String, serde_json::Value>,
    }
    let request: Request = optional(body)?;
    // `unload_dependents: false` is what happens anyway; anything else would do nothing here.
    let does_nothing = |(name, value): &(&String, &serde_json::Value)| {
        !(name.as_str() == "unload_dependents" && **value == serde_json::Value::Bool(false))
    };
    if let Some((parameter, _)) = request.parameters.iter().find(does_nothing) {
        return Err(ApiError::at(
            format!("#/parameters/{parameter}"),
            "has no effect here: upload versions with `POST /api/v1/models/{model}/versions`",
        ));
    }
    let request = SetEnabled { model: parse_model(name)?, version: None, enabled };
    gateway.deps.router.set_enabled(call, request).await?;
    Ok(HttpResponse::Ok().finish())
}

async fn metadata(
    gateway: &Gateway,
    call: Call,
    model: ModelName,
    version: Option<VersionId>,
) -> Result<ModelMetadata, ApiError> {
    let detail = gateway.deps.router.model(call, model.clone()).await?;
    if let Some(interface) = detail.interface {
        return match version {
            None => Ok(hidden_metadata(&model, interface)),
            Some(_) => Err(not_shown(&model)),
        };
    }
    let most_used = detail
        .route
        .as_ref()
        .and_then(|route| route.arms.iter().max_by_key(|arm| arm.share_ppm).map(|arm| arm.version));
    let wanted = version.or(most_used);
    let found = detail.versions.iter().find(|known| Some(known.version) == wanted);
    let found: &Version = found.ok_or_else(|| {
        let what =
            version.map_or("any version".to_owned(), |version| format!("version `{version}`"));
        ApiError::new(ErrorCode::NotFound, format!("model `{model}` does not have {what}"))
    })?;
    let manifest = &found.manifest;
    let outputs = manifest.outputs.iter().map(|output| TensorSpec {
        name: output.name.clone(),
        datatype: output.datatype,
        shape: output.shape.clone(),
    });
    Ok(ModelMetadata {
        name: model.to_string(),
        versions: Some(match version {
            Some(version) => vec![version],
            None => detail.versions.iter().map(|known| known.version).collect(),
        }),
        platform: platform(manifest.format),
        inputs: manifest.inputs.clone(),
        outputs: outputs.collect(),
    })
}

fn hidden_metadata(model: &ModelName, interface: Interface) -> ModelMetadata {
    ModelMetadata {
        name: model.to_string(),
        versions: None,
        platform: platform(interface.format),
        inputs: interface.inputs,
        outputs: interface.outputs,
    }
}

fn platform(format: Format) -> &'static str {
    match format {
        Format::Onnx => "onnx_onnxv1",
        Format::Linfa => "linfa_json",
    }
}

async fn readiness_of(
    gateway: &Gateway,
    call: Call,
    model: ModelName,
    version: Option<VersionId>,
) -> Result<HttpResponse, ApiError> {
    let versions = readiness(gateway, call).await?.versions;
    if version.is_some() && versions.iter().any(|one| one.hidden && one.target.model == model) {
        return Err(not_shown(&model));
    }
    let mut states = versions
        .iter()
        .filter(|one| one.target.model == model)
        .filter(|one| version.is_none_or(|version| one.target.version == version))
        .peekable();
    if states.peek().is_none() {
        return Err(ApiError::new(ErrorCode::NotFound, format!("there is no model `{model}`")));
    }
    let ready = states.any(|one| one.state == ServingState::Ready);
    Ok(status_of(ready).json(ModelReady { name: model.to_string(), ready }))
}

async fn run(
    gateway: &Gateway,
    call: Call,
    request: &HttpRequest,
    model: ModelName,
    version: Option<VersionId>,
    payload: actix_web::web::Payload,
) -> Result<HttpResponse, ApiError> {
    let header_length = match request.headers().get(HEADER_LENGTH) {
        None => None,
        Some(value) => {
            let length = value.to_str().ok().and_then(|text| text.parse().ok());
            Some(length.ok_or_else(|| {
                ApiError::new(
                    ErrorCode::BadRequest,
                    "the header `Inference-Header-Content-Length` must be a number of bytes",
                )
            })?)
        }
    };
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let body = whole_body(request, &mut payload.into_inner()).await?;
    let (unit, remembered) = unit_or_remembered(gateway, request, None)?;
    let asked = PredictRequest {
        model,
        version: version.map_or_else(|| aside::version(request), |version| Ok(Some(version)))?,
        unit,
        protocol: Protocol::V2 { header_length },
        content_type: content_type.unwrap_or("application/json").to_owned(),
        cache: cache_wish(request),
        context: aside::context(request, BTreeMap::new()),
    };
    let mut answer = send(gateway, call, request, Framed { meta: asked, body }).await?;
    if let Some(remembered) = remembered {
        remembered.tell(&mut answer);
    }
    Ok(answer)
}

fn parse(path: &(String, String)) -> Result<(ModelName, VersionId), ApiError> {
    Ok((path.0.parse()?, path.1.parse()?))
}

/// A body that may be left out.
pub(super) fn optional<T: Default + for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, ApiError> {
    if matches!(body.trim_ascii(), b"" | b"null") {
        return Ok(T::default());
    }
    // Serde would take a list for an object whose members come in this order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(ApiError::new(ErrorCode::BadRequest, "the body must be a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| {
        ApiError::new(ErrorCode::BadRequest, format!("the body is not JSON as expected: {error}"))
    })
}

fn status_of(ready: bool) -> actix_web::HttpResponseBuilder {
    if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() }
}
