//! Multipart bodies that nobody meant: read, or refused in our words.

use std::time::Duration;

use actix_multipart::Multipart;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use actix_web::web::Bytes;
use contracts::ErrorCode;
use futures_util::stream;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use testkit::fuzz::{cases, mutated};

use super::{predict, upload};

const LIMIT: usize = 64 * 1024;

/// The body in pieces of this size, as a network would bring it.
fn multipart(content_type: &str, body: Vec<u8>, piece: usize) -> Option<Multipart> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).ok()?);
    let pieces: Vec<_> = body
        .chunks(piece)
        .map(|piece| Ok::<_, actix_web::error::PayloadError>(Bytes::copy_from_slice(piece)))
        .collect();
    Some(Multipart::new(&headers, stream::iter(pieces)))
}

#[test]
fn a_strange_multipart_body_is_read_or_refused() {
    let body = b"--limit\r\nContent-Disposition: form-data; name=\"manifest\"\r\nContent-Type: application/json\r\n\r\n{\"a\":1}\r\n--limit\r\nContent-Disposition: form-data; name=\"file\"; filename=\"model.onnx\"\r\nContent-Type: application/octet-stream\r\nContent-Length: 5\r\n\r\nbytes\r\n--limit\r\nContent-Disposition: form-data; name=\"unit\"\r\n\r\nsomebody\r\n--limit--\r\n";
    let types = prop_oneof![
        6 => Just("multipart/form-data; boundary=limit".to_owned()),
        1 => mutated(b"multipart/form-data; boundary=limit".to_vec())
            .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ];
    let strange = (types, mutated(body.to_vec()), 1..400_usize);
    let system = actix_web::rt::System::new();
    let whole = "all of the body is there";
    let soon = Duration::from_secs(5);
    let ours = |code| {
        matches!(code, ErrorCode::BadRequest | ErrorCode::Unprocessable | ErrorCode::TooLarge)
    };
    TestRunner::new(cases(2000))
        .run(&strange, |(content_type, body, piece)| {
            let parts = || multipart(&content_type, body.clone(), piece);
            let (Some(upload), Some(form)) = (parts(), parts()) else { return Ok(()) };
            let (upload, form) = system.block_on(async {
                let upload = tokio::time::timeout(soon, upload::read(upload, LIMIT)).await;
                let form = tokio::time::timeout(soon, predict::read_form(form, LIMIT)).await;
                (upload.expect(whole), form.expect(whole))
            });
            for error in [upload.err(), form.err()].into_iter().flatten() {
                prop_assert!(ours(error.code), "{error:?}");
            }
            Ok(())
        })
        .unwrap();
}
