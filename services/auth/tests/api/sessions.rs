//! Refresh tokens, sign-out, lock-out.

use std::sync::Arc;

use contracts::auth::{Refresh, SignOut, Token};
use contracts::{ApiError, AuthApi, ErrorCode};

use super::place::{PASSWORD, Place, anonymous, caller, pass, revoked, sign_in, verify};

async fn refresh(auth: &auth::Auth, token: &Token) -> Result<Token, ApiError> {
    let refresh_token = token.refresh_token.clone().unwrap();
    auth.refresh(anonymous(), Refresh { refresh_token }).await
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_used_twice_it_ends_the_session() {
    let place = Place::new();
    let auth = place.started().await;
    let first = sign_in(&auth, "admin", PASSWORD).await.unwrap();
    assert_eq!(first.refresh_expires_in, Some(604_800));
    let second = refresh(&auth, &first).await.unwrap();
    let third = refresh(&auth, &second).await.unwrap();
    let session = verify(&auth, &third).await.sid;
    assert_eq!(session, verify(&auth, &first).await.sid, "one session");
    assert!(!revoked(&auth).await.contains(&session));

    let error = refresh(&auth, &second).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::Unauthenticated);
    assert!(error.message.contains("used before"), "{error}");
    // The thief and the owner both have to sign in again.
    let error = refresh(&auth, &third).await.err().unwrap();
    assert!(error.message.contains("session is over"), "{error}");
    assert!(revoked(&auth).await.contains(&session));
}

#[tokio::test]
async fn of_many_that_use_a_refresh_token_at_once_one_at_most_gets_tokens() {
    let place = Place::new();
    let (auth, other) = (place.started().await, place.start(&[]).await.unwrap());
    let token = sign_in(&auth, "admin", PASSWORD).await.unwrap();
    let tries = (0..10).map(|number| refresh(if number % 2 == 0 { &auth } else { &other }, &token));
    let outcomes = futures_util::future::join_all(tries).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let winner = outcomes.into_iter().find_map(Result::ok).unwrap();
    assert!(refresh(&auth, &winner).await.is_err(), "the token was shown more than once");
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_or_old() {
    let place = Place::new();
    let settings =
        [("ADMIN_PASSWORD", PASSWORD), ("REFRESH_TTL_S", "1000"), ("SESSION_TTL_S", "2500")];
    let auth = place.start(&settings).await.unwrap();
    auth.first_start().await.unwrap();
    let idle = sign_in(&auth, "admin", PASSWORD).await.unwrap();
    let mut used = sign_in(&auth, "admin", PASSWORD).await.unwrap();
    pass(&place, 999);
    used = refresh(&auth, &used).await.unwrap();
    pass(&place, 1);
    assert_eq!(refresh(&auth, &idle).await.err().unwrap().code, ErrorCode::Unauthenticated);
    pass(&place, 900);
    used = refresh(&auth, &used).await.unwrap();
    assert_eq!(used.refresh_expires_in, Some(600), "what is left of the session");
    pass(&place, 600);
    assert!(refresh(&auth, &used).await.is_err());
}

#[tokio::test]
async fn who_signs_out_is_signed_out_here_or_everywhere() {
    let place = Place::new();
    let auth = place.started().await;
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(sign_in(&auth, "admin", PASSWORD).await.unwrap());
    }
    let here = caller(&auth, &tokens[0]).await;
    auth.sign_out(here.clone(), SignOut { everywhere: false }).await.unwrap();
    assert!(refresh(&auth, &tokens[0]).await.is_err());
    assert!(revoked(&auth).await.contains(&verify(&auth, &tokens[0]).await.sid));
    tokens[1] = refresh(&auth, &tokens[1]).await.unwrap();

    pass(&place, 1);
    let there = caller(&auth, &tokens[1]).await;
    auth.sign_out(there, SignOut { everywhere: true }).await.unwrap();
    for token in &tokens {
        assert!(refresh(&auth, token).await.is_err());
    }
    assert!(revoked(&auth).await.contains(&verify(&auth, &tokens[2]).await.sub));
    sign_in(&auth, "admin", PASSWORD).await.unwrap();
    let error = auth.sign_out(anonymous(), SignOut::default()).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::Unauthenticated);
}

#[tokio::test]
async fn words_that_are_no_refresh_token_are_401() {
    let place = Place::new();
    let auth = place.started().await;
    let good = sign_in(&auth, "admin", PASSWORD).await.unwrap().refresh_token.unwrap();
    for wrong in
        ["", ".", "ses_x", "ses_x.y", &good.replace('.', ""), &good.replace("ses_", "key_")]
    {
        let request = Refresh { refresh_token: wrong.to_owned() };
        let error = auth.refresh(anonymous(), request).await.err().unwrap();
        assert_eq!(error.code, ErrorCode::Unauthenticated, "{wrong}");
    }
}

#[tokio::test]
async fn after_failures_a_name_waits_longer_and_longer_whether_anybody_has_it() {
    let place = Place::new();
    let settings = [("ADMIN_PASSWORD", PASSWORD), ("LOCKOUT_AFTER", "3"), ("LOCKOUT_MAX_S", "5")];
    let auth = place.start(&settings).await.unwrap();
    auth.first_start().await.unwrap();
    for name in ["admin", "nobody"] {
        for _ in 0..3 {
            let error = sign_in(&auth, name, "a wrong password").await.err().unwrap();
            assert_eq!(error.code, ErrorCode::Unauthenticated);
        }
        for wait in [1, 2, 4, 5, 5] {
            // Also the right one has to wait; another replica knows, too.
            let other = place.start(&settings).await.unwrap();
            let error = sign_in(&other, name, PASSWORD).await.err().unwrap();
            assert_eq!((error.code, error.retry_after_s), (ErrorCode::RateLimited, Some(wait)));
            pass(&place, i64::from(wait));
            let error = sign_in(&auth, name, "a wrong password").await.err().unwrap();
            assert_eq!(error.code, ErrorCode::Unauthenticated, "{name} after {wait} s");
        }
    }
    pass(&place, 5);
    sign_in(&auth, "admin", PASSWORD).await.unwrap();
    // Success begins anew.
    for _ in 0..2 {
        sign_in(&auth, "admin", "a wrong password").await.err().unwrap();
    }
    sign_in(&auth, "admin", PASSWORD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_tries_many_passwords_at_once_gets_no_more_tries() {
    let place = Place::new();
    let settings = [("ADMIN_PASSWORD", PASSWORD), ("LOCKOUT_AFTER", "3")];
    let auth = place.start(&settings).await.unwrap();
    auth.first_start().await.unwrap();
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let auth = Arc::clone(&auth);
        tries.spawn(async move {
            sign_in(&auth, "admin", "a wrong password").await.err().unwrap().code
        });
    }
    let codes = tries.join_all().await;
    let tried = codes.iter().filter(|code| **code == ErrorCode::Unauthenticated).count();
    assert!((3..=5).contains(&tried), "{tried} passwords were tried");
    assert!(codes.iter().filter(|code| **code == ErrorCode::RateLimited).count() >= 95);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_know_the_password_sign_in_at_once() {
    let place = Place::new();
    let settings = [("ADMIN_PASSWORD", PASSWORD), ("LOCKOUT_AFTER", "3")];
    let auth = place.start(&settings).await.unwrap();
    auth.first_start().await.unwrap();
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let auth = Arc::clone(&auth);
        tries.spawn(async move { sign_in(&auth, "admin", PASSWORD).await.map(drop) });
    }
    for outcome in tries.join_all().await {
        outcome.unwrap();
    }
}
