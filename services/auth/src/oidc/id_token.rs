//! The ID token: what the provider says about a person, signed (OpenID Connect Core 1.0, section
//! 3.1.3.7).

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation};
use serde_json::{Map, Value};

/// What claims there are.
pub(super) type Claims = Map<String, Value>;

/// The fewest characters of an RSA modulus of 2048 bits, in base64url.
const RSA_2048: usize = 342;
/// The most characters of a subject.
const MAX_SUBJECT: usize = 255;

/// What a token must be.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// The algorithms that the settings take.
    pub(super) algorithms: &'a [Algorithm],
    pub(super) leeway_s: i64,
    /// Seconds since 1970.
    pub(super) now: i64,
}

/// Why a token is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// None of the keys is the one that it names: the provider may have a new one.
    UnknownKey,
    /// This is wrong with it.
    Wrong(&'static str),
}

/// The claims of a token that is as it must be.
pub(super) fn verify(token: &str, keys: &[Jwk], expected: &Expected<'_>) -> Result<Claims, Fault> {
    let wrong = |why| Err(Fault::Wrong(why));
    let Ok(header) = jsonwebtoken::decode_header(token) else {
        return wrong("it is no signed JWT");
    };
    // The algorithm is ours to choose, never the header's.
    if !expected.algorithms.contains(&header.alg) {
        return wrong("its algorithm is not one of `auth.oidc.algorithms`");
    }
    if header.crit.is_some() {
        return wrong("it takes an extension that is not known here");
    }
    let fits = |key: &&Jwk| is_for(key, header.alg);
    let mut fitting = keys.iter().filter(fits);
    let key = match &header.kid {
        Some(id) => fitting.find(|key| key.common.key_id.as_ref() == Some(id)),
        None => match (fitting.next(), fitting.next()) {
            (Some(_), Some(_)) => {
                return wrong("it names no key (`kid`), and the provider has several");
            }
            (only, _) => only,
        },
    };
    let key = key.ok_or(Fault::UnknownKey)?;
    let Ok(key) = DecodingKey::from_jwk(key) else {
        return wrong("the provider's key for it cannot be read");
    };
    let mut validation = Validation::new(header.alg);
    // All claims are checked below, the times by our own clock.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    let Ok(token) = jsonwebtoken::decode::<Claims>(token, &key, &validation) else {
        return wrong("its signature is wrong, or it is malformed");
    };
    check(&token.claims, expected)?;
    Ok(token.claims)
}

fn check(claims: &Claims, expected: &Expected<'_>) -> Result<(), Fault> {
    let wrong = |why| Err(Fault::Wrong(why));
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let second = |name: &str| claims.get(name).map(|value| value.as_f64());
    if text("iss") != Some(expected.issuer) {
        return wrong("another issuer made it (`iss`)");
    }
    let (meant, others) = match claims.get("aud") {
        Some(Value::String(one)) => (one == expected.client_id, false),
        Some(Value::Array(all)) => (all.iter().any(|one| one == expected.client_id), all.len() > 1),
        _ => (false, false),
    };
    if !meant {
        return wrong("it is meant for another client (`aud`)");
    }
    let party = claims.get("azp");
    if party.map_or(others, |party| party != expected.client_id) {
        return wrong("it was made for another client (`azp`)");
    }
    #[expect(clippy::cast_precision_loss, reason = "seconds are far below 2^53")]
    let (now, leeway) = (expected.now as f64, expected.leeway_s as f64);
    if !matches!(second("exp"), Some(Some(until)) if until + leeway > now) {
        return wrong("it has expired (`exp`)");
    }
    for begin in ["nbf", "iat"] {
        if matches!(second(begin), Some(from) if from.is_none_or(|from| from - leeway > now)) {
            return wrong(
                "it is not valid yet: compare the clocks of the provider and this machine",
            );
        }
    }
    if text("nonce") != Some(expected.nonce) {
        return wrong("it was made for another sign-in (`nonce`)");
    }
    match text("sub") {
        Some(subject) if (1..=MAX_SUBJECT).contains(&subject.chars().count()) => Ok(()),
        _ => wrong("it names nobody (`sub`)"),
    }
}

/// Whether a key may be used with an algorithm: each is for one family, and for the algorithm that it
/// names, if it names one.
fn is_for(key: &Jwk, algorithm: Algorithm) -> bool {
    let common = &key.common;
    let to_sign = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let names = common.key_algorithm.is_none_or(|named| named == KeyAlgorithm::from(algorithm));
    let family = match (&key.algorithm, algorithm.family()) {
        (AlgorithmParameters::RSA(key), AlgorithmFamily::Rsa) => key.n.len() >= RSA_2048,
        (AlgorithmParameters::EllipticCurve(key), AlgorithmFamily::Ec) => match algorithm {
            Algorithm::ES256 => key.curve == EllipticCurve::P256,
            _ => key.curve == EllipticCurve::P384,
        },
        (AlgorithmParameters::OctetKeyPair(key), AlgorithmFamily::Ed) => {
            key.curve == EllipticCurve::Ed25519
        }
        _ => false,
    };
    to_sign && names && family
}

/// A claim by its name or, where there is none of this name and it begins with `/`, by its place.
pub(super) fn claim<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let (first, rest) = match name.strip_prefix('/')?.split_once('/') {
        Some((first, rest)) => (first, format!("/{rest}")),
        None => (name.get(1..)?, String::new()),
    };
    claims.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(&rest)
}

#[cfg(test)]
mod tests;
