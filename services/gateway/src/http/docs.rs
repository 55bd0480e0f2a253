//! The API's description: `/openapi.json`, and a page to read and try it.

use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::{HttpResponse, Responder};
use contracts::FieldError;
use runtime::http::Access;
use serde_json::{Value, json};
use utoipa::{OpenApi, ToSchema};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{
    accounts, audit, auth, events, experiments, explain, health, oidc, outcomes, predict, registry,
    rollback, rollouts, routes, shadows, upload, v2,
};

/// How every failure looks (RFC 9457).
#[derive(ToSchema)]
#[expect(dead_code, reason = "only for the document")]
struct Problem {
    /// Always `about:blank`: the code says what kind it is.
    r#type: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened and how to mend it.
    detail: String,
    /// This occurrence: `urn:request:<request id>`.
    instance: String,
    /// One of a closed list.
    code: contracts::ErrorCode,
    /// The id to search the logs for.
    request_id: String,
    /// The values at fault, if values are.
    errors: Option<Vec<FieldError>>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "AI Decision Engine",
        description = "Serves models, decides which version answers, and logs every prediction.\n\nSign in at `POST /api/v1/auth/token` and send the token as `Authorization: Bearer <token>`.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT"),
    ),
    paths(
        health::livez,
        health::readyz,
        health::healthz,
        health::health,
        health::metrics,
        document,
        redirect,
        auth::jwks,
        auth::token,
        oidc::login,
        oidc::callback,
        auth::me,
        auth::refresh,
        auth::logout,
        auth::change_password,
        auth::rotate_signing_key,
        accounts::users,
        accounts::create_user,
        accounts::change_user,
        accounts::api_keys,
        accounts::create_api_key,
        accounts::revoke_api_key,
        accounts::rotate_api_key,
        audit::audit,
        audit::verify,
        registry::models,
        registry::create_model,
        registry::model,
        registry::versions,
        upload::create_version,
        registry::version,
        registry::card,
        registry::set_alias,
        registry::remove_alias,
        registry::route,
        registry::put_route,
        explain::explain,
        shadows::shadow_report,
        rollback::switch,
        rollback::rollback,
        rollback::history,
        rollback::clear_block,
        registry::policy,
        registry::put_policy,
        experiments::layers,
        experiments::put_layer,
        experiments::experiments,
        experiments::create_experiment,
        experiments::experiment,
        experiments::start,
        experiments::pause,
        experiments::resume,
        experiments::promote,
        experiments::abort,
        experiments::weights,
        experiments::report,
        experiments::what_if,
        rollouts::rollouts,
        rollouts::create_rollout,
        rollouts::rollout,
        rollouts::pause,
        rollouts::resume,
        rollouts::promote,
        rollouts::approve,
        rollouts::abort,
        outcomes::metrics_summary,
        predict::predict,
        predict::prediction,
        outcomes::feedback_of,
        outcomes::submit_feedback,
        outcomes::feedback_summary,
        outcomes::pending_feedback,
        predict::predict_default,
        v2::server_metadata,
        v2::live,
        v2::ready,
        v2::model_metadata,
        v2::model_ready,
        v2::infer,
        v2::version_metadata,
        v2::version_ready,
        v2::infer_version,
        v2::repository_index,
        v2::repository_load,
        v2::repository_unload,
        events::events,
        events::webhooks,
        events::create_webhook,
        events::deliveries,
        events::retry_delivery,
        events::change_webhook,
        events::remove_webhook,
        events::test_webhook,
    ),
    components(schemas(Problem, contracts::ErrorCode, FieldError))
)]
struct Document;

/// The whole document: what `utoipa` gathers from the handlers, with each route's roles and the
/// form of failures added from the table of routes.
///
/// # Panics
/// Never: the document is plain data.
pub fn openapi() -> Value {
    #[expect(clippy::expect_used, reason = "plain data")]
    let mut document = serde_json::to_value(Document::openapi()).expect("plain data");
    for route in routes() {
        let method = route.method.as_str().to_lowercase();
        let pointer = format!("/paths/{}/{method}", route.path.replace('/', "~1"));
        let Some(Value::Object(operation)) = document.pointer_mut(&pointer) else { continue };
        let roles: Vec<&str> = match route.access {
            Access::Anyone => vec![],
            Access::SignedIn => vec!["admin", "engineer", "analyst", "client"],
            Access::Roles(roles) => roles.iter().map(|role| role.as_str()).collect(),
        };
        if let Some(Value::Array(parameters)) = operation.get_mut("parameters") {
            parameters.iter_mut().for_each(narrow);
        }
        let face = if route.path.starts_with("/v2") {
            json!({"description": "Failure, as the protocol has it.", "content": {"application/json": {"schema": {
                "type": "object", "required": ["error"],
                "properties": {"error": {"type": "string"}, "request_id": {"type": "string"}}}}}})
        } else {
            json!({"description": "Failure.", "content": {"application/problem+json": {"schema": {
                "$ref": "#/components/schemas/Problem"}}}})
        };
        if let Some(Value::Object(responses)) = operation.get_mut("responses") {
            responses.insert("default".to_owned(), face);
        }
        let needs_token = !roles.is_empty();
        operation.insert("x-roles".to_owned(), json!(roles));
        if needs_token {
            operation.insert("security".to_owned(), json!([{"bearer": []}, {"api_key": []}]));
        }
    }
    flatten_closed(&mut document);
    if let Some(Value::Object(components)) = document.get_mut("components") {
        let bearer = json!({"type": "http", "scheme": "bearer", "bearerFormat": "JWT"});
        let key = json!({"type": "apiKey", "in": "header", "name": "X-API-Key"});
        let schemes = json!({"bearer": bearer, "api_key": key});
        components.insert("securitySchemes".to_owned(), schemes);
    }
    document
}

/// Makes one object of a schema whose parts allow no other field, each for itself: together they would
/// allow none at all.
fn flatten_closed(document: &mut Value) {
    let Some(schemas) = document.pointer("/components/schemas").and_then(Value::as_object) else {
        return;
    };
    let mut flat = Vec::new();
    for (name, schema) in schemas {
        let Some(parts) = schema["allOf"].as_array() else { continue };
        let part = |part: &Value| match part["$ref"].as_str().and_then(|at| at.rsplit('/').next()) {
            Some(at) => schemas.get(at).cloned().unwrap_or_default(),
            None => part.clone(),
        };
        let parts: Vec<Value> = parts.iter().map(part).collect();
        if !parts.iter().any(|part| part["additionalProperties"] == false) {
            continue;
        }
        let (mut properties, mut required) = (serde_json::Map::new(), Vec::new());
        for part in &parts {
            properties.extend(part["properties"].as_object().cloned().unwrap_or_default());
            required.extend(part["required"].as_array().cloned().unwrap_or_default());
        }
        let one = json!({"type": "object", "properties": properties, "required": required,
            "additionalProperties": false, "description": schema["description"]});
        flat.push((name.clone(), one));
    }
    if let Some(Value::Object(schemas)) = document.pointer_mut("/components/schemas") {
        schemas.extend(flat);
    }
}

/// Says of a parameter what the handlers take it for: they get it as text.
fn narrow(parameter: &mut Value) {
    let (name, place) = (parameter["name"].as_str(), parameter["in"].as_str());
    let schema = match (place, name) {
        (Some("path"), Some("model")) => json!({"$ref": "#/components/schemas/ModelName"}),
        (Some("path"), Some("version")) => json!({"$ref": "#/components/schemas/VersionId"}),
        (Some("path"), Some("alias")) => {
            json!({"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"})
        }
        (Some("header"), Some("X-User-Id")) => {
            json!({"type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[!-~]+$"})
        }
        _ => return,
    };
    parameter["schema"] = schema;
}

static TEXT: LazyLock<String> = LazyLock::new(|| openapi().to_string());

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "docs", responses((status = 200, body = Object)))]
pub(super) async fn document() -> impl Responder {
    HttpResponse::Ok().content_type("application/json").body(TEXT.as_str())
}

/// The page that shows it.
#[utoipa::path(get, path = "/docs", tag = "docs", responses((status = 308, description = "The page is at `/docs/`.")))]
pub(super) async fn redirect() -> impl Responder {
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, "/docs/")).finish()
}

/// The page's files.
pub(super) fn page() -> SwaggerUi {
    SwaggerUi::new("/docs/{_:.*}")
        .config(Config::from("/openapi.json").persist_authorization(false).doc_expansion("list"))
}
