//! Who may use what.

use std::time::Duration;

use contracts::Wire as _;
use domain::Role;
use gateway::http::routes;
use reqwest::Method;
use runtime::http::Access;
use serde_json::{Value, json};
use testkit::{Client, Engine, Setup, Topology, scenarios, shared, until};

use super::tokens;

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

/// Every public route, whom it is for, and what those get who may use it, on an engine without
/// models: written down here again on purpose, so that nobody opens a route by a slip.
const TABLE: &[(&str, &str, For, u16)] = &[
    ("GET", "/livez", Anyone, 200),
    ("GET", "/readyz", Anyone, 200),
    ("GET", "/healthz", Anyone, 200),
    ("GET", "/health", Anyone, 503),
    ("GET", "/metrics", Anyone, 200),
    ("GET", "/openapi.json", Anyone, 200),
    ("GET", "/docs", Anyone, 200),
    ("GET", "/.well-known/jwks.json", Anyone, 200),
    ("POST", "/api/v1/auth/token", Anyone, 422),
    // No identity provider is set up.
    ("GET", "/api/v1/auth/oidc/login", Anyone, 404),
    ("GET", "/api/v1/auth/oidc/callback", Anyone, 404),
    ("GET", "/api/v1/auth/me", SignedIn, 200),
    ("POST", "/api/v1/auth/refresh", Anyone, 422),
    ("POST", "/api/v1/auth/logout", SignedIn, 204),
    ("PUT", "/api/v1/auth/password", SignedIn, 422),
    ("POST", "/api/v1/auth/signing-keys", Admin, 201),
    ("GET", "/api/v1/users", Admin, 200),
    ("POST", "/api/v1/users", Admin, 422),
    ("PATCH", "/api/v1/users/{username}", Admin, 404),
    ("GET", "/api/v1/api-keys", Admin, 200),
    ("POST", "/api/v1/api-keys", Admin, 422),
    ("DELETE", "/api/v1/api-keys/{id}", Admin, 404),
    ("POST", "/api/v1/api-keys/{id}/rotate", Admin, 404),
    ("GET", "/api/v1/audit", Analyst, 200),
    ("GET", "/api/v1/audit/verify", Admin, 200),
    ("GET", "/api/v1/models", SignedIn, 200),
    ("POST", "/api/v1/models", Engineer, 422),
    ("GET", "/api/v1/models/{model}", SignedIn, 404),
    ("GET", "/api/v1/models/{model}/versions", SignedIn, 404),
    ("POST", "/api/v1/models/{model}/versions", Engineer, 404),
    ("GET", "/api/v1/models/{model}/versions/{version}", SignedIn, 404),
    ("GET", "/api/v1/models/{model}/versions/{version}/card", SignedIn, 404),
    ("PUT", "/api/v1/models/{model}/aliases/{alias}", Engineer, 422),
    ("DELETE", "/api/v1/models/{model}/aliases/{alias}", Engineer, 404),
    ("GET", "/api/v1/models/{model}/route", SignedIn, 404),
    ("PUT", "/api/v1/models/{model}/route", Engineer, 422),
    ("GET", "/api/v1/models/{model}/policy", Analyst, 404),
    ("PUT", "/api/v1/models/{model}/policy", Engineer, 404),
    ("GET", "/api/v1/models/{model}/metrics-summary", Analyst, 404),
    ("POST", "/api/v1/models/{model}/predict", ClientRole, 404),
    ("GET", "/api/v1/predictions/{id}", SignedIn, 404),
    ("GET", "/api/v1/predictions/{id}/feedback", Analyst, 200),
    ("POST", "/api/v1/feedback", ClientRole, 422),
    ("POST", "/predict", ClientRole, 404),
    ("GET", "/v2", Anyone, 200),
    ("GET", "/v2/health/live", Anyone, 200),
    ("GET", "/v2/health/ready", Anyone, 200),
    ("GET", "/v2/models/{model}", SignedIn, 404),
    ("GET", "/v2/models/{model}/ready", Anyone, 404),
    ("POST", "/v2/models/{model}/infer", ClientRole, 404),
    ("GET", "/v2/models/{model}/versions/{version}", SignedIn, 404),
    ("GET", "/v2/models/{model}/versions/{version}/ready", Anyone, 404),
    ("POST", "/v2/models/{model}/versions/{version}/infer", ClientRole, 404),
    ("POST", "/v2/repository/index", SignedIn, 200),
    ("POST", "/v2/repository/models/{model}/load", Engineer, 404),
    ("POST", "/v2/repository/models/{model}/unload", Engineer, 404),
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
        TABLE.iter().map(|(method, path, whom, _)| format!("{method} {path} {whom:?}")).collect();
    let missing: Vec<_> = declared.iter().filter(|route| !told.contains(route)).collect();
    let gone: Vec<_> = told.iter().filter(|route| !declared.contains(route)).collect();
    assert!(missing.is_empty(), "put these into the table: {missing:#?}");
    assert!(gone.is_empty(), "these are no routes any more: {gone:#?}");
}

/// Who calls, and what the caller shows.
enum Caller {
    /// Nothing.
    Nobody,
    /// Something that proves nothing, wherever it is shown.
    Refused(&'static str, Client),
    /// A person of this role.
    Person(Role),
    /// An API key of a client.
    Key(Client),
    /// An API key of an admin that may use one route and one model.
    ScopedKey(Client),
}

/// The one route that the scoped key may use, for the one model.
const ITS_ROUTE: &str = "POST /api/v1/models/{model}/predict";

async fn key(engine: &Engine, role: &str, scope: Value) -> (String, Client) {
    let body = json!({"name": "matrix", "role": role, "scope": scope});
    let made = engine.admin().await.post("/api/v1/api-keys", &body).await.expect_status(201).json();
    let text = made["key"].as_str().unwrap();
    (made["api_key"]["id"].as_str().unwrap().to_owned(), engine.with_token(text))
}

async fn callers(engine: &Engine, topology: Topology) -> Vec<Caller> {
    let mut callers = vec![Caller::Nobody];
    for (what, token) in tokens::forged(engine, topology).await {
        callers.push(Caller::Refused(what, engine.with_token(&token)));
    }
    let (id, revoked) = key(engine, "admin", json!({})).await;
    revoked.get("/api/v1/users").await.expect_status(200);
    let admin = engine.admin().await;
    let request = admin.request(Method::DELETE, &format!("/api/v1/api-keys/{id}"));
    admin.send(request).await.expect_status(200);
    let ended = engine.sign_in_again(Role::Admin).await;
    ended.post("/api/v1/auth/logout", &json!({})).await.expect_status(204);
    for client in [&revoked, &ended] {
        let refused =
            || async { (client.get("/api/v1/auth/me").await.status == 401).then_some(()) };
        until("revoked", Duration::from_secs(1), refused).await;
    }
    callers.push(Caller::Refused("a revoked key", revoked));
    callers.push(Caller::Refused("a token of a session that was ended", ended));
    callers.extend(PEOPLE.map(Caller::Person));
    callers.push(Caller::Key(key(engine, "client", json!({})).await.1));
    let scope = json!({"models": ["no-such-model"], "routes": [ITS_ROUTE]});
    callers.push(Caller::ScopedKey(key(engine, "admin", scope).await.1));
    callers
}

impl Caller {
    /// The exact status that it must get.
    fn expects(&self, method: &str, path: &str, whom: For, allowed: u16) -> u16 {
        let refused = match self {
            Self::Refused(..) => Some(401),
            Self::Nobody => whom.refuses(None),
            Self::Person(role) => whom.refuses(Some(*role)),
            // What ends or changes a session takes one.
            Self::Key(_) if path.ends_with("/logout") => Some(403),
            Self::Key(_) => whom.refuses(Some(Role::Client)),
            Self::ScopedKey(_) if whom == Anyone => None,
            Self::ScopedKey(_) => (format!("{method} {path}") != ITS_ROUTE).then_some(403),
        };
        refused.unwrap_or(allowed)
    }

    async fn client(&self, engine: &Engine, path: &str) -> Client {
        match self {
            Self::Nobody => engine.anonymous(),
            // Whoever signs out needs a session to lose.
            Self::Person(role) if path.ends_with("/logout") => engine.sign_in_again(*role).await,
            Self::Person(role) => engine.sign_in_as(*role).await,
            Self::Refused(_, client) | Self::Key(client) | Self::ScopedKey(client) => {
                client.clone()
            }
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Nobody => "nobody".to_owned(),
            Self::Refused(what, _) => (*what).to_owned(),
            Self::Person(role) => role.as_str().to_owned(),
            Self::Key(_) => "a client's key".to_owned(),
            Self::ScopedKey(_) => "a scoped key".to_owned(),
        }
    }
}

async fn every_route_is_for_whom_the_table_says(topology: Topology) {
    let engine = &Engine::start(Setup::new(topology)).await;
    let mut wrong = Vec::new();
    for caller in callers(engine, topology).await {
        for (method, path, whom, allowed) in TABLE {
            let filled = path
                .replace("{model}", "no-such-model")
                .replace("{version}", "1")
                .replace("{alias}", "champion")
                .replace("{username}", "no-such-user")
                .replace("{id}", "01990000-0000-7000-8000-000000000000");
            let client = caller.client(engine, path).await;
            let verb: Method = method.parse().unwrap();
            let mut request = client.request(verb, &filled);
            if *method != "GET" {
                request = request.json(&json!({}));
            }
            // The face that all of the API shares; `/v2` has one of its own.
            request = request.header("accept", "application/problem+json");
            let answer = client.send(request).await;
            let expected = match (topology, *path) {
                // nginx keeps it to itself.
                (Topology::Distributed, "/metrics") => 404,
                _ => caller.expects(method, path, *whom, *allowed),
            };
            if answer.status != expected {
                let who = caller.name();
                wrong.push(format!(
                    "{method} {path} by {who}: {} instead of {expected}: {}",
                    answer.status,
                    answer.text()
                ));
                continue;
            }
            let challenge = answer.header("www-authenticate");
            match answer.status {
                401 => {
                    answer.expect_problem(401, "unauthenticated", &[]);
                    assert!(challenge.starts_with("Bearer realm="), "{challenge}");
                }
                403 => {
                    answer.expect_problem(403, "forbidden", &[]);
                    assert!(challenge.contains("insufficient_scope"), "{challenge}");
                }
                _ => assert_eq!(challenge, ""),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    a_scope_holds_for_models(engine).await;
}

/// The scoped key's one route, for another model than its own.
async fn a_scope_holds_for_models(engine: &Engine) {
    let scope = json!({"models": ["mine"]});
    let (_, client) = key(engine, "engineer", scope).await;
    let body = json!({"name": "theirs"});
    client.post("/api/v1/models", &body).await.expect_problem(403, "forbidden", &["theirs"]);
    let admin = engine.admin().await;
    admin.post("/api/v1/models", &body).await.expect_status(201);
    client.post("/api/v1/models", &json!({"name": "mine"})).await.expect_status(201);
    let models = client.get("/api/v1/models").await.expect_status(200).json();
    let names: Vec<_> = models["models"].as_array().unwrap().iter().map(|m| &m["name"]).collect();
    assert_eq!(names, ["mine"], "it sees its own alone");
    for (method, path) in [
        (Method::GET, "/api/v1/models/theirs"),
        (Method::GET, "/api/v1/models/theirs/versions"),
        (Method::GET, "/api/v1/models/theirs/versions/1"),
        (Method::GET, "/api/v1/models/theirs/route"),
        (Method::GET, "/api/v1/models/theirs/policy"),
        (Method::GET, "/api/v1/models/theirs/metrics-summary"),
        (Method::POST, "/api/v1/models/theirs/predict"),
        (Method::POST, "/v2/models/theirs/infer"),
        (Method::GET, "/v2/models/theirs"),
        (Method::POST, "/v2/repository/models/theirs/load"),
        (Method::POST, "/api/v1/models/theirs/versions"),
    ] {
        let request = client.request(method.clone(), path).json(&json!({"features": [1]}));
        let answer = client.send(request).await;
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
    }
    let index = client.post("/v2/repository/index", &json!({})).await.expect_status(200).json();
    assert_eq!(index, json!([]), "no version of its own, and none of theirs");
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
