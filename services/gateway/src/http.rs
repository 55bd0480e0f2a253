//! Every public route with its role, in one table.

mod accounts;
mod audit;
mod auth;
mod docs;
mod door;
mod face;
#[cfg(test)]
mod fuzz;
mod headers;
mod health;
mod oidc;
mod outcomes;
mod predict;
mod registry;
mod repeats;
mod upload;
mod v2;

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::web::{Data, ServiceConfig};
use domain::Role;
use runtime::Authenticator;
use runtime::http::Access::{Anyone, Roles, SignedIn};
use runtime::http::{PublicRoute, TimeLimits, mount, public};

use crate::Gateway;

pub use docs::openapi;
pub use face::error_face;
pub(crate) use headers::set_headers;

const ADMIN: &[Role] = &[Role::Admin];
const ENGINEER: &[Role] = &[Role::Engineer];
const ANALYST: &[Role] = &[Role::Analyst];
const CLIENT: &[Role] = &[Role::Client];

// The routes whose requests are counted as predictions.
const PREDICT: &str = "/api/v1/models/{model}/predict";
const INFER: &str = "/v2/models/{model}/infer";
const INFER_VERSION: &str = "/v2/models/{model}/versions/{version}/infer";
const PREDICT_DEFAULT: &str = "/predict";

/// The public API: where, for whom, what answers. A route that is not here is not there.
pub fn routes() -> Vec<PublicRoute> {
    let get = Method::GET;
    let post = Method::POST;
    let put = Method::PUT;
    let delete = Method::DELETE;
    vec![
        // Predictions first: a request is compared with one path after the other.
        public(post.clone(), PREDICT, Roles(CLIENT), predict::predict),
        public(post.clone(), INFER, Roles(CLIENT), v2::infer),
        public(post.clone(), INFER_VERSION, Roles(CLIENT), v2::infer_version),
        public(post.clone(), PREDICT_DEFAULT, Roles(CLIENT), predict::predict_default),
        public(get.clone(), "/livez", Anyone, health::livez),
        public(get.clone(), "/readyz", Anyone, health::readyz),
        public(get.clone(), "/healthz", Anyone, health::livez),
        public(get.clone(), "/health", Anyone, health::health),
        public(get.clone(), "/metrics", Anyone, health::metrics),
        public(get.clone(), "/openapi.json", Anyone, docs::document),
        public(get.clone(), "/docs", Anyone, docs::redirect),
        public(get.clone(), "/.well-known/jwks.json", Anyone, auth::jwks),
        public(post.clone(), "/api/v1/auth/token", Anyone, auth::token).secret(),
        public(get.clone(), "/api/v1/auth/oidc/login", Anyone, oidc::login).secret(),
        public(get.clone(), "/api/v1/auth/oidc/callback", Anyone, oidc::callback).secret(),
        public(get.clone(), "/api/v1/auth/me", SignedIn, auth::me),
        public(post.clone(), "/api/v1/auth/refresh", Anyone, auth::refresh).secret(),
        public(post.clone(), "/api/v1/auth/logout", SignedIn, auth::logout),
        public(put.clone(), "/api/v1/auth/password", SignedIn, auth::change_password).secret(),
        public(post.clone(), "/api/v1/auth/signing-keys", Roles(ADMIN), auth::rotate_signing_key),
        public(get.clone(), "/api/v1/users", Roles(ADMIN), accounts::users),
        public(post.clone(), "/api/v1/users", Roles(ADMIN), accounts::create_user).once(),
        public(Method::PATCH, "/api/v1/users/{username}", Roles(ADMIN), accounts::change_user),
        public(get.clone(), "/api/v1/api-keys", Roles(ADMIN), accounts::api_keys),
        public(post.clone(), "/api/v1/api-keys", Roles(ADMIN), accounts::create_api_key).secret(),
        public(delete.clone(), "/api/v1/api-keys/{id}", Roles(ADMIN), accounts::revoke_api_key),
        public(
            post.clone(),
            "/api/v1/api-keys/{id}/rotate",
            Roles(ADMIN),
            accounts::rotate_api_key,
        )
        .secret(),
        public(get.clone(), "/api/v1/audit", Roles(ANALYST), audit::audit),
        public(get.clone(), "/api/v1/audit/verify", Roles(ADMIN), audit::verify),
        public(get.clone(), "/api/v1/models", SignedIn, registry::models),
        public(post.clone(), "/api/v1/models", Roles(ENGINEER), registry::create_model).once(),
        public(get.clone(), "/api/v1/models/{model}", SignedIn, registry::model),
        public(get.clone(), "/api/v1/models/{model}/versions", SignedIn, registry::versions),
        public(
            post.clone(),
            "/api/v1/models/{model}/versions",
            Roles(ENGINEER),
            upload::create_version,
        )
        .upload()
        .once(),
        public(
            get.clone(),
            "/api/v1/models/{model}/versions/{version}",
            SignedIn,
            registry::version,
        ),
        public(
            get.clone(),
            "/api/v1/models/{model}/versions/{version}/card",
            SignedIn,
            registry::card,
        ),
        public(
            put.clone(),
            "/api/v1/models/{model}/aliases/{alias}",
            Roles(ENGINEER),
            registry::set_alias,
        ),
        public(
            delete.clone(),
            "/api/v1/models/{model}/aliases/{alias}",
            Roles(ENGINEER),
            registry::remove_alias,
        ),
        public(get.clone(), "/api/v1/models/{model}/route", SignedIn, registry::route),
        public(put.clone(), "/api/v1/models/{model}/route", Roles(ENGINEER), registry::put_route),
        public(get.clone(), "/api/v1/models/{model}/policy", Roles(ANALYST), registry::policy),
        public(put.clone(), "/api/v1/models/{model}/policy", Roles(ENGINEER), registry::put_policy),
        public(
            get.clone(),
            "/api/v1/models/{model}/metrics-summary",
            Roles(ANALYST),
            outcomes::metrics_summary,
        ),
        public(get.clone(), "/api/v1/predictions/{id}", SignedIn, predict::prediction),
        public(
            get.clone(),
            "/api/v1/predictions/{id}/feedback",
            Roles(ANALYST),
            outcomes::feedback_of,
        ),
        public(post.clone(), "/api/v1/feedback", Roles(CLIENT), outcomes::submit_feedback).once(),
        public(get.clone(), "/v2", Anyone, v2::server_metadata),
        public(get.clone(), "/v2/health/live", Anyone, v2::live),
        public(get.clone(), "/v2/health/ready", Anyone, v2::ready),
        public(get.clone(), "/v2/models/{model}", SignedIn, v2::model_metadata),
        public(get.clone(), "/v2/models/{model}/ready", Anyone, v2::model_ready),
        public(
            get.clone(),
            "/v2/models/{model}/versions/{version}",
            SignedIn,
            v2::version_metadata,
        ),
        public(
            get.clone(),
            "/v2/models/{model}/versions/{version}/ready",
            Anyone,
            v2::version_ready,
        ),
        public(post.clone(), "/v2/repository/index", SignedIn, v2::repository_index),
        public(
            post.clone(),
            "/v2/repository/models/{model}/load",
            Roles(ENGINEER),
            v2::repository_load,
        ),
        public(
            post,
            "/v2/repository/models/{model}/unload",
            Roles(ENGINEER),
            v2::repository_unload,
        ),
    ]
}

/// Puts the public API in place.
pub fn configure(
    config: &mut ServiceConfig,
    gateway: &Arc<Gateway>,
    authenticator: &Arc<Authenticator>,
    limits: TimeLimits,
) {
    predict::begin_counters(&[PREDICT, INFER, INFER_VERSION, PREDICT_DEFAULT]);
    config.app_data(Data::from(Arc::clone(gateway)));
    mount(config, door::put_before(routes(), gateway, limits), authenticator, limits);
    config.service(docs::page());
}
