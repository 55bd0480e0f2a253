//! What a request for a prediction says beside its input: who asks (`unit`), in what context, and
//! which version it wants. What stands in a body stays there: the rest of it is the model's business.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Bytes;
use contracts::pointer::step;
use contracts::{ApiError, ErrorCode, Faults};
use domain::targeting::{Context, is_routing_header};
use domain::{VersionId, hex};
use memchr::memmem;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

use crate::settings::{ContextSettings, UnitCookie};

/// Names the version that is wanted.
const VERSION: &str = "x-model-version";
/// Tells the unit that was made for who has none.
const UNIT: &str = "x-unit-id";

/// What a body says.
#[derive(Debug, Default)]
pub(super) struct Aside {
    pub(super) unit: Option<String>,
    pub(super) fields: BTreeMap<String, Value>,
}

/// Reads what stands beside the input of a JSON body. A body that is no JSON, or that names something
/// twice, is refused by the model, with the place of the fault.
pub(super) fn of_body(body: &[u8], limits: &ContextSettings) -> Result<Aside, ApiError> {
    #[derive(Deserialize)]
    struct Peek<'a> {
        unit: Option<Value>,
        #[serde(borrow)]
        context: Option<&'a RawValue>,
    }
    let names = [&b"\"unit\""[..], b"\"context\""];
    if !names.iter().any(|name| memmem::find(body, name).is_some()) {
        return Ok(Aside::default());
    }
    let Ok(Peek { unit, context }) = serde_json::from_slice::<Peek<'_>>(body) else {
        return Ok(Aside::default());
    };
    let unit = match unit {
        None | Some(Value::Null) => None,
        Some(Value::String(unit)) => Some(unit),
        Some(other) => {
            return Err(ApiError::at("#/unit", format!("must be a text, got `{other}`")));
        }
    };
    let fields = match context.map(RawValue::get) {
        None | Some("null") => BTreeMap::new(),
        Some(text) => fields(text, limits)?,
    };
    Ok(Aside { unit, fields })
}

/// Reads a context that is a part of a form.
pub(super) fn of_part(
    part: &Bytes,
    limits: &ContextSettings,
) -> Result<BTreeMap<String, Value>, ApiError> {
    let text = std::str::from_utf8(part);
    fields(text.map_err(|_not_utf8| ApiError::at("#/context", "must be UTF-8"))?, limits)
}

/// A flat object of texts, numbers and truth values.
fn fields(text: &str, limits: &ContextSettings) -> Result<BTreeMap<String, Value>, ApiError> {
    let most = limits.max_bytes;
    if text.len() > most {
        let detail = format!(
            "has {} bytes, more than the {most} that `gateway.context.max_bytes` allows",
            text.len()
        );
        return Err(ApiError::at("#/context", detail));
    }
    let fields: BTreeMap<String, Value> = serde_json::from_str(text).map_err(|_no_object| {
        ApiError::at("#/context", "must be an object, such as `{\"country\": \"PT\"}`")
    })?;
    let most = limits.max_fields;
    if fields.len() > most {
        let detail = format!(
            "holds {} fields, more than the {most} that `gateway.context.max_fields` allows",
            fields.len()
        );
        return Err(ApiError::at("#/context", detail));
    }
    let mut faults = Faults::default();
    for (key, value) in &fields {
        let kind = match value {
            Value::String(_) | Value::Number(_) | Value::Bool(_) => continue,
            Value::Null => "null",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        let detail = format!("must be a text, a number, `true` or `false`, got {kind}");
        faults.add(step("#/context", key), detail);
    }
    faults.check()?;
    Ok(fields)
}

/// The context of a request: these fields, and the headers that rules may look at.
pub(super) fn context(request: &HttpRequest, fields: BTreeMap<String, Value>) -> Context {
    let named = request.headers().iter().filter(|(name, _)| is_routing_header(name.as_str()));
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = named.map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    Context { fields, headers }
}

/// The version that the header names.
pub(super) fn version(request: &HttpRequest) -> Result<Option<VersionId>, ApiError> {
    let Some(value) = request.headers().get(VERSION) else { return Ok(None) };
    let version = value.to_str().ok().and_then(|text| text.parse().ok());
    version.map(Some).ok_or_else(|| {
        let shown = String::from_utf8_lossy(value.as_bytes());
        let shown: String = shown.chars().take(100).collect();
        ApiError::new(
            ErrorCode::BadRequest,
            format!(
                "the header `X-Model-Version` must be a version's number, such as `3`, got `{}`",
                shown.escape_debug()
            ),
        )
    })
}

/// A unit for who names none, kept in a cookie.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) unit: String,
    cookie: String,
}

/// The unit that a request's cookie has, or a new one, if the setting `gateway.unit_cookie` names a
/// cookie.
pub(super) fn remembered(
    request: &HttpRequest,
    settings: &UnitCookie,
) -> Result<Option<Remembered>, ApiError> {
    let name = settings.name.as_str();
    if name.is_empty() {
        return Ok(None);
    }
    let sent = request.headers().get_all(header::COOKIE).filter_map(|line| line.to_str().ok());
    let known = sent.flat_map(|line| line.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name && is_ours(value)).then(|| value.to_owned())
    });
    let unit = match known {
        Some(unit) => unit,
        None => new_unit()?,
    };
    let secure = if settings.secure { "; Secure" } else { "" };
    let seconds = settings.max_age_s;
    let cookie =
        format!("{name}={unit}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax{secure}");
    Ok(Some(Remembered { unit, cookie }))
}

impl Remembered {
    /// Tells the client, so that it is the same unit next time.
    pub(super) fn tell(&self, answer: &mut actix_web::HttpResponse) {
        let headers = answer.headers_mut();
        if let (Ok(unit), Ok(cookie)) =
            (HeaderValue::from_str(&self.unit), HeaderValue::from_str(&self.cookie))
        {
            headers.insert(header::HeaderName::from_static(UNIT), unit);
            headers.append(header::SET_COOKIE, cookie);
        }
    }
}

fn is_ours(unit: &str) -> bool {
    unit.len() == 32 && unit.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

fn new_unit() -> Result<String, ApiError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the system gives no random bytes");
        ApiError::internal()
    })?;
    Ok(hex(&bytes))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use serde_json::json;

    use super::*;

    const LIMITS: ContextSettings = ContextSettings { max_bytes: 60, max_fields: 3 };

    fn faults(body: &str) -> Vec<String> {
        let error = of_body(body.as_bytes(), &LIMITS).unwrap_err();
        assert_eq!(error.code, ErrorCode::Unprocessable);
        error.errors.into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn unit_and_context_are_read_and_the_rest_is_not() {
        let body = br#"{"features": [1], "unit": "u", "context": {"a": 1, "b": "x", "c": true}}"#;
        let read = of_body(body, &LIMITS).unwrap();
        assert_eq!(read.unit.as_deref(), Some("u"));
        assert_eq!(json!(read.fields), json!({"a": 1, "b": "x", "c": true}));
        for none in
            [&b"{\"features\": [1]}"[..], b"{\"unit\": null, \"context\": null}", b"\"unit\""]
        {
            let read = of_body(none, &LIMITS).unwrap();
            assert!(read.unit.is_none() && read.fields.is_empty());
        }
    }

    #[test]
    fn a_context_that_is_not_flat_or_too_large_is_refused_with_its_places() {
        let odd = r#"{"context": {"a": null, "b/c": [1], "d": {"e": 1}}}"#;
        assert_eq!(faults(odd), ["#/context/a", "#/context/b~1c", "#/context/d"]);
        assert_eq!(faults(r#"{"context": [1]}"#), ["#/context"]);
        assert_eq!(faults(r#"{"context": {"a":1,"b":2,"c":3,"d":4}}"#), ["#/context"]);
        let long = format!("{{\"context\": {{\"a\": \"{}\"}}}}", "x".repeat(60));
        assert_eq!(faults(&long), ["#/context"]);
        assert_eq!(faults(r#"{"unit": 7}"#), ["#/unit"]);
    }

    #[test]
    fn headers_that_rules_may_look_at_are_passed_on_and_no_others() {
        let request = TestRequest::default()
            .insert_header(("X-Tier", "gold"))
            .insert_header(("User-Agent", "curl"))
            .insert_header(("X-Api-Key", "secret"))
            .insert_header(("Authorization", "Bearer secret"))
            .to_http_request();
        let context = context(&request, BTreeMap::new());
        assert_eq!(json!(context.headers), json!({"user-agent": "curl", "x-tier": "gold"}));
    }

    #[test]
    fn a_version_is_a_number() {
        let asks = |text: &str| {
            let request = TestRequest::default().insert_header((VERSION, text));
            version(&request.to_http_request())
        };
        assert_eq!(asks("3").unwrap(), VersionId::new(3));
        assert_eq!(asks("champion").unwrap_err().code, ErrorCode::BadRequest);
        assert_eq!(version(&TestRequest::default().to_http_request()).unwrap(), None);
    }

    #[test]
    fn a_cookie_of_ours_is_the_unit_and_any_other_is_not() {
        let settings =
            UnitCookie { name: "unit".to_owned().try_into().unwrap(), max_age_s: 60, secure: true };
        let with = |cookie: &str| {
            let request = TestRequest::default().insert_header((header::COOKIE, cookie));
            remembered(&request.to_http_request(), &settings).unwrap().unwrap()
        };
        let ours = "0123456789abcdef0123456789abcdef";
        assert_eq!(with(&format!("a=b; unit={ours}")).unit, ours);
        let made = with("unit=admin");
        assert!(is_ours(&made.unit), "{made:?}");
        assert!(made.cookie.ends_with("; Max-Age=60; Path=/; HttpOnly; SameSite=Lax; Secure"));
        assert_ne!(made.unit, with("").unit);
        let off = UnitCookie { name: String::new().try_into().unwrap(), ..settings };
        assert!(remembered(&TestRequest::default().to_http_request(), &off).unwrap().is_none());
    }
}
