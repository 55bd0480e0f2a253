//! An endpoint between services: its path and types declared once. The server binds it, the client
//! calls it.
//!
//! Every endpoint is a `POST` with a JSON body and a JSON answer. The two that carry a payload
//! (predictions, model files) are [`Framed`]: a length, the JSON, then the payload untouched.

use std::marker::PhantomData;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{ApiError, ErrorCode};

/// A path with the types of its request and answer.
#[derive(Debug)]
pub struct Endpoint<Req, Res> {
    /// Where, such as `/internal/router/predict`.
    pub path: &'static str,
    /// Whether a call done twice is as good as one, so that a client may send it again where it
    /// cannot know whether the first one arrived.
    pub repeatable: bool,
    types: PhantomData<fn(Req) -> Res>,
}

impl<Req: Wire, Res: Wire> Endpoint<Req, Res> {
    /// Declares an endpoint.
    pub const fn new(path: &'static str) -> Self {
        Self { path, repeatable: false, types: PhantomData }
    }

    /// Declares an endpoint whose call may be sent again.
    pub const fn repeatable(path: &'static str) -> Self {
        Self { path, repeatable: true, types: PhantomData }
    }
}

/// What can be a request's or an answer's body.
pub trait Wire: Sized + Send + 'static {
    /// The body's content type.
    const CONTENT_TYPE: &'static str;

    /// The body.
    ///
    /// # Errors
    /// `internal` if it cannot be written.
    fn to_wire(&self) -> Result<Bytes, ApiError>;

    /// Reads the body.
    ///
    /// # Errors
    /// `bad_request` if it is not of this type.
    fn from_wire(body: Bytes) -> Result<Self, ApiError>;
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Wire for T {
    const CONTENT_TYPE: &'static str = "application/json";

    fn to_wire(&self) -> Result<Bytes, ApiError> {
        serde_json::to_vec(self).map(Bytes::from).map_err(|_cause| ApiError::internal())
    }

    fn from_wire(body: Bytes) -> Result<Self, ApiError> {
        serde_json::from_slice(&body).map_err(not_of_this_type)
    }
}

/// JSON with an opaque payload behind it. On the wire: the JSON's length (4 bytes, little-endian),
/// the JSON, the payload.
#[derive(Debug, Clone)]
pub struct Framed<M> {
    /// What is said of the payload.
    pub meta: M,
    /// The payload.
    pub body: Bytes,
}

impl<M: Serialize + DeserializeOwned + Send + 'static> Wire for Framed<M> {
    const CONTENT_TYPE: &'static str = "application/vnd.decision-engine.framed";

    fn to_wire(&self) -> Result<Bytes, ApiError> {
        let meta = serde_json::to_vec(&self.meta).map_err(|_cause| ApiError::internal())?;
        let length = u32::try_from(meta.len()).map_err(|_cause| ApiError::internal())?;
        let mut wire = BytesMut::with_capacity(4 + meta.len() + self.body.len());
        wire.put_u32_le(length);
        wire.put_slice(&meta);
        wire.put_slice(&self.body);
        Ok(wire.freeze())
    }

    fn from_wire(mut body: Bytes) -> Result<Self, ApiError> {
        let cut_short = || ApiError::new(ErrorCode::BadRequest, "framed body is cut short");
        if body.len() < 4 {
            return Err(cut_short());
        }
        let head = body.split_to(4);
        let length = head.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        if body.len() < length {
            return Err(cut_short());
        }
        let meta = body.split_to(length);
        Ok(Self { meta: serde_json::from_slice(&meta).map_err(not_of_this_type)?, body })
    }
}

fn not_of_this_type(error: serde_json::Error) -> ApiError {
    ApiError::new(ErrorCode::BadRequest, format!("request body does not fit: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framed_comes_back_as_it_went() {
        let sent = Framed { meta: vec!["é".to_owned()], body: Bytes::from_static(b"\0\xff") };
        let got = Framed::<Vec<String>>::from_wire(sent.to_wire().unwrap()).unwrap();
        assert_eq!((got.meta, got.body), (sent.meta, sent.body));
    }

    #[test]
    fn a_frame_cut_short_is_refused() {
        for bad in [&b""[..], b"\x01\0\0", b"\xff\0\0\0{}"] {
            assert!(Framed::<Vec<String>>::from_wire(Bytes::copy_from_slice(bad)).is_err());
        }
    }
}
