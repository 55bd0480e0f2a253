//! The auth service on a real store, with a clock that the test moves.

#![expect(clippy::unwrap_used, reason = "in a test binary, what cannot be set up is a failure")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use auth::{AuthError, FirstStart};
use contracts::auth::{Claims, ServiceSignIn};
use contracts::{ApiError, AuthApi, Call, Deadline, ErrorCode};
use domain::Role;
use jsonwebtoken::DecodingKey;

use crate::place::{
    PASSWORD, Place, START, anonymous, by, create, down, request, sign_in, validation, verify,
};

#[path = "api/api_keys.rs"]
mod api_keys;
#[path = "api/costs.rs"]
mod costs;
#[path = "api/fuzz.rs"]
mod fuzz;
#[path = "api/place.rs"]
mod place;
#[path = "api/sessions.rs"]
mod sessions;
#[path = "api/trail.rs"]
mod trail;
#[path = "api/users.rs"]
mod users;

#[tokio::test]
async fn the_first_start_makes_an_admin_who_can_sign_in() {
    let place = Place::new();
    let auth = place.start(&[]).await.unwrap();
    let FirstStart::AdminCreated { username, generated_password: Some(password) } =
        auth.first_start().await.unwrap()
    else {
        panic!("no admin with a generated password was made");
    };
    assert_eq!(username, "admin");
    assert!(password.len() >= 20, "{password}");
    let token = sign_in(&auth, "admin", &password).await.unwrap();
    assert_eq!((token.token_type.as_str(), token.expires_in), ("Bearer", 900));
    assert_eq!(token.role, Role::Admin);

    // A second start leaves everything as it is.
    assert!(auth.first_start().await.unwrap() == FirstStart::HasUsers);
    let again = place.start(&[]).await.unwrap();
    assert!(again.first_start().await.unwrap() == FirstStart::HasUsers);
    sign_in(&again, "admin", &password).await.unwrap();
}

#[tokio::test]
async fn a_given_admin_password_is_used_and_not_shown() {
    let place = Place::new();
    let auth = place.start(&[("ADMIN_PASSWORD", "long enough")]).await.unwrap();
    let created =
        FirstStart::AdminCreated { username: "admin".to_owned(), generated_password: None };
    assert!(auth.first_start().await.unwrap() == created);
    sign_in(&auth, "admin", "long enough").await.unwrap();
}

#[tokio::test]
async fn of_two_first_starts_at_once_one_makes_the_admin() {
    let place = Place::new();
    let (one, two) = (place.start(&[]).await.unwrap(), place.start(&[]).await.unwrap());
    let (one, two) = tokio::join!(one.first_start(), two.first_start());
    let made = [one.unwrap(), two.unwrap()].into_iter().filter(|did| *did != FirstStart::HasUsers);
    assert_eq!(made.count(), 1);
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_by_name() {
    let place = Place::new();
    for (key, value, named) in [
        (
            "ADMIN_PASSWORD",
            "1234567",
            "`auth.admin_password` is `[redacted]`, but it must be at least 8",
        ),
        ("TOKEN_TTL_S", "0", "`auth.token_ttl_s` is `0`"),
        ("TOKEN_TTL_S", "86401", "`auth.token_ttl_s` is `86401`"),
        ("MAX_HASHES_AT_ONCE", "0", "`auth.max_hashes_at_once` is `0`"),
        ("PASSWORD_MIN_LENGTH", "0", "`auth.password_min_length` is `0`"),
        ("HASH_PASSES", "0", "hash_passes"),
        ("OIDC__ISSUER", "https://id.example", "`auth.oidc.client_id` is ``"),
        ("OIDC__CLIENT_SECRET", "s", "`auth.oidc.issuer` is ``"),
        ("OIDC__DEFAULT_ROLE", "client", "fill in the section [auth.oidc], or leave it out"),
        ("OIDC__ROLES", r#"[{"group": "a", "role": "client"}]"#, "`auth.oidc.issuer` is ``"),
    ] {
        let text = place.start(&[(key, value)]).await.err().unwrap().to_string();
        assert!(text.contains(named), "{text}");
    }
}

#[tokio::test]
async fn an_identity_provider_that_cannot_work_is_refused_by_name() {
    let place = Place::new();
    let good = [
        ("OIDC__ISSUER", "https://id.example/realms/a"),
        ("OIDC__CLIENT_ID", "engine"),
        ("OIDC__CLIENT_SECRET", "a secret of the client"),
        ("OIDC__REDIRECT_URL", "https://engine.example/api/v1/auth/oidc/callback"),
        ("OIDC__ROLES", r#"[{"group": "cn=admins,ou=groups", "role": "admin"}]"#),
    ];
    place.start(&good).await.unwrap();
    for (key, value, named) in [
        ("OIDC__CLIENT_SECRET", "", "`auth.oidc.client_secret` is ``"),
        ("OIDC__REDIRECT_URL", "", "`auth.oidc.redirect_url` is ``"),
        ("OIDC__ISSUER", "http://id.example", "`auth.oidc.issuer` is `http://id.example`"),
        ("OIDC__REDIRECT_URL", "http://engine.example/a", "https://host/path"),
        ("OIDC__ROLES", "", "`auth.oidc.roles` is `[]`"),
        ("OIDC__ROLES", r#"[{"group": "a", "role": "service"}]"#, "a = service"),
        ("OIDC__DEFAULT_ROLE", "service", "`auth.oidc.default_role` is `service`"),
        ("OIDC__DEFAULT_ROLE", "root", "`auth.oidc.default_role` is `root`"),
        ("OIDC__ALGORITHMS", "RS256,HS256", "`auth.oidc.algorithms` is `HS256`"),
        ("OIDC__ALGORITHMS", "none", "`auth.oidc.algorithms` is `none`"),
        ("OIDC__SCOPES", "profile", "with `openid` among them"),
        ("OIDC__GROUPS_CLAIM", "", "`auth.oidc.groups_claim` is ``"),
        ("OIDC__SIGN_IN_TTL_S", "1", "`auth.oidc.sign_in_ttl_s` is `1`"),
        ("OIDC__SESSION_TTL_S", "1", "`auth.oidc.session_ttl_s` is `1`"),
        ("OIDC__MAX_ANSWER_BYTES", "1", "`auth.oidc.max_answer_bytes` is `1`"),
    ] {
        let mut settings = good.to_vec();
        settings.push((key, value));
        let text = place.start(&settings).await.err().unwrap().to_string();
        assert!(text.contains(named), "{key} = {value}: {text}");
        assert!(!text.contains("a secret of the client"), "{text}");
    }
    // Without one there is no way in through it.
    let auth = place.started().await;
    let error = auth.oidc_begin(anonymous()).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::NotFound);
    assert!(error.message.contains("[auth.oidc]"), "{error}");
}

#[tokio::test]
async fn a_token_is_verified_with_the_published_key() {
    let place = Place::new();
    let auth =
        place.start(&[("ADMIN_PASSWORD", "long enough"), ("TOKEN_TTL_S", "60")]).await.unwrap();
    auth.first_start().await.unwrap();
    let token = sign_in(&auth, "admin", "long enough").await.unwrap();
    let claims = verify(&auth, &token).await;
    let user = place.store().await.accounts.user_by_name("admin").await.unwrap().unwrap();
    assert_eq!(claims.sub, user.id.to_string());
    assert_eq!((claims.name.as_str(), claims.role), ("admin", Role::Admin));
    assert_eq!((claims.iat, claims.nbf, claims.exp), (START, START, START + 60));

    place.clock.0.fetch_add(10, Ordering::SeqCst);
    let later = sign_in(&auth, "admin", "long enough").await.unwrap();
    let later = verify(&auth, &later).await;
    assert_eq!(later.exp, START + 70);
    assert_ne!(later.jti, claims.jti);

    // A restart keeps the key: tokens stay good.
    let again = place.start(&[]).await.unwrap();
    assert_eq!(again.jwks(anonymous()).await.unwrap(), auth.jwks(anonymous()).await.unwrap());
    verify(&again, &token).await;
}

#[tokio::test]
async fn another_engine_s_key_does_not_verify() {
    let (ours, other) = (Place::new(), Place::new());
    let (ours, other) = (ours.started().await, other.started().await);
    let token = sign_in(&ours, "admin", PASSWORD).await.unwrap();
    let key = &other.jwks(anonymous()).await.unwrap().keys[0];
    let key = DecodingKey::from_ed_components(&key.x).unwrap();
    let outcome = jsonwebtoken::decode::<Claims>(&token.access_token, &key, &validation());
    assert!(outcome.is_err());
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_the_same_401() {
    let place = Place::new();
    let auth = place.started().await;
    let wrong = sign_in(&auth, "admin", "wrong password").await.err().unwrap();
    assert_eq!(wrong.code, ErrorCode::Unauthenticated);
    for (user, password) in [
        ("admin", ""),
        ("Admin", PASSWORD),
        ("nobody", PASSWORD),
        ("", ""),
        ("admin\0", PASSWORD),
        ("'; DROP TABLE users; --", PASSWORD),
        ("admin", &"x".repeat(1_000_000)),
    ] {
        assert_eq!(sign_in(&auth, user, password).await.err(), Some(wrong.clone()), "{user}");
    }
    sign_in(&auth, "admin", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn an_unknown_user_takes_as_long_as_a_wrong_password() {
    let place = Place::new();
    let costs = [("ADMIN_PASSWORD", PASSWORD), ("HASH_MEMORY_KIB", "8192"), ("HASH_PASSES", "3")];
    let auth = place.start(&costs).await.unwrap();
    auth.first_start().await.unwrap();
    let (mut known, mut unknown) = (Duration::MAX, Duration::MAX);
    for _ in 0..5 {
        let begun = Instant::now();
        sign_in(&auth, "admin", "wrong password").await.err().unwrap();
        known = known.min(begun.elapsed());
        let begun = Instant::now();
        sign_in(&auth, "nobody", "wrong password").await.err().unwrap();
        unknown = unknown.min(begun.elapsed());
    }
    assert!(unknown > known / 2, "known {known:?}, unknown {unknown:?}");
}

#[tokio::test]
async fn an_admin_makes_users_of_every_role_but_service() {
    let place = Place::new();
    let auth = place.started().await;
    for role in [Role::Admin, Role::Engineer, Role::Analyst, Role::Client] {
        let name = format!("new-{}", role.as_str());
        let view = create(&auth, by(Role::Admin), &name, PASSWORD, role).await.unwrap();
        assert_eq!((&view.username, view.role), (&name, role));
        assert_eq!(view.created_by, "anna");
        assert_eq!(view.created_at.unix_timestamp(), START);
        assert_eq!(sign_in(&auth, &name, PASSWORD).await.unwrap().role, role);
    }
}

#[tokio::test]
async fn a_new_user_that_breaks_rules_is_told_all_of_them() {
    let place = Place::new();
    let auth = place.started().await;
    let admin = || by(Role::Admin);
    let error = create(&auth, admin(), "a b", "short", Role::Service).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::Unprocessable);
    let pointers: Vec<_> = error.errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(pointers, ["#/username", "#/password", "#/role"]);

    for name in ["", "é", "a/b", "a\0", &"a".repeat(65)] {
        let error = create(&auth, admin(), name, PASSWORD, Role::Client).await.err().unwrap();
        assert_eq!(error.errors[0].pointer, "#/username", "{name}");
    }
    for name in ["a", "A.b_c@d-e", &"a".repeat(64)] {
        create(&auth, admin(), name, PASSWORD, Role::Client).await.unwrap();
    }
    for password in ["1234567", "ééééééé", &"x".repeat(1025)] {
        let error = create(&auth, admin(), "eve", password, Role::Client).await.err().unwrap();
        assert_eq!(error.errors[0].pointer, "#/password");
        assert!(!error.message.contains(password));
    }
    create(&auth, admin(), "eve", "éééééééé", Role::Client).await.unwrap();
}

#[tokio::test]
async fn a_taken_name_is_409() {
    let place = Place::new();
    let auth = place.started().await;
    let error =
        create(&auth, by(Role::Admin), "admin", PASSWORD, Role::Client).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::Conflict);
    assert_eq!(error.message, "user `admin` exists already");
    assert_eq!(sign_in(&auth, "admin", PASSWORD).await.unwrap().role, Role::Admin);
}

#[tokio::test]
async fn only_admins_see_and_make_users() {
    let place = Place::new();
    let auth = place.started().await;
    for role in [Role::Engineer, Role::Analyst, Role::Client, Role::Service] {
        let error = create(&auth, by(role), "eve", PASSWORD, Role::Admin).await.err().unwrap();
        assert_eq!(error.code, ErrorCode::Forbidden, "{role:?}");
        assert_eq!(auth.users(by(role)).await.err().unwrap().code, ErrorCode::Forbidden);
    }
    let error = create(&auth, anonymous(), "eve", PASSWORD, Role::Admin).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::Unauthenticated);
    assert_eq!(auth.users(anonymous()).await.err().unwrap().code, ErrorCode::Unauthenticated);

    create(&auth, by(Role::Admin), "Bob", PASSWORD, Role::Client).await.unwrap();
    let users = auth.users(by(Role::Admin)).await.unwrap();
    let json = serde_json::to_string(&users).unwrap();
    assert!(!json.contains("argon2"), "{json}");
    let names: Vec<_> = users.users.iter().map(|user| user.username.as_str()).collect();
    assert_eq!(names, ["Bob", "admin"]);
}

#[tokio::test]
async fn a_service_gets_a_token_for_the_secret_in_the_file() {
    let place = Place::new();
    let auth = place.started().await;
    let secret = fs::read_to_string(place.folder.path().join("data/keys/service.secret")).unwrap();
    let ask = |service: &str, secret: &str| {
        let request = ServiceSignIn { service: service.to_owned(), secret: secret.to_owned() };
        auth.service_token(anonymous(), request)
    };
    let token = ask("router", secret.trim_end()).await.unwrap();
    let claims = verify(&auth, &token).await;
    assert_eq!((claims.sub.as_str(), claims.name.as_str()), ("router", "router"));
    assert_eq!((claims.role, token.role), (Role::Service, Role::Service));

    for wrong in ["", "wrong", PASSWORD, &format!("{}x", secret.trim_end())] {
        let error = ask("router", wrong).await.err().unwrap();
        assert_eq!(error.code, ErrorCode::Unauthenticated);
        assert!(!error.message.contains(secret.trim_end()));
    }
    let error = ask("a router\n", secret.trim_end()).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::Unprocessable);
}

#[tokio::test]
async fn a_secret_of_one_s_own_may_be_given() {
    let place = Place::new();
    let path = place.folder.path().join("mounted");
    fs::write(&path, "an old secret of more than thirty-two characters\r\n").unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
    let path = path.display().to_string();
    let auth = place.start(&[("SERVICE_SECRET_FILE", &path)]).await.unwrap();
    let secret = "an old secret of more than thirty-two characters".to_owned();
    let request = ServiceSignIn { service: "drift".to_owned(), secret };
    auth.service_token(anonymous(), request).await.unwrap();
}

#[tokio::test]
async fn a_key_file_that_others_may_read_stops_the_start() {
    let place = Place::new();
    place.start(&[]).await.unwrap();
    let folder = place.folder.path().join("data/keys/signing");
    let key = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let error = place.start(&[]).await.err().unwrap();
    assert!(matches!(error, AuthError::KeyFileOpen { .. }));
    assert!(error.to_string().contains("run `chmod 600 "), "{error}");
}

#[tokio::test]
async fn store_down_is_503_and_says_when_to_try_again() {
    let place = Place::new();
    let auth = place.start_on(down().await, &[]).await.unwrap();
    let expected = |error: ApiError| {
        assert_eq!((error.code, error.retry_after_s), (ErrorCode::Unavailable, Some(1)));
        assert!(!error.message.contains("127.0.0.1"), "{error}");
    };
    expected(sign_in(&auth, "admin", PASSWORD).await.err().unwrap());
    expected(auth.users(by(Role::Admin)).await.err().unwrap());
    expected(create(&auth, by(Role::Admin), "x", PASSWORD, Role::Client).await.err().unwrap());
    assert!(matches!(auth.first_start().await.err().unwrap(), AuthError::Store(_)));
    // What needs no store goes on.
    auth.jwks(anonymous()).await.unwrap();
}

#[tokio::test]
async fn a_broken_hash_in_the_store_is_500_and_tells_nothing() {
    let place = Place::new();
    let auth = place.started().await;
    let mut user = place.store().await.accounts.user_by_name("admin").await.unwrap().unwrap();
    user.username = "broken".to_owned();
    user.id = domain::UserId::new();
    user.password_hash = "no hash".to_owned();
    place.store().await.accounts.create_user(user).await.unwrap();
    let error = sign_in(&auth, "broken", PASSWORD).await.err().unwrap();
    assert_eq!(error, ApiError::internal());
}

#[tokio::test(flavor = "multi_thread")]
async fn more_sign_ins_than_threads_wait_until_their_deadline() {
    let place = Place::new();
    let settings = [
        ("ADMIN_PASSWORD", PASSWORD),
        ("MAX_HASHES_AT_ONCE", "1"),
        ("HASH_MEMORY_KIB", "8192"),
        ("HASH_PASSES", "5"),
    ];
    let auth = place.start(&settings).await.unwrap();
    auth.first_start().await.unwrap();
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let auth = Arc::clone(&auth);
        waiting.spawn(async move { sign_in(&auth, "admin", PASSWORD).await.map(drop) });
    }
    while let Some(outcome) = waiting.join_next().await {
        outcome.unwrap().unwrap();
    }
    for _ in 0..6 {
        let auth = Arc::clone(&auth);
        waiting.spawn(async move {
            let call = Call { deadline: Deadline::after(Duration::ZERO), ..anonymous() };
            auth.sign_in(call, request("admin", PASSWORD)).await.map(drop)
        });
    }
    let mut late = 0;
    while let Some(outcome) = waiting.join_next().await {
        if let Err(error) = outcome.unwrap() {
            assert_eq!(error.code, ErrorCode::Timeout);
            late += 1;
        }
    }
    assert!(late > 0);
}
