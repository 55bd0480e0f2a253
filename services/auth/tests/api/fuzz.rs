//! Bearer tokens that nobody made: refused as such, and never believed.

use std::sync::Arc;
use std::time::Duration;

use contracts::ErrorCode;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use runtime::Authenticator;
use testkit::fuzz::{cases, mutated, within};

use super::place::{PASSWORD, Place, sign_in};

#[test]
fn a_strange_token_is_refused_in_our_words() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = Place::new();
    let auth = runtime.block_on(place.started());
    let token = runtime.block_on(sign_in(&auth, "admin", PASSWORD)).unwrap().access_token;
    let authenticator = Authenticator::new(auth, Arc::clone(&place.clock) as _);
    let verify = |token: &str| {
        within(Duration::from_secs(5), || runtime.block_on(authenticator.verify(token)))
    };
    assert_eq!(verify(&token).unwrap().name, "admin");

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
