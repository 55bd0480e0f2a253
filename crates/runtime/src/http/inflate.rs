//! Compressed bodies: inflated bit by bit, so that all limits hold for what comes out.

use std::io;

use actix_web::HttpMessage;
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::http::header;
use async_compression::tokio::bufread::GzipDecoder;
use contracts::{ApiError, ErrorCode};
use futures_util::TryStreamExt as _;
use tokio_util::io::{ReaderStream, StreamReader};

/// What is inflated at once, bytes.
const STEP: usize = 32 * 1024;

/// Lets handlers read a body with `Content-Encoding: gzip` as if it had none. What reads it stops at
/// its own limit, and no more than a step beyond that is ever in memory.
pub(super) fn inflate(request: &mut ServiceRequest) -> Result<(), ApiError> {
    let mut said = request.headers().get_all(header::CONTENT_ENCODING);
    let (first, more) = (said.next(), said.next());
    let Some(first) = first else { return Ok(()) };
    let name = first.to_str().unwrap_or("?").trim().to_ascii_lowercase();
    match (name.as_str(), more) {
        ("" | "identity", None) => {}
        ("gzip" | "x-gzip", None) => {
            let body = StreamReader::new(request.take_payload().map_err(io::Error::other));
            let inflated = ReaderStream::with_capacity(GzipDecoder::new(body), STEP);
            let payload = Box::pin(inflated.map_err(PayloadError::Io));
            request.set_payload(Payload::Stream { payload });
        }
        (name, _) => {
            let shown: String = name.chars().take(50).collect();
            return Err(ApiError::new(
                ErrorCode::BadRequest,
                format!(
                    "the body's `Content-Encoding` is `{}`: send it as it is, or compress it once with `gzip`",
                    shown.escape_debug()
                ),
            ));
        }
    }
    // Else the framework would inflate it once more, whole chunks at a time.
    request.headers_mut().remove(header::CONTENT_ENCODING);
    Ok(())
}
