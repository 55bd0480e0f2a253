//! Who may use what.

use contracts::Wire as _;
use domain::Role;
use gateway::http::routes;
use reqwest::Method;
use runtime::http::Access;
use serde_json::{Value, json};
use testkit::{Client, Topology, scenarios, shared};

scenarios!(every_route_is_for_whom_the_table_says, internal_endpoints_want_a_token);

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Anyone,
    SignedIn,
    Admin,
    Engineer,
    Analyst,
    Client,
}
use For::{Admin, Analyst, Anyone, Client as ClientRole, Engineer, SignedIn};

/// Every public route and whom it is for: written down here again on purpose, so that nobody opens
/// a route by a slip.
const TABLE: &[(&str, &str, For)] = &[
    ("GET", "/livez", Anyone),
    ("GET", "/readyz", Anyone),
    ("GET", "/healthz", Anyone),
    ("GET", "/health", Anyone),
    ("GET", "/metrics", Anyone),
    ("GET", "/openapi.json", Anyone),
    ("GET", "/docs", Anyone),
    ("GET", "/.well-known/jwks.json", Anyone),
    ("POST", "/api/v1/auth/token", Anyone),
    ("GET", "/api/v1/auth/me", SignedIn),
    ("POST", "/api/v1/auth/refresh", Anyone),
    ("POST", "/api/v1/auth/logout", SignedIn),
    ("PUT", "/api/v1/auth/password", SignedIn),
    ("POST", "/api/v1/auth/signing-keys", Admin),
    ("GET", "/api/v1/users", Admin),
    ("POST", "/api/v1/users", Admin),
    ("PATCH", "/api/v1/users/{username}", Admin),
    ("GET", "/api/v1/api-keys", Admin),
    ("POST", "/api/v1/api-keys", Admin),
    ("DELETE", "/api/v1/api-keys/{id}", Admin),
    ("POST", "/api/v1/api-keys/{id}/rotate", Admin),
    ("GET", "/api/v1/audit", Analyst),
    ("GET", "/api/v1/audit/verify", Admin),
    ("GET", "/api/v1/models", SignedIn),
    ("POST", "/api/v1/models", Engineer),
    ("GET", "/api/v1/models/{model}", SignedIn),
    ("GET", "/api/v1/models/{model}/versions", SignedIn),
    ("POST", "/api/v1/models/{model}/versions", Engineer),
    ("GET", "/api/v1/models/{model}/versions/{version}", SignedIn),
    ("GET", "/api/v1/models/{model}/versions/{version}/card", SignedIn),
    ("PUT", "/api/v1/models/{model}/aliases/{alias}", Engineer),
    ("DELETE", "/api/v1/models/{model}/aliases/{alias}", Engineer),
    ("GET", "/api/v1/models/{model}/route", SignedIn),
    ("PUT", "/api/v1/models/{model}/route", Engineer),
    ("GET", "/api/v1/models/{model}/policy", Analyst),
    ("PUT", "/api/v1/models/{model}/policy", Engineer),
    ("GET", "/api/v1/models/{model}/metrics-summary", Analyst),
    ("POST", "/api/v1/models/{model}/predict", ClientRole),
    ("GET", "/api/v1/predictions/{id}", SignedIn),
    ("GET", "/api/v1/predictions/{id}/feedback", Analyst),
    ("POST", "/api/v1/feedback", ClientRole),
    ("POST", "/predict", ClientRole),
    ("GET", "/v2", Anyone),
    ("GET", "/v2/health/live", Anyone),
    ("GET", "/v2/health/ready", Anyone),
    ("GET", "/v2/models/{model}", SignedIn),
    ("GET", "/v2/models/{model}/ready", Anyone),
    ("POST", "/v2/models/{model}/infer", ClientRole),
    ("GET", "/v2/models/{model}/versions/{version}", SignedIn),
    ("GET", "/v2/models/{model}/versions/{version}/ready", Anyone),
    ("POST", "/v2/models/{model}/versions/{version}/infer", ClientRole),
    ("POST", "/v2/repository/index", SignedIn),
    ("POST", "/v2/repository/models/{model}/load", Engineer),
    ("POST", "/v2/repository/models/{model}/unload", Engineer),
];

const PEOPLE: [Role; 4] = [Role::Client, Role::Analyst, Role::Engineer, Role::Admin];

impl For {
    /// The status that a caller must get, if it is one of refusal.
    fn refuses(self, caller: Option<Role>) -> Option<u16> {
        let Some(role) = caller else {
            return (self != Anyone).then_some(401);
        };
        let may = match self {
            Anyone | SignedIn => true,
            Admin => role == Role::Admin,
            Engineer => matches!(role, Role::Admin | Role::Engineer),
            Analyst => role != Role::Client,
            ClientRole => role != Role::Analyst,
        };
        (!may).then_some(403)
    }
}

#[test]
fn the_table_lists_every_route() {
    let declared: Vec<String> = routes()
        .iter()
        .map(|route| {
            let whom = match route.access {
                Access::Anyone => Anyone,
                Access::SignedIn => SignedIn,
                Access::Roles([Role::Admin]) => Admin,
                Access::Roles([Role::Engineer]) => Engineer,
                Access::Roles([Role::Analyst]) => Analyst,
                Access::Roles([Role::Client]) => ClientRole,
                Access::Roles(others) => panic!("{}: {others:?} is in no row", route.path),
            };
            format!("{} {} {whom:?}", route.method, route.path)
        })
        .collect();
    let told: Vec<String> =
        TABLE.iter().map(|(method, path, whom)| format!("{method} {path} {whom:?}")).collect();
    let missing: Vec<_> = declared.iter().filter(|route| !told.contains(route)).collect();
    let gone: Vec<_> = told.iter().filter(|route| !declared.contains(route)).collect();
    assert!(missing.is_empty(), "put these into the table: {missing:#?}");
    assert!(gone.is_empty(), "these are no routes any more: {gone:#?}");
}

async fn every_route_is_for_whom_the_table_says(topology: Topology) {
    let engine = shared(topology).await;
    let mut callers: Vec<(Option<Role>, Client)> = vec![(None, engine.anonymous())];
    for role in PEOPLE {
        callers.push((Some(role), engine.sign_in_as(role).await));
    }
    for (method, path, whom) in TABLE {
        let filled = path
            .replace("{model}", "no-such-model")
            .replace("{version}", "1")
            .replace("{alias}", "champion")
            .replace("{id}", "01990000-0000-7000-8000-000000000000");
        for (role, client) in &callers {
            let verb: Method = method.parse().unwrap();
            let mut request = client.request(verb, &filled);
            if *method != "GET" {
                request = request.json(&json!({}));
            }
            // The face that all of the API shares; `/v2` has one of its own.
            request = request.header("accept", "application/problem+json");
            let answer = client.send(request).await;
            let what = format!("{method} {path} as {role:?}: {} {}", answer.status, answer.text());
            match whom.refuses(*role) {
                Some(status) => {
                    assert_eq!(answer.status, status, "{what}");
                    let code = if status == 401 { "unauthenticated" } else { "forbidden" };
                    answer.expect_problem(status, code, &[]);
                }
                None => assert!(![401, 403, 500].contains(&answer.status), "{what}"),
            }
            let asks = answer.header("www-authenticate");
            assert_eq!(answer.status == 401, asks.starts_with("Bearer"), "{what}");
        }
    }
}

async fn internal_endpoints_want_a_token(topology: Topology) {
    // In one process there are none.
    if topology == Topology::Embedded {
        return;
    }
    let engine = shared(topology).await;
    let client = engine.sign_in_as(Role::Client).await;
    for (service, endpoint, body) in internal_calls() {
        let url = format!("{}/internal/{service}/{endpoint}", engine.server(service).url);
        let http = reqwest::Client::new();
        let ask = |request: reqwest::RequestBuilder| async {
            let answer = request.body(body.clone()).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        let (status, said) = ask(http.post(&url)).await;
        assert_eq!(status, 401, "{service}/{endpoint} without a token: {said}");
        let (status, said) = ask(http.post(&url).bearer_auth("not-a-token")).await;
        assert_eq!(status, 401, "{service}/{endpoint} with no real token: {said}");
        if !FOR_CLIENTS.contains(&endpoint) {
            let (status, said) = ask(http.post(&url).bearer_auth(client.token())).await;
            assert_eq!(status, 403, "{service}/{endpoint} as a client: {said}");
        }
    }
}

/// What a client may use at the door is for clients behind it, too.
const FOR_CLIENTS: &[&str] =
    &["models", "model", "version", "route", "prediction", "submit", "predict"];

/// Every internal endpoint with a body that it understands, but for those that anyone may use:
/// signing in, the public keys, readiness.
fn internal_calls() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let id = "01990000-0000-7000-8000-000000000000";
    let target = json!({"model": "m", "version": "1"});
    let protocol = json!("natural");
    let ask = json!({"model": "m", "version": null, "unit": null, "protocol": protocol,
        "content_type": "application/json"});
    let task = json!({"target": target, "prediction_id": id, "protocol": protocol,
        "content_type": "application/json", "show_version": true, "degraded": false});
    let version = json!({"model": "m", "version": "1", "files": [], "enabled": true,
        "created_by": "x", "created_at": "2026-01-01T00:00:00Z", "manifest": {"name": "m",
        "task": "regression", "modality": "tabular", "format": "onnx", "inputs": [],
        "outputs": []}});
    let upload = json!({"model": "m", "manifest": null, "files": []});
    let user = json!({"username": "eve", "password": "long enough", "role": "admin"});
    let plain = |body: Value| body.to_string().into_bytes();
    let framed = |meta: Value| {
        contracts::Framed { meta, body: bytes::Bytes::new() }.to_wire().unwrap().to_vec()
    };
    vec![
        ("auth", "users", plain(Value::Null)),
        ("auth", "create-user", plain(user)),
        ("router", "models", plain(Value::Null)),
        ("router", "model", plain(json!("m"))),
        ("router", "create-model", plain(json!({"name": "m"}))),
        ("router", "create-version", framed(upload)),
        ("router", "version", plain(target.clone())),
        ("router", "set-alias", plain(json!({"model": "m", "alias": "a", "version": null}))),
        ("router", "route", plain(json!("m"))),
        ("router", "put-route", plain(json!({"model": "m", "route": {"arms": []}}))),
        ("router", "policy", plain(json!("m"))),
        ("router", "put-policy", plain(json!({"model": "m", "policy": {}}))),
        ("router", "set-enabled", plain(json!({"model": "m", "version": null, "enabled": true}))),
        ("router", "prediction", plain(json!(id))),
        ("router", "predict", framed(ask)),
        ("inference", "loaded", plain(Value::Null)),
        ("inference", "load", plain(version.clone())),
        ("inference", "check", plain(version)),
        ("inference", "unload", plain(target)),
        ("inference", "predict", framed(task)),
        ("feedback", "submit", plain(json!({"prediction_id": id, "label": "a"}))),
        ("feedback", "of-prediction", plain(json!(id))),
        ("drift", "summary", plain(json!({"model": "m", "window_s": 60}))),
    ]
}
