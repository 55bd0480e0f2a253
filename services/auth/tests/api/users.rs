//! Users changed, their own password, the last admin.

use contracts::auth::{ChangePassword, UserChange, UserPatch, UserView};
use contracts::{ApiError, AuthApi, ErrorCode};
use domain::{Role, Scope};

use super::place::{PASSWORD, Place, by, caller, create, pass, revoked, sign_in, verify};

async fn change(auth: &auth::Auth, name: &str, change: UserPatch) -> Result<UserView, ApiError> {
    let request = UserChange { username: name.to_owned(), change };
    auth.change_user(by(Role::Admin), request).await
}

#[tokio::test]
async fn a_disabled_user_is_out_and_may_come_back() {
    let place = Place::new();
    let auth = place.started().await;
    create(&auth, by(Role::Admin), "eve", PASSWORD, Role::Engineer).await.unwrap();
    let token = sign_in(&auth, "eve", PASSWORD).await.unwrap();
    let id = verify(&auth, &token).await.sub;
    let disabled = |disabled| UserPatch { disabled: Some(disabled), ..UserPatch::default() };
    pass(&place, 1);
    assert!(change(&auth, "eve", disabled(true)).await.unwrap().disabled);
    assert!(revoked(&auth).await.contains(&id));
    let error = sign_in(&auth, "eve", PASSWORD).await.err().unwrap();
    let nobody = sign_in(&auth, "nobody", PASSWORD).await.err().unwrap();
    assert_eq!(error, nobody, "one cannot be told from the other");
    pass(&place, 1);
    change(&auth, "eve", disabled(false)).await.unwrap();
    sign_in(&auth, "eve", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn a_new_role_and_scope_count_from_the_next_sign_in_and_end_the_old_tokens() {
    let place = Place::new();
    let auth = place.started().await;
    create(&auth, by(Role::Admin), "eve", PASSWORD, Role::Client).await.unwrap();
    let before = sign_in(&auth, "eve", PASSWORD).await.unwrap();
    let scope = Scope { models: ["iris".parse().unwrap()].into(), ..Scope::default() };
    pass(&place, 1);
    let patch =
        UserPatch { role: Some(Role::Analyst), scope: Some(scope.clone()), ..UserPatch::default() };
    let view = change(&auth, "eve", patch).await.unwrap();
    assert_eq!((view.role, &view.scope), (Role::Analyst, &scope));
    assert!(revoked(&auth).await.contains(&verify(&auth, &before).await.sub));
    let claims = verify(&auth, &sign_in(&auth, "eve", PASSWORD).await.unwrap()).await;
    assert_eq!((claims.role, claims.scope), (Role::Analyst, scope));

    // What changes nothing ends nothing.
    let same = UserPatch { role: Some(Role::Analyst), ..UserPatch::default() };
    change(&auth, "eve", same).await.unwrap();
    let error = change(&auth, "nobody", UserPatch::default()).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::NotFound);
    let service = UserPatch { role: Some(Role::Service), ..UserPatch::default() };
    let error = change(&auth, "eve", service).await.err().unwrap();
    assert_eq!(error.errors[0].pointer, "#/role");
}

#[tokio::test]
async fn the_last_admin_stays_one() {
    let place = Place::new();
    let auth = place.started().await;
    let disabled = || UserPatch { disabled: Some(true), ..UserPatch::default() };
    let lowered = || UserPatch { role: Some(Role::Client), ..UserPatch::default() };
    for patch in [disabled(), lowered()] {
        let error = change(&auth, "admin", patch).await.err().unwrap();
        assert_eq!(error.code, ErrorCode::Conflict);
        assert!(error.message.contains("last admin"), "{error}");
    }
    create(&auth, by(Role::Admin), "second", PASSWORD, Role::Admin).await.unwrap();
    let (one, other) =
        tokio::join!(change(&auth, "admin", disabled()), change(&auth, "second", lowered()));
    assert_ne!(one.is_ok(), other.is_ok(), "{one:?} {other:?}");
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_the_old_one() {
    let place = Place::new();
    let auth = place.started().await;
    let token = sign_in(&auth, "admin", PASSWORD).await.unwrap();
    let call = caller(&auth, &token).await;
    let ask = |old: &str, new: &str| ChangePassword {
        old_password: old.to_owned(),
        new_password: new.to_owned(),
    };
    let refused = async |old: &str, new: &str| {
        let error = auth.change_password(call.clone(), ask(old, new)).await.err().unwrap();
        assert_eq!(error.code, ErrorCode::Unprocessable);
        assert!(!error.message.contains(new), "{error}");
        error.errors[0].pointer.clone()
    };
    assert_eq!(refused("wrong", "another horse").await, "#/old_password");
    assert_eq!(refused(PASSWORD, "short").await, "#/new_password");
    // From the list of those that leaked, in whatever case.
    assert_eq!(refused(PASSWORD, "PassWord1").await, "#/new_password");

    pass(&place, 1);
    let fresh = auth.change_password(call, ask(PASSWORD, "another horse")).await.unwrap();
    assert!(sign_in(&auth, "admin", PASSWORD).await.is_err());
    sign_in(&auth, "admin", "another horse").await.unwrap();
    assert!(revoked(&auth).await.contains(&verify(&auth, &token).await.sub));
    assert_ne!(verify(&auth, &fresh).await.sid, verify(&auth, &token).await.sid);
    assert!(verify(&auth, &fresh).await.issued_ms > verify(&auth, &token).await.issued_ms);
}

#[tokio::test]
async fn a_password_that_is_the_name_or_leaked_is_refused() {
    let place = Place::new();
    let auth = place.started().await;
    for (name, password) in
        [("longname", "LongName"), ("eve", "password123"), ("eve", "Q1W2e3r4t5")]
    {
        let error =
            create(&auth, by(Role::Admin), name, password, Role::Client).await.err().unwrap();
        assert_eq!(error.errors[0].pointer, "#/password", "{password}");
    }
}
