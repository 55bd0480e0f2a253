//! The HTTP kit: a server, internal endpoints, public routes with their roles, problem documents.

mod access;
mod caller;
mod client;
mod cors;
mod inflate;
mod internal;
mod observe;
mod problem;
mod server;
mod tls;

pub use access::{Access, Idempotency, PublicRoute, TimeLimits, matched_path, mount, public};
pub use caller::Caller;
pub use client::{TrustedProxies, client_address};
pub use cors::CorsSettings;
pub use internal::{InternalRoutes, bind};
pub use problem::{ErrorFace, Problem, problem_json};
pub use server::{App, Server, SetHeaders, prometheus_text};

/// Binds a service's endpoints to the methods of its trait:
/// `bind_all!(routes, api, { PREDICT => predict(request), JWKS => jwks() })`.
#[macro_export]
macro_rules! bind_all {
    ($routes:expr, $api:expr, { $($endpoint:expr => $method:ident($($request:ident)?)),+ $(,)? }) => {
        $({
            let api = ::std::sync::Arc::clone(&$api);
            $crate::http::bind($routes, &$endpoint, move |call, _request| {
                let api = ::std::sync::Arc::clone(&api);
                $(let $request = _request;)?
                async move { api.$method(call $(, $request)?).await }
            });
        })+
    };
}
