//! [`Accounts`].

use domain::{Role, Scope, User, UserId};
use futures_util::future::join_all;

use super::{Outcome, assert_conflict, fresh, moment, odd_texts};
use crate::ports::Accounts;

/// Create, read, list; a taken name; odd values.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn accounts(port: &dyn Accounts) -> Outcome {
    assert_eq!(port.user_by_name(&fresh("nobody")).await?, None);

    let anna = user(&fresh("Anna"), Role::Engineer);
    port.create_user(anna.clone()).await?;
    assert_eq!(port.user_by_name(&anna.username).await?, Some(anna.clone()));
    // Upper and lower case are two names.
    assert_eq!(port.user_by_name(&anna.username.to_lowercase()).await?, None);

    assert_eq!(port.user(anna.id).await?, Some(anna.clone()));
    assert_eq!(port.user(UserId::new()).await?, None);

    assert_conflict(port.create_user(user(&anna.username, Role::Admin)).await);
    assert_eq!(port.user_by_name(&anna.username).await?, Some(anna.clone()));

    for role in [Role::Admin, Role::Engineer, Role::Analyst, Role::Client, Role::Service] {
        let one = user(&fresh(role.as_str()), role);
        port.create_user(one.clone()).await?;
        assert_eq!(port.user_by_name(&one.username).await?, Some(one));
    }

    let run = fresh("odd");
    for text in odd_texts() {
        let odd = User {
            password_hash: text.clone(),
            created_by: text.clone(),
            ..user(&format!("{run}{text}"), Role::Client)
        };
        port.create_user(odd.clone()).await?;
        assert_eq!(port.user_by_name(&odd.username).await?, Some(odd));
    }

    let users = port.users().await?;
    let mut names: Vec<_> = users.iter().map(|user| user.username.clone()).collect();
    assert!(names.contains(&anna.username));
    assert_eq!(names.iter().filter(|name| name.starts_with(&run)).count(), odd_texts().len());
    names.sort();
    assert!(names.iter().eq(users.iter().map(|user| &user.username)), "users are not by name");
    Ok(())
}

/// Changes of a user, each made once; the last admin stays. Needs a store of its own.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn account_changes(first: &dyn Accounts, second: &dyn Accounts) -> Outcome {
    let (ada, ben) = (user(&fresh("ada"), Role::Admin), user(&fresh("ben"), Role::Admin));
    first.create_user(ada.clone()).await?;
    first.create_user(ben.clone()).await?;

    let mut changed = User {
        role: Role::Client,
        password_hash: "another".to_owned(),
        scope: Scope {
            models: ["iris".parse().unwrap_or_else(|_| unreachable!())].into(),
            routes: ["POST /é\0".to_owned()].into(),
        },
        disabled: true,
        tokens_from: moment(77),
        identity: Some("https://issuer someone".to_owned()),
        revision: 2,
        ..ben.clone()
    };
    first.update_user(changed.clone()).await?;
    assert_eq!(second.user(ben.id).await?, Some(changed.clone()));
    assert_conflict(second.update_user(changed.clone()).await);
    changed.revision = 4;
    assert_conflict(second.update_user(changed.clone()).await);
    changed = User { revision: 3, ..ben.clone() };
    second.update_user(changed).await?;

    // Of two last admins that go at once, one stays.
    for round in 0..10 {
        let gone = |user: &User| User { disabled: true, revision: 0, ..user.clone() };
        let now = async |id| first.user(id).await.map(|user| user.map_or(0, |user| user.revision));
        let (of_ada, of_ben) = (now(ada.id).await?, now(ben.id).await?);
        let ada_gone = User { revision: of_ada + 1, ..gone(&ada) };
        let ben_gone = User { revision: of_ben + 1, ..gone(&ben) };
        let (one, other) =
            futures_util::join!(first.update_user(ada_gone), second.update_user(ben_gone));
        assert_eq!(
            [&one, &other].iter().filter(|outcome| outcome.is_ok()).count(),
            1,
            "round {round}: {one:?} {other:?}"
        );
        let (back, lost) = if one.is_ok() { (&ada, other) } else { (&ben, one) };
        assert_conflict(lost);
        let revision = now(back.id).await? + 1;
        first.update_user(User { revision, ..back.clone() }).await?;
    }
    Ok(())
}

/// Many make the same user at once: one does.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn accounts_by_two(first: &dyn Accounts, second: &dyn Accounts) -> Outcome {
    let name = fresh("contested");
    let tries = (0..20).map(|number| {
        let port = if number % 2 == 0 { first } else { second };
        port.create_user(user(&name, Role::Client))
    });
    let mut made = 0;
    for outcome in join_all(tries).await {
        match outcome {
            Ok(()) => made += 1,
            lost => assert_conflict(lost),
        }
    }
    assert_eq!(made, 1);
    assert_eq!(first.user_by_name(&name).await?, second.user_by_name(&name).await?);
    Ok(())
}

fn user(username: &str, role: Role) -> User {
    let password_hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".to_owned();
    User { password_hash, ..User::new(username, role, "first start", moment(0)) }
}
