//! Bearer tokens and API keys that nobody made: refused as such, and never believed.

use std::sync::Arc;
use std::time::Duration;

use contracts::auth::NewApiKey;
use contracts::{AuthApi, ErrorCode};
use domain::{Role, Scope};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use runtime::Authenticator;
use runtime::settings::{HTTP, Http};
use testkit::fuzz::{cases, mutated, within};

use super::place::{PASSWORD, Place, by, sign_in};

#[test]
fn a_strange_token_is_refused_in_our_words() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = Place::new();
    let auth = runtime.block_on(place.started());
    let token = runtime.block_on(sign_in(&auth, "admin", PASSWORD)).unwrap().access_token;
    let authenticator = authenticator(&place, auth);
    let verify = |token: &str| {
        within(Duration::from_secs(5), || runtime.block_on(authenticator.verify(token)))
    };
    assert_eq!(verify(&token).unwrap().principal.name, "admin");

    let changed = mutated(token.clone().into_bytes())
        .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    // Whole parts in other places, and parts that decode to JSON.
    let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let part = prop_oneof![
        prop::sample::select(parts),
        any::<String>(),
        Just(String::new()),
        // {"alg":"none"}, {"alg":"HS256","kid":"a"}, [[[[1]]]], null
        prop::sample::select(vec![
            "eyJhbGciOiJub25lIn0",
            "eyJhbGciOiJIUzI1NiIsImtpZCI6ImEifQ",
            "W1tbWzFdXV1d",
            "bnVsbA",
        ])
        .prop_map(str::to_owned),
    ];
    let joined = prop::collection::vec(part, 0..6).prop_map(|parts| parts.join("."));
    let strange = prop_oneof![changed, joined, any::<String>()];
    TestRunner::new(cases(3000))
        .run(&strange, |text| {
            match verify(&text) {
                // Only what is the token itself proves anything.
                Ok(_) => prop_assert_eq!(&text, &token),
                Err(error) => prop_assert_eq!(error.code, ErrorCode::Unauthenticated),
            }
            Ok(())
        })
        .unwrap();
    let long = format!("{}.{token}", "A".repeat(10 << 20));
    assert_eq!(verify(&long).unwrap_err().code, ErrorCode::Unauthenticated);
}

#[test]
fn a_strange_api_key_is_refused_in_our_words() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = Place::new();
    let auth = runtime.block_on(place.started());
    let (name, role) = ("robot".to_owned(), Role::Client);
    let new = NewApiKey { name, role, scope: Scope::default(), expires_at: None };
    let key = runtime.block_on(auth.create_api_key(by(Role::Admin), new)).unwrap().key;
    let authenticator = authenticator(&place, auth);
    let verify =
        |key: &str| within(Duration::from_secs(5), || runtime.block_on(authenticator.verify(key)));
    assert_eq!(verify(&key).unwrap().principal.name, "robot");

    let changed = mutated(key.clone().into_bytes())
        .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let begun = any::<String>().prop_map(|rest| format!("key_{rest}"));
    let strange = prop_oneof![changed, begun, "key_[a-z2-9]{12}_[A-Za-z0-9_-]{43}"];
    TestRunner::new(cases(1000))
        .run(&strange, |text| {
            match verify(&text) {
                Ok(_) => prop_assert_eq!(&text, &key),
                Err(error) => prop_assert_eq!(error.code, ErrorCode::Unauthenticated),
            }
            Ok(())
        })
        .unwrap();
}

fn authenticator(place: &Place, auth: Arc<auth::Auth>) -> Authenticator {
    #[derive(serde::Deserialize)]
    struct All {
        http: Http,
    }
    let All { http } = runtime::settings::load(&[HTTP], None, Default::default()).unwrap();
    Authenticator::new(auth, Arc::clone(&place.clock) as _, &http)
}
