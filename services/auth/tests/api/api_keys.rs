//! API keys: made, used, rotated, revoked.

use contracts::auth::{KeySignIn, NewApiKey, RevokeKey, RotateKey, ShownKey, Token};
use contracts::{ApiError, AuthApi, ErrorCode};
use domain::{PrincipalKind, Role, Scope};
use time::OffsetDateTime;

use super::place::{Place, START, by, pass, revoked, verify};

fn new_key(name: &str) -> NewApiKey {
    NewApiKey {
        name: name.to_owned(),
        role: Role::Client,
        scope: Scope { models: ["iris".parse().unwrap()].into(), ..Scope::default() },
        expires_at: None,
    }
}

async fn make(auth: &auth::Auth) -> ShownKey {
    auth.create_api_key(by(Role::Admin), new_key("shop")).await.unwrap()
}

async fn exchange(auth: &auth::Auth, key: &str) -> Result<Token, ApiError> {
    auth.exchange_key(super::anonymous(), KeySignIn { key: key.to_owned() }).await
}

#[tokio::test]
async fn a_key_is_shown_once_and_gets_tokens_of_its_role_and_scope() {
    let place = Place::new();
    let auth = place.started().await;
    let shown = make(&auth).await;
    assert!(shown.key.starts_with(&format!("{}_", shown.api_key.id)), "{:?}", shown.api_key);
    let claims = verify(&auth, &exchange(&auth, &shown.key).await.unwrap()).await;
    assert_eq!(
        (claims.sub.as_str(), claims.sid.as_str()),
        (&*shown.api_key.id, &*shown.api_key.id)
    );
    assert_eq!((claims.kind, claims.role), (PrincipalKind::ApiKey, Role::Client));
    assert_eq!(claims.scope, new_key("shop").scope);

    let listed = auth.api_keys(by(Role::Admin)).await.unwrap();
    let secret = shown.key.rsplit('_').next().unwrap();
    assert!(!serde_json::to_string(&listed).unwrap().contains(secret));
    assert_eq!(listed.api_keys[0].last_used_at.unwrap().unix_timestamp(), START);
    // Nor is it in the store's file, as whoever takes that would have it.
    let file = place.folder.path().join("data");
    for entry in std::fs::read_dir(file).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        let bytes = std::fs::read(entry.path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
    }
}

#[tokio::test]
async fn a_wrong_key_is_401_whatever_is_wrong() {
    let place = Place::new();
    let auth = place.started().await;
    let key = make(&auth).await.key;
    let mut errors = Vec::new();
    let cut = key.get(..key.len() - 1).unwrap();
    for wrong in [cut, "key_", "", "key_aaaaaaaaaaaa_x", &format!("{key}x")] {
        errors.push(exchange(&auth, wrong).await.err().unwrap());
    }
    assert!(errors.windows(2).all(|pair| pair[0] == pair[1]), "{errors:?}");
    assert_eq!(errors[0].code, ErrorCode::Unauthenticated);
}

#[tokio::test]
async fn a_key_ends_when_it_expires_and_so_do_its_tokens() {
    let place = Place::new();
    let auth = place.started().await;
    let expires_at = OffsetDateTime::from_unix_timestamp(START + 100).unwrap();
    let request = NewApiKey { expires_at: Some(expires_at), ..new_key("brief") };
    let key = auth.create_api_key(by(Role::Admin), request.clone()).await.unwrap().key;
    let claims = verify(&auth, &exchange(&auth, &key).await.unwrap()).await;
    assert_eq!(claims.exp, START + 100, "not longer than the key");
    pass(&place, 100);
    assert!(exchange(&auth, &key).await.is_err());
    let error = auth.create_api_key(by(Role::Admin), request).await.err().unwrap();
    assert_eq!(error.errors[0].pointer, "#/expires_at");
}

#[tokio::test]
async fn a_revoked_key_is_out_on_all_replicas() {
    let place = Place::new();
    let (auth, other) = (place.started().await, place.start(&[]).await.unwrap());
    let shown = make(&auth).await;
    exchange(&other, &shown.key).await.unwrap();
    let revoke = || RevokeKey { id: shown.api_key.id.clone() };
    let view = auth.revoke_api_key(by(Role::Admin), revoke()).await.unwrap();
    assert_eq!(view.revoked_at.unwrap().unix_timestamp(), START);
    assert!(exchange(&other, &shown.key).await.is_err());
    assert!(revoked(&other).await.contains(&shown.api_key.id));
    assert_eq!(auth.revoke_api_key(by(Role::Admin), revoke()).await.unwrap(), view, "once more");
    let nothing = RevokeKey { id: "key_aaaaaaaaaaaa".to_owned() };
    let error = auth.revoke_api_key(by(Role::Admin), nothing).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::NotFound);
}

#[tokio::test]
async fn a_key_is_rotated_with_overlap() {
    let place = Place::new();
    let auth = place.started().await;
    let old = make(&auth).await;
    let rotate = |id: &str, overlap_s| {
        let request = RotateKey { id: id.to_owned(), overlap_s };
        auth.rotate_api_key(by(Role::Admin), request)
    };
    let new = rotate(&old.api_key.id, Some(60)).await.unwrap();
    assert_eq!((new.api_key.role, &new.api_key.name), (old.api_key.role, &old.api_key.name));
    exchange(&auth, &old.key).await.unwrap();
    exchange(&auth, &new.key).await.unwrap();
    let error = rotate(&old.api_key.id, None).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::Conflict);
    pass(&place, 60);
    assert!(exchange(&auth, &old.key).await.is_err());
    exchange(&auth, &new.key).await.unwrap();

    let at_once = rotate(&new.api_key.id, Some(0)).await.unwrap();
    assert!(exchange(&auth, &new.key).await.is_err());
    assert!(revoked(&auth).await.contains(&new.api_key.id));
    exchange(&auth, &at_once.key).await.unwrap();
}

#[tokio::test]
async fn only_admins_handle_keys_and_no_key_is_a_service() {
    let place = Place::new();
    let auth = place.started().await;
    for role in [Role::Engineer, Role::Analyst, Role::Client, Role::Service] {
        let error = auth.create_api_key(by(role), new_key("x")).await.err().unwrap();
        assert_eq!(error.code, ErrorCode::Forbidden, "{role:?}");
        assert_eq!(auth.api_keys(by(role)).await.err().unwrap().code, ErrorCode::Forbidden);
    }
    let request = NewApiKey { role: Role::Service, ..new_key("a b") };
    let error = auth.create_api_key(by(Role::Admin), request).await.err().unwrap();
    let pointers: Vec<_> = error.errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(pointers, ["#/name", "#/role"]);
}
