//! [`Accounts`].

use domain::{Role, User, UserId};
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
    User {
        id: UserId::new(),
        username: username.to_owned(),
        role,
        password_hash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".to_owned(),
        created_at: moment(0),
        created_by: "first start".to_owned(),
    }
}
