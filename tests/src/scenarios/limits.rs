//! How much may be asked for.

mod at_once;
mod exact;
mod outage;

use domain::Role;
use futures_util::future::join_all;
use serde_json::json;
use testkit::{Answer, Client, Engine, Method, Setup, Topology, scenarios};

scenarios!(
    too_much_is_429_and_says_all_a_client_needs,
    filters_by_role_model_and_route_leave_others_alone,
    a_shadow_counts_and_refuses_nobody,
    a_client_behind_a_proxy_is_told_by_the_proxy_alone,
    signing_in_is_throttled,
    a_policy_that_could_do_nothing_stops_the_start,
);

const POLICIES: &str = "ENGINE__GATEWAY__LIMITS__POLICIES";
const PREDICT: &str = "POST /api/v1/models/{model}/predict";

/// Asks a model that is not there: the limits do not know.
async fn ask(client: &Client) -> Answer {
    client.predict("nobody", &json!({"features": [1.0]})).await
}

/// What a process counts under these labels; zero where there is no such series.
async fn counted(client: &Client, labels: &[&str]) -> f64 {
    let text = client.get("/metrics").await.expect_status(200).text();
    let lines = text.lines().filter(|line| line.starts_with("rate_limit_decisions_total{"));
    let fits = |line: &&str| labels.iter().all(|label| line.contains(label));
    let number = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
    lines.filter(fits).map(number).sum()
}

async fn too_much_is_429_and_says_all_a_client_needs(topology: Topology) {
    let mut setup = Setup::new(topology);
    let policies = json!([
        {"name": "predicting", "per": ["client"], "quota": 4, "window_s": 3600,
            "routes": [PREDICT, "POST /v2/models/{model}/infer"]},
        {"name": "by-address", "per": ["address", "route"], "quota": 500, "window_s": 1,
            "routes": [PREDICT]},
    ]);
    setup.set(POLICIES, &policies.to_string());
    setup.set("ENGINE__GATEWAY__LIMITS__LEGACY_HEADERS", "true");
    let engine = Engine::start(setup).await;
    let ada = engine.sign_in_as(Role::Client).await;
    let told = "\"predicting\";q=4;w=3600, \"by-address\";q=500;w=1";
    for left in [3, 2, 1, 0] {
        let answer = ask(&ada).await;
        answer.expect_problem(404, "not_found", &[]);
        assert_eq!(answer.header("ratelimit-policy"), told);
        let state = format!("\"predicting\";r={left};t=");
        assert!(answer.header("ratelimit").starts_with(&state), "{:?}", answer.headers);
        assert_eq!(answer.header("x-ratelimit-remaining"), left.to_string());
        assert_eq!(answer.header("retry-after"), "");
    }
    let refused = ask(&ada).await;
    refused.expect_problem(429, "rate_limited", &["`predicting`", "each client", "try again in"]);
    let body = refused.json();
    assert_eq!(body["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(body["violated-policies"], json!(["predicting"]));
    let wait: u32 = refused.header("retry-after").parse().unwrap();
    assert!((1..=900).contains(&wait), "{wait}");
    let state = format!("\"predicting\";r=0;t={wait}, \"by-address\";r=");
    assert!(refused.header("ratelimit").starts_with(&state), "{:?}", refused.headers);
    assert_eq!(refused.header("ratelimit-policy"), told);
    assert_eq!(refused.header("x-ratelimit-limit"), "4");
    assert_eq!(refused.header("x-ratelimit-reset"), wait.to_string());

    // The same bucket, told as the protocol's clients expect.
    let refused = ada.infer("nobody", &json!({"inputs": []})).await;
    assert!(refused.expect_status(429).json()["error"].is_string(), "{}", refused.text());
    assert!(!refused.header("retry-after").is_empty());

    let bob = engine.sign_in_as(Role::Engineer).await;
    ask(&bob).await.expect_status(404);
    let unlimited = ada.get("/api/v1/models").await;
    assert_eq!(unlimited.expect_status(200).header("ratelimit"), "");
    engine.anonymous().predict("nobody", &json!({})).await.expect_status(401);
}

async fn filters_by_role_model_and_route_leave_others_alone(topology: Topology) {
    let mut setup = Setup::new(topology);
    let hour = 3600;
    let policies = json!([
        {"name": "analysts", "per": ["client"], "quota": 2, "window_s": hour,
            "roles": ["analyst"], "routes": ["GET /api/v1/models"]},
        {"name": "one-model", "per": ["client", "model"], "quota": 1, "window_s": hour,
            "models": ["limited", "as-well"]},
        {"name": "keys", "per": ["key"], "quota": 1, "window_s": hour},
    ]);
    setup.set(POLICIES, &policies.to_string());
    let engine = Engine::start(setup).await;
    let (analyst, client) =
        (engine.sign_in_as(Role::Analyst).await, engine.sign_in_as(Role::Client).await);
    for status in [200, 200, 429] {
        analyst.get("/api/v1/models").await.expect_status(status);
        client.get("/api/v1/models").await.expect_status(200);
    }
    analyst.get("/api/v1/auth/me").await.expect_status(200);
    for status in [404, 429] {
        for model in ["limited", "as-well"] {
            client.predict(model, &json!({"features": [1]})).await.expect_status(status);
        }
        client.predict("free", &json!({"features": [1]})).await.expect_status(404);
    }
    let refused = client.get("/api/v1/models/limited").await;
    refused.expect_problem(429, "rate_limited", &["`one-model`", "client and model"]);
}

async fn a_shadow_counts_and_refuses_nobody(topology: Topology) {
    let mut setup = Setup::new(topology);
    setup.gateways = 1;
    let policy = json!([{"name": "tried", "per": ["client"], "quota": 1, "window_s": 3600,
        "routes": [PREDICT]}]);
    setup.set(POLICIES, &policy.to_string());
    setup.set("ENGINE__GATEWAY__LIMITS__MODE", "shadow");
    let engine = Engine::start(setup).await;
    let client = engine.sign_in_as(Role::Client).await;
    for left in 0..3 {
        let answer = ask(&client).await;
        answer.expect_status(404);
        assert!(answer.header("ratelimit").starts_with("\"tried\";r=0;t="), "{left}");
    }
    let decisions = ["allowed", "shadow", "refused"].map(|decision| {
        let label = format!("decision=\"{decision}\"");
        let client = &client;
        async move { counted(client, &["policy=\"tried\"", "backend=\"shared\"", &label]).await }
    });
    assert_eq!(join_all(decisions).await, [1.0, 2.0, 0.0]);
}

async fn a_client_behind_a_proxy_is_told_by_the_proxy_alone(topology: Topology) {
    for trusted in [false, true] {
        let mut setup = Setup::new(topology);
        // Apart, a gateway of a test always trusts this machine.
        if topology == Topology::Distributed && !trusted {
            continue;
        }
        setup.gateways = 1;
        if topology == Topology::Embedded && trusted {
            setup.set("ENGINE__GATEWAY__TRUSTED_PROXIES", "127.0.0.1");
        }
        let policy = json!([{"name": "addresses", "per": ["address"], "quota": 2,
            "window_s": 3600, "routes": ["GET /.well-known/jwks.json"]}]);
        setup.set(POLICIES, &policy.to_string());
        let engine = Engine::start(setup).await;
        let client = engine.anonymous();
        let from = async |forwarded: &str| {
            let request = client.request(Method::GET, "/.well-known/jwks.json");
            client.send(request.header("X-Forwarded-For", forwarded)).await.status
        };
        let forged = ["203.0.113.1", "203.0.113.2", "1.2.3.4, 203.0.113.3"];
        for address in forged {
            assert_eq!(
                from(address).await,
                if trusted || address == forged[0] || address == forged[1] { 200 } else { 429 }
            );
        }
        if trusted {
            // What a client itself wrote further left changes nothing.
            assert_eq!(from("9.9.9.9, 203.0.113.3").await, 200);
            assert_eq!(from("8.8.8.8, 203.0.113.3").await, 429);
            assert_eq!(from("203.0.113.4").await, 200);
            // An IPv6 client has a whole network.
            for (address, status) in [
                ("2001:db8::1", 200),
                ("2001:db8::2", 200),
                ("2001:db8::3", 429),
                ("2001:db8:0:1::1", 200),
            ] {
                assert_eq!(from(address).await, status, "{address}");
            }
        }
    }
}

async fn signing_in_is_throttled(topology: Topology) {
    let mut setup = Setup::new(topology);
    let policy = json!([{"name": "guessing", "per": ["address"], "quota": 60, "window_s": 3600,
        "burst": 5, "routes": ["POST /api/v1/auth/token"]}]);
    setup.set(POLICIES, &policy.to_string());
    let engine = Engine::start(setup).await;
    let client = engine.anonymous();
    let sign_in = async |password: &str| {
        let body = json!({"username": "admin", "password": password});
        client.post("/api/v1/auth/token", &body).await
    };
    for _ in 0..5 {
        sign_in("wrong guess").await.expect_problem(401, "unauthenticated", &[]);
    }
    for password in ["wrong guess", testkit::PASSWORD] {
        let refused = sign_in(password).await;
        refused.expect_problem(429, "rate_limited", &["`guessing`", "each address"]);
        let wait: u32 = refused.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
}

async fn a_policy_that_could_do_nothing_stops_the_start(topology: Topology) {
    let (binary, arguments): (&str, &[&str]) = match topology {
        Topology::Embedded => ("decision-engine", &["serve", "--check"]),
        Topology::Distributed => ("gateway", &["--check"]),
    };
    let check = |policies: &str| {
        let mut command = testkit::server::command(binary);
        command.args(arguments).env(POLICIES, policies);
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert!(check("[]").0);
    let bad = r#"[{"name": "a", "per": ["client"], "quota": 0, "window_s": 1}]"#;
    let (good, said) = check(bad);
    assert!(!good && said.contains("policy `a`: `quota` is 0"), "{said}");
}
