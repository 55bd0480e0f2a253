//! What it costs to know who asks: printed with `--nocapture`, as `make limits` does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contracts::AuthApi;
use contracts::auth::{KeySignIn, NewApiKey};
use domain::{Role, Scope};
use runtime::Authenticator;
use runtime::settings::{HTTP, Http};
use serde::Deserialize;

use super::place::{PASSWORD, Place, anonymous, by, sign_in};

/// Verifications of the same credential that are measured together: one takes less than the clock can
/// tell.
const BATCH: u32 = 100;

#[expect(clippy::print_stdout, reason = "what the test is run for")]
fn told(what: &str, mut times: Vec<Duration>, most: Duration) {
    times.sort_unstable();
    let at = |part: usize| times.get((times.len() - 1) * part / 100).copied().unwrap();
    println!("{what}: median {:?}, p99 {:?}", at(50), at(99));
    // Generous: the machine may be busy with other things.
    assert!(at(50) < most, "{what}: {:?}", at(50));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_authentication_costs() {
    #[derive(Deserialize)]
    struct All {
        http: Http,
    }
    let place = Place::new();
    // The costs of a password as they are by default.
    let settings =
        [("ADMIN_PASSWORD", PASSWORD), ("HASH_MEMORY_KIB", "19456"), ("HASH_PASSES", "2")];
    let auth = place.start(&settings).await.unwrap();
    auth.first_start().await.unwrap();
    let All { http } = runtime::settings::load(&[HTTP], None, BTreeMap::new()).unwrap();
    let authenticator = || {
        let auth: Arc<dyn AuthApi> = auth.clone();
        Authenticator::new(auth, Arc::clone(&place.clock) as _, &http)
    };

    let mut times = Vec::new();
    for _ in 0..21 {
        let began = Instant::now();
        sign_in(&auth, "admin", PASSWORD).await.unwrap();
        times.push(began.elapsed());
    }
    told("a sign-in by password", times, Duration::from_secs(2));

    let (mut keys, mut tokens) = (Vec::new(), Vec::new());
    for number in 0..200 {
        let (name, scope) = (format!("key-{number}"), Scope::default());
        let new = NewApiKey { name, role: Role::Client, scope, expires_at: None };
        let key = auth.create_api_key(by(Role::Admin), new).await.unwrap().key;
        let exchanged = auth.exchange_key(anonymous(), KeySignIn { key: key.clone() }).await;
        tokens.push(exchanged.unwrap().access_token);
        keys.push(key);
    }
    for (what, credentials) in [("a token", tokens), ("an API key", keys)] {
        let authenticator = authenticator();
        // The public keys are asked for once.
        let (first, others) = credentials.split_first().unwrap();
        authenticator.verify(first).await.unwrap();
        let mut times = Vec::new();
        for credential in others {
            let began = Instant::now();
            authenticator.verify(credential).await.unwrap();
            times.push(began.elapsed());
        }
        told(&format!("{what}, seen first"), times, Duration::from_millis(50));
        let mut times = Vec::new();
        for _ in 0..1000 {
            let began = Instant::now();
            for _ in 0..BATCH {
                authenticator.verify(first).await.unwrap();
            }
            times.push(began.elapsed() / BATCH);
        }
        told(&format!("{what}, known"), times, Duration::from_millis(1));
    }
}
