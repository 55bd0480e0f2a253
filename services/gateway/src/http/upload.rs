//! Uploading a version: a multipart body becomes a manifest and files.

use actix_multipart::{Field, Multipart};
use actix_web::web::{Bytes, BytesMut, Data, Path};
use actix_web::{HttpResponse, Responder};
use contracts::router::{FilePart, NewVersion};
use contracts::{ApiError, Call, ErrorCode, Framed};
use domain::Version;
use futures_util::TryStreamExt;
use runtime::http::{Caller, Problem};
use serde_json::Value;
use utoipa::ToSchema;

use super::registry::parse_model;
use crate::Gateway;

/// The parts of an upload.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only for the document")]
pub(super) struct Upload {
    /// Any part of a manifest, as JSON. What it leaves out is read from the graph.
    manifest: Option<String>,
    /// One or more files with their names: `model.onnx`, `tokenizer.json`, `labels.json`.
    #[schema(value_type = Vec<String>, format = Binary, content_media_type = "application/octet-stream")]
    file: Vec<u8>,
}

/// Registers a version from its files. The registry counts its number. A file that does not load
/// never becomes a version.
#[utoipa::path(post, path = "/api/v1/models/{model}/versions", tag = "registry", params(("model" = String, Path)), request_body(content = Upload, content_type = "multipart/form-data"), responses((status = 201, body = Version)))]
pub(super) async fn create_version(
    gateway: Data<Gateway>,
    Caller(call): Caller,
    name: Path<String>,
    parts: Multipart,
) -> Result<impl Responder, Problem> {
    let model = parse_model(&name)?;
    // Before the body is read: an unknown model is worth no upload.
    gateway.deps.router.model(call.clone(), model.clone()).await?;
    let (manifest, files) = read(parts, gateway.max_upload_bytes).await?;
    let mut body = BytesMut::new();
    let mut listed = Vec::new();
    for (name, bytes) in files {
        listed.push(FilePart { name, bytes: bytes.len() as u64 });
        body.extend_from_slice(&bytes);
    }
    let meta = NewVersion { model, manifest, files: listed };
    let request = Framed { meta, body: body.freeze() };
    let version = create(&gateway, call, request).await?;
    Ok(HttpResponse::Created().json(version))
}

async fn create(
    gateway: &Gateway,
    call: Call,
    request: Framed<NewVersion>,
) -> Result<Version, ApiError> {
    gateway.deps.router.create_version(call, request).await
}

pub(super) type Files = Vec<(String, Bytes)>;

pub(super) async fn read(
    mut parts: Multipart,
    limit: usize,
) -> Result<(Option<Value>, Files), ApiError> {
    let mut manifest = None;
    let mut files = Vec::new();
    let mut left = limit;
    while let Some(part) = parts.try_next().await.map_err(|error| malformed(&error))? {
        let name = part.name().unwrap_or_default().to_owned();
        let filename =
            part.content_disposition().and_then(|is| is.get_filename().map(str::to_owned));
        let bytes = read_part(part, limit, &mut left).await?;
        match (name.as_str(), filename) {
            ("manifest", _) => {
                manifest = Some(serde_json::from_slice(&bytes).map_err(|error| {
                    ApiError::at("#/manifest", format!("is not JSON: {error}"))
                })?);
            }
            ("file", Some(filename)) => files.push((filename, bytes)),
            ("file", None) => {
                return Err(ApiError::at(
                    "#/file",
                    "has no file name: send it as `file=@model.onnx`",
                ));
            }
            (other, _) => {
                return Err(ApiError::at(
                    format!("#/{}", other.escape_debug()),
                    "is not a part of an upload: send `file` and, if you like, `manifest`",
                ));
            }
        }
    }
    Ok((manifest, files))
}

/// Reads one part within what is left of a limit.
pub(super) async fn read_part(
    mut part: Field,
    limit: usize,
    left: &mut usize,
) -> Result<Bytes, ApiError> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = part.try_next().await.map_err(|error| malformed(&error))? {
        *left = left.checked_sub(chunk.len()).ok_or_else(|| {
            ApiError::new(
                ErrorCode::TooLarge,
                format!("the body has more than the {limit} bytes allowed: see the settings `http.max_body_bytes` and `http.max_upload_bytes`"),
            )
        })?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

pub(super) fn malformed(error: &actix_multipart::MultipartError) -> ApiError {
    ApiError::new(ErrorCode::BadRequest, format!("the multipart body cannot be read: {error}"))
}
