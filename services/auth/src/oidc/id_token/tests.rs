use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use super::*;

const NOW: i64 = 1_700_000_000;

fn expected() -> Expected<'static> {
    Expected {
        issuer: "https://id.example",
        client_id: "engine",
        nonce: "n-1",
        algorithms: &[Algorithm::EdDSA, Algorithm::RS256],
        leeway_s: 30,
        now: NOW,
    }
}

fn good() -> Value {
    json!({"iss": "https://id.example", "aud": "engine", "sub": "248289761001", "nonce": "n-1",
        "exp": NOW + 60, "iat": NOW})
}

struct Signer {
    key: EncodingKey,
    public: Value,
}

fn signer(seed: u8) -> Signer {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let x = URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
    let public = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": format!("k{seed}")});
    let der = key.to_pkcs8_der().unwrap();
    Signer { key: EncodingKey::from_ed_der(der.as_bytes()), public }
}

impl Signer {
    fn sign(&self, claims: &Value) -> String {
        let kid = self.public["kid"].as_str().map(str::to_owned);
        let header = Header { kid, ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

fn keys(of: &[&Value]) -> Vec<Jwk> {
    of.iter().map(|key| serde_json::from_value((*key).clone()).unwrap()).collect()
}

/// What is said of a token with these claims changed.
fn said(changes: &Value) -> Result<Claims, Fault> {
    let mut claims = good();
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let signer = signer(1);
    verify(&signer.sign(&claims), &keys(&[&signer.public]), &expected())
}

#[test]
fn a_good_token_tells_who_it_is() {
    assert_eq!(said(&json!({})).unwrap()["sub"], "248289761001");
    for good in [
        json!({"aud": ["engine"]}),
        json!({"aud": ["engine", "other"], "azp": "engine"}),
        json!({"exp": NOW - 29}),
        json!({"iat": NOW + 30, "nbf": NOW + 30}),
        json!({"exp": 1_700_000_060.5}),
    ] {
        assert!(said(&good).is_ok(), "{good}");
    }
}

#[test]
fn every_claim_that_is_wrong_is_named() {
    for (changes, word) in [
        (json!({"iss": "https://id.example/"}), "`iss`"),
        (json!({"iss": null}), "`iss`"),
        (json!({"aud": "other"}), "`aud`"),
        (json!({"aud": ["other"]}), "`aud`"),
        (json!({"aud": null}), "`aud`"),
        (json!({"aud": ["engine", "other"]}), "`azp`"),
        (json!({"azp": "other"}), "`azp`"),
        (json!({"exp": NOW - 30}), "`exp`"),
        (json!({"exp": null}), "`exp`"),
        (json!({"exp": "later"}), "`exp`"),
        (json!({"iat": NOW + 31}), "not valid yet"),
        (json!({"nbf": NOW + 31}), "not valid yet"),
        (json!({"nbf": "now"}), "not valid yet"),
        (json!({"nonce": "n-2"}), "`nonce`"),
        (json!({"nonce": null}), "`nonce`"),
        (json!({"sub": ""}), "`sub`"),
        (json!({"sub": 5}), "`sub`"),
        (json!({"sub": "x".repeat(256)}), "`sub`"),
    ] {
        let Err(Fault::Wrong(why)) = said(&changes) else { panic!("{changes} is taken") };
        assert!(why.contains(word), "{changes}: {why}");
    }
}

#[test]
fn the_algorithm_is_pinned() {
    let signer = signer(1);
    let keys = keys(&[&signer.public]);
    let token = signer.sign(&good());
    let other = Expected { algorithms: &[Algorithm::RS256], ..expected() };
    let Err(Fault::Wrong(why)) = verify(&token, &keys, &other) else { panic!("it is taken") };
    assert!(why.contains("algorithms"), "{why}");

    let x = URL_SAFE_NO_PAD.decode(signer.public["x"].as_str().unwrap()).unwrap();
    let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::HS256) };
    let symmetric = jsonwebtoken::encode(&header, &good(), &EncodingKey::from_secret(&x)).unwrap();
    assert!(matches!(verify(&symmetric, &keys, &expected()), Err(Fault::Wrong(_))));
    // Even if somebody took the algorithm for one with a public key.
    let all = Expected { algorithms: &[Algorithm::HS256], ..expected() };
    assert_eq!(verify(&symmetric, &keys, &all), Err(Fault::UnknownKey));
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let none = format!("{}.{}.", part(&json!({"alg": "none", "kid": "k1"})), part(&good()));
    assert_eq!(verify(&none, &keys, &expected()), Err(Fault::Wrong("it is no signed JWT")));
    // An algorithm of another family than the key.
    let rsa = part(&json!({"alg": "RS256", "kid": "k1"}));
    let mixed = format!("{rsa}.{}.AAAA", part(&good()));
    assert_eq!(verify(&mixed, &keys, &expected()), Err(Fault::UnknownKey));
}

#[test]
fn a_changed_token_is_refused() {
    let signer = signer(1);
    let keys = keys(&[&signer.public]);
    let token = signer.sign(&good());
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let mut claims = good();
    claims["sub"] = json!("somebody else");
    parts[1] = URL_SAFE_NO_PAD.encode(claims.to_string());
    let Err(Fault::Wrong(why)) = verify(&parts.join("."), &keys, &expected()) else {
        panic!("it is taken")
    };
    assert!(why.contains("signature"), "{why}");
}

#[test]
fn the_key_is_the_one_that_is_named() {
    let (one, two) = (signer(1), signer(2));
    let both = keys(&[&one.public, &two.public]);
    assert!(verify(&two.sign(&good()), &both, &expected()).is_ok());
    assert_eq!(verify(&signer(3).sign(&good()), &both, &expected()), Err(Fault::UnknownKey));
    // Without a name there must be one key alone.
    let mut unnamed = signer(1);
    unnamed.public.as_object_mut().unwrap().remove("kid");
    let token = unnamed.sign(&good());
    assert!(verify(&token, &keys(&[&unnamed.public]), &expected()).is_ok());
    assert!(matches!(verify(&token, &both, &expected()), Err(Fault::Wrong(_))));
    // Keys for other uses do not count.
    for (name, value) in [("use", "enc"), ("alg", "RS256"), ("crv", "Ed448")] {
        let mut odd = one.public.clone();
        odd[name] = json!(value);
        let outcome = verify(&one.sign(&good()), &keys(&[&odd]), &expected());
        assert_eq!(outcome, Err(Fault::UnknownKey), "{name}");
    }
}

#[test]
fn a_claim_is_found_by_name_or_place() {
    let claims = json!({"groups": ["a"], "realm_access": {"roles": ["b"]}, "https://x/roles": ["c"],
        "/odd": "d"});
    let claims = claims.as_object().unwrap();
    let found = |name| claim(claims, name).cloned();
    assert_eq!(found("groups"), Some(json!(["a"])));
    assert_eq!(found("/realm_access/roles"), Some(json!(["b"])));
    assert_eq!(found("/realm_access/roles/0"), Some(json!("b")));
    assert_eq!(found("https://x/roles"), Some(json!(["c"])));
    assert_eq!(found("/odd"), Some(json!("d")));
    assert_eq!(found("/groups"), Some(json!(["a"])));
    for missing in ["", "/", "roles", "/realm_access/x", "realm_access/roles"] {
        assert_eq!(found(missing), None, "{missing}");
    }
}
