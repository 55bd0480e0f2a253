//! [`Credentials`].

use domain::{
    ApiKey, Credential, CredentialKind, Identity, Role, Scope, Session, SignIns, UsedState, UserId,
};
use futures_util::future::join_all;
use time::Duration;

use super::{Outcome, assert_conflict, fresh, moment, odd_texts};
use crate::ports::Credentials;

/// Add, change, list, end, forget.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn credentials(port: &dyn Credentials) -> Outcome {
    assert_eq!(port.get(CredentialKind::Session, &fresh("none")).await?, None);

    // The same id in another kind is another one.
    let id = fresh("ses");
    let (mut one, mut key) = (session(&id), api_key(&id));
    port.put(Credential::Session(one.clone())).await?;
    port.put(Credential::ApiKey(key.clone())).await?;
    assert_eq!(
        port.get(CredentialKind::Session, &id).await?,
        Some(Credential::Session(one.clone()))
    );
    assert_conflict(port.put(Credential::Session(one.clone())).await);
    one.revision = 3;
    assert_conflict(port.put(Credential::Session(one.clone())).await);
    one.revision = 2;
    one.secret = "changed".to_owned();
    port.put(Credential::Session(one.clone())).await?;
    assert_eq!(
        port.get(CredentialKind::Session, &id).await?,
        Some(Credential::Session(one.clone()))
    );

    for text in odd_texts() {
        let odd = ApiKey { name: text.clone(), created_by: text, ..api_key(&fresh("key")) };
        port.put(Credential::ApiKey(odd.clone())).await?;
        let read = port.get(CredentialKind::ApiKey, &odd.id).await?;
        assert_eq!(read, Some(Credential::ApiKey(odd)));
    }
    let keys = port.all(CredentialKind::ApiKey).await?;
    assert!(keys.iter().all(|key| key.kind() == CredentialKind::ApiKey));
    assert!(keys.iter().any(|key| key.id() == id));
    assert!(keys.is_sorted_by_key(|key| key.id().to_owned()), "keys are not by id");

    // What ends is told from that moment on.
    let ended_at = moment(1_000_000_000) + Duration::nanoseconds(1);
    assert!(!ended(port, ended_at, &id).await?);
    (one.ended_at, one.revision) = (Some(ended_at), 3);
    port.put(Credential::Session(one)).await?;
    (key.revoked_at, key.revision) = (Some(ended_at), 2);
    port.put(Credential::ApiKey(key)).await?;
    assert!(ended(port, ended_at, &id).await?);
    assert!(!ended(port, ended_at + Duration::nanoseconds(1), &id).await?);

    // Keys stay; what is over goes.
    let sign_ins = SignIns {
        id: fresh("name"),
        failures: u32::MAX,
        blocked_until: moment(5),
        expires_at: moment(-500_000),
        revision: 1,
    };
    let kept = SignIns { id: fresh("name"), expires_at: moment(9), ..sign_ins.clone() };
    port.put(Credential::SignIns(sign_ins.clone())).await?;
    port.put(Credential::SignIns(kept.clone())).await?;
    let identity = Identity { id: fresh("identity"), user: UserId::new(), revision: 1 };
    let used = UsedState { id: fresh("state"), expires_at: moment(-500_000), revision: 1 };
    port.put(Credential::Identity(identity.clone())).await?;
    port.put(Credential::UsedState(used.clone())).await?;
    assert_conflict(port.put(Credential::UsedState(used.clone())).await);
    port.forget(moment(-400_000)).await?;
    assert_eq!(port.get(CredentialKind::UsedState, &used.id).await?, None);
    let read = port.get(CredentialKind::Identity, &identity.id).await?;
    assert_eq!(read, Some(Credential::Identity(identity)));
    assert_eq!(port.get(CredentialKind::SignIns, &sign_ins.id).await?, None);
    let read = port.get(CredentialKind::SignIns, &kept.id).await?;
    assert_eq!(read, Some(Credential::SignIns(kept)));
    assert!(port.get(CredentialKind::ApiKey, &id).await?.is_some());
    Ok(())
}

/// Many use the same refresh token at once: one change is made.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn credentials_by_two(first: &dyn Credentials, second: &dyn Credentials) -> Outcome {
    let one = session(&fresh("ses"));
    for revision in 1..5 {
        let tries = (0..10).map(|number| {
            let port = if number % 2 == 0 { first } else { second };
            let secret = number.to_string();
            port.put(Credential::Session(Session { revision, secret, ..one.clone() }))
        });
        let mut made = 0;
        for outcome in join_all(tries).await {
            match outcome {
                Ok(()) => made += 1,
                lost => assert_conflict(lost),
            }
        }
        assert_eq!(made, 1, "revision {revision}");
    }
    let kind = CredentialKind::Session;
    assert_eq!(first.get(kind, &one.id).await?, second.get(kind, &one.id).await?);
    Ok(())
}

async fn ended(
    port: &dyn Credentials,
    since: time::OffsetDateTime,
    id: &str,
) -> Result<bool, crate::StoreError> {
    let ended = port.ended_since(since).await?;
    Ok(ended.iter().filter(|one| one.id == id && one.at >= since).count() > 0)
}

fn session(id: &str) -> Session {
    Session {
        id: id.to_owned(),
        user: UserId::new(),
        secret: "digest".to_owned(),
        created_at: moment(0),
        used_at: moment(0),
        expires_at: moment(1),
        ended_at: None,
        revision: 1,
    }
}

fn api_key(id: &str) -> ApiKey {
    ApiKey {
        id: id.to_owned(),
        name: "robot".to_owned(),
        secret: "digest".to_owned(),
        role: Role::Client,
        scope: Scope::default(),
        created_at: moment(0),
        created_by: "ada".to_owned(),
        expires_at: Some(moment(3)),
        last_used_at: None,
        revoked_at: None,
        replaced_by: None,
        revision: 1,
    }
}
