//! The headers that every answer carries, for browsers and caches.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// What is no page runs nothing and is shown in no frame.
const NO_PAGE: &str = "default-src 'none'; frame-ancestors 'none'";
/// The page at `/docs/` uses its own files and asks this server; it sets styles and small pictures
/// in its markup.
const DOCS_PAGE: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Sets them. What a handler has set stays.
pub(crate) fn set_headers(request: &HttpRequest, headers: &mut HeaderMap) {
    let path = request.path();
    let policy = if path.starts_with("/docs/") { DOCS_PAGE } else { NO_PAGE };
    set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(headers, header::X_FRAME_OPTIONS, "DENY");
    set(headers, header::REFERRER_POLICY, "no-referrer");
    set(headers, header::CONTENT_SECURITY_POLICY, policy);
    // Who asks, what for and what came of it: no proxy and no browser keeps it.
    if path.starts_with("/api/") || path.starts_with("/v2/models/") || path == "/predict" {
        set(headers, header::CACHE_CONTROL, "no-store");
    }
    if request.app_config().secure() {
        set(headers, header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    if !headers.contains_key(&name) {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
