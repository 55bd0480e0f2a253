//! Tokens that the engine must refuse.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use domain::Role;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use testkit::{Engine, Topology, scenarios, shared};

scenarios!(
    an_expired_token_is_401,
    a_token_without_a_signature_is_401,
    a_token_signed_with_the_public_key_is_401,
    a_token_with_a_wrong_signature_is_401,
    a_token_for_another_audience_is_401,
    what_is_no_token_is_401,
    a_wrong_password_is_401,
);

/// The engine's own signing key.
pub(super) fn signing_key(engine: &Engine, topology: Topology) -> EncodingKey {
    let place = match topology {
        Topology::Embedded => "data",
        Topology::Distributed => "auth",
    };
    let folder: PathBuf = engine.folder().join(place).join("keys/signing");
    // The oldest, which is the first that is published.
    let path = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).min().unwrap();
    let pem = std::fs::read_to_string(path).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    EncodingKey::from_ed_der(&STANDARD.decode(body).unwrap())
}

pub(super) async fn first_key(engine: &Engine) -> Value {
    engine.anonymous().get("/.well-known/jwks.json").await.expect_status(200).json()["keys"][0]
        .clone()
}

/// What a good token of an admin says.
pub(super) async fn claims(engine: &Engine) -> Value {
    let client = engine.admin().await;
    let payload = client.token().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

pub(super) async fn header(engine: &Engine, algorithm: Algorithm) -> Header {
    let kid = first_key(engine).await["kid"].as_str().unwrap().to_owned();
    Header { kid: Some(kid), ..Header::new(algorithm) }
}

/// Tokens that prove nothing, each with what is wrong with it.
pub(super) async fn forged(engine: &Engine, topology: Topology) -> Vec<(&'static str, String)> {
    let good = claims(engine).await;
    let key = signing_key(engine, topology);
    let ours = header(engine, Algorithm::EdDSA).await;
    let mut expired = good.clone();
    expired["exp"] = json!(good["iat"].as_i64().unwrap() - 60);
    let admin = engine.admin().await;
    let mut signature: Vec<char> = admin.token().chars().collect();
    // Not the last one, of which some bits mean nothing.
    let place = signature.len() - 10;
    signature[place] = if signature[place] == 'A' { 'B' } else { 'A' };
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let none = json!({"alg": "none", "typ": "JWT", "kid": ours.kid});
    let public = first_key(engine).await["x"].as_str().unwrap().to_owned();
    let symmetric = header(engine, Algorithm::HS256).await;
    let secret = EncodingKey::from_secret(&URL_SAFE_NO_PAD.decode(public).unwrap());
    vec![
        ("an expired token", encode(&ours, &expired, &key).unwrap()),
        ("a wrong signature", signature.into_iter().collect()),
        ("`alg: none`", format!("{}.{}.", part(&none), part(&good))),
        ("HS256 with the public key", encode(&symmetric, &good, &secret).unwrap()),
    ]
}

async fn refused(engine: &Engine, token: &str, words: &[&str]) {
    for path in ["/api/v1/auth/me", "/api/v1/users", "/api/v1/models"] {
        let answer = engine.with_token(token).get(path).await;
        answer.expect_problem(401, "unauthenticated", words);
        assert!(answer.header("www-authenticate").contains("invalid_token"));
        assert!(!answer.text().contains(token), "the token does not come back");
    }
}

async fn an_expired_token_is_401(topology: Topology) {
    let engine = shared(topology).await;
    let mut claims = claims(engine).await;
    let key = signing_key(engine, topology);
    let header = header(engine, Algorithm::EdDSA).await;
    // First the proof that this test signs as the engine does.
    let good = encode(&header, &claims, &key).unwrap();
    engine.with_token(&good).get("/api/v1/auth/me").await.expect_status(200);
    claims["exp"] = json!(claims["iat"].as_i64().unwrap() - 60);
    let token = encode(&header, &claims, &key).unwrap();
    refused(engine, &token, &["expired", "POST /api/v1/auth/token"]).await;
}

async fn a_token_without_a_signature_is_401(topology: Topology) {
    let engine = shared(topology).await;
    let kid = first_key(engine).await["kid"].clone();
    let claims = claims(engine).await;
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({"alg": "none", "typ": "JWT", "kid": kid});
    refused(engine, &format!("{}.{}.", part(&header), part(&claims)), &["refused"]).await;
}

async fn a_token_signed_with_the_public_key_is_401(topology: Topology) {
    let engine = shared(topology).await;
    let public = first_key(engine).await["x"].as_str().unwrap().to_owned();
    let header = header(engine, Algorithm::HS256).await;
    let claims = claims(engine).await;
    for secret in [public.as_bytes().to_vec(), URL_SAFE_NO_PAD.decode(&public).unwrap()] {
        let token = encode(&header, &claims, &EncodingKey::from_secret(&secret)).unwrap();
        refused(engine, &token, &["EdDSA"]).await;
    }
}

async fn a_token_with_a_wrong_signature_is_401(topology: Topology) {
    let engine = shared(topology).await;
    let client = engine.sign_in_as(Role::Client).await;
    let mut parts: Vec<String> = client.token().split('.').map(str::to_owned).collect();
    // A client that calls itself an admin.
    let mut claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&parts[1]).unwrap()).unwrap();
    claims["role"] = json!("admin");
    parts[1] = URL_SAFE_NO_PAD.encode(claims.to_string());
    refused(engine, &parts.join("."), &["signature"]).await;
}

async fn a_token_for_another_audience_is_401(topology: Topology) {
    let engine = shared(topology).await;
    let key = signing_key(engine, topology);
    let header = header(engine, Algorithm::EdDSA).await;
    for (claim, word) in [("aud", "audience"), ("iss", "issuer")] {
        let mut claims = claims(engine).await;
        claims[claim] = json!("somebody-else");
        refused(engine, &encode(&header, &claims, &key).unwrap(), &[word]).await;
    }
}

async fn what_is_no_token_is_401(topology: Topology) {
    let engine = shared(topology).await;
    refused(engine, "no-token-at-all", &["not a JWT"]).await;
    let client = engine.anonymous();
    let path = "/api/v1/auth/me";
    let basic = client.request(testkit::Method::GET, path).header("authorization", "Basic YTpi");
    client.send(basic).await.expect_problem(401, "unauthenticated", &["Bearer <token>"]);
    client.get(path).await.expect_problem(401, "unauthenticated", &["missing bearer token"]);
}

async fn a_wrong_password_is_401(topology: Topology) {
    let client = shared(topology).await.anonymous();
    let mut said = Vec::new();
    for username in ["admin", "nobody"] {
        let body = json!({"username": username, "password": "wrong wrong"});
        let answer = client.post("/api/v1/auth/token", &body).await;
        answer.expect_problem(401, "unauthenticated", &[]);
        said.push(answer.json()["detail"].clone());
    }
    assert_eq!(said[0], said[1], "whether a user exists cannot be told");
}
