//! The audit trail: what is in it, and what is found if somebody changed it.

use contracts::auth::{AuditQuery, Entries};
use contracts::{AuthApi, Call, ErrorCode};
use domain::{AuditEntry, AuditOutcome, RequestId, Role, SealedEntry};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _};
use time::OffsetDateTime;

use super::place::{PASSWORD, Place, anonymous, by, create, sign_in};

async fn entries(auth: &auth::Auth, role: Role) -> Vec<SealedEntry> {
    let query = AuditQuery { limit: 1000, ..AuditQuery::default() };
    auth.audit(by(role), query).await.unwrap().entries
}

async fn run(place: &Place, sql: &str) {
    let path = place.folder.path().join("data/relational.db");
    let mut file = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut file).await.unwrap();
}

async fn faults(auth: &auth::Auth) -> Vec<(u64, String)> {
    let verdict = auth.verify_audit(by(Role::Admin)).await.unwrap();
    assert_eq!(verdict.whole, verdict.faults.is_empty());
    verdict.faults.into_iter().map(|fault| (fault.seq, fault.fault)).collect()
}

/// An engine whose trail has ten entries.
async fn with_ten(place: &Place) -> std::sync::Arc<auth::Auth> {
    let auth = place.started().await;
    for number in 0..9 {
        create(&auth, by(Role::Admin), &format!("u{number}"), PASSWORD, Role::Client)
            .await
            .unwrap();
    }
    assert_eq!(faults(&auth).await, []);
    auth
}

#[tokio::test]
async fn changes_and_failures_are_on_record_without_secrets() {
    let place = Place::new();
    let auth = place.started().await;
    let call = Call {
        client: Some("203.0.113.9".parse().unwrap()),
        request_id: RequestId::accept("my-request"),
        ..by(Role::Admin)
    };
    create(&auth, call, "eve", PASSWORD, Role::Client).await.unwrap();
    sign_in(&auth, "eve", "a wrong password").await.err().unwrap();
    assert_eq!(faults(&auth).await, []);
    let entries = entries(&auth, Role::Admin).await;
    let actions: Vec<_> =
        entries.iter().map(|one| (one.entry.action.as_str(), one.entry.outcome)).collect();
    let (done, refused) = (AuditOutcome::Done, AuditOutcome::Refused);
    assert_eq!(actions, [("user.create", done), ("user.create", done), ("session.begin", refused)]);
    let made = &entries[1].entry;
    assert_eq!((made.target.as_str(), made.request_id.as_str()), ("user:eve", "my-request"));
    assert_eq!(made.client.unwrap().to_string(), "203.0.113.9");
    assert_eq!(made.actor.as_ref().unwrap().name, "anna");
    assert_eq!(made.after.as_ref().unwrap()["role"], "client");
    let text = serde_json::to_string(&entries).unwrap();
    for secret in [PASSWORD, "a wrong password", "argon2"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_changed_a_deleted_and_a_moved_entry_are_found_and_named() {
    let wrong = "is not as it was written".to_owned();
    for (sql, seq, fault) in [
        (
            "UPDATE audit SET record = replace(record, 'user:u3', 'user:u4') WHERE seq = 5",
            5,
            &*wrong,
        ),
        ("UPDATE audit SET record = record || ' ' WHERE seq = 10", 10, &wrong),
        ("UPDATE audit SET seal = 'x' WHERE seq = 10", 10, &wrong),
        ("DELETE FROM audit WHERE seq = 1", 1, "is missing"),
        ("DELETE FROM audit WHERE seq = 4", 4, "is missing"),
        ("DELETE FROM audit WHERE seq = 10", 10, "is missing"),
        (
            "UPDATE audit SET actor = 'somebody' WHERE seq = 7",
            7,
            "is not listed under what it says",
        ),
        // Also if the one who did it took care of the head.
        (
            "DELETE FROM audit WHERE seq = 10; UPDATE audit SET seq = 10, seal = (SELECT seal FROM \
             audit_head) WHERE seq = 9",
            9,
            "is missing",
        ),
    ] {
        let place = Place::new();
        let auth = with_ten(&place).await;
        run(&place, sql).await;
        let found = faults(&auth).await;
        assert!(found.contains(&(seq, fault.to_owned())), "{sql}: {found:?}");
        // Another replica, started later, sees it as well, and goes on writing.
        let other = place.start(&[]).await.unwrap();
        create(&other, by(Role::Admin), "late", PASSWORD, Role::Client).await.unwrap();
        assert!(faults(&other).await.contains(&(seq, fault.to_owned())), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_replicas_that_write_at_once_make_one_trail() {
    let place = Place::new();
    let (one, other) = (place.started().await, place.start(&[]).await.unwrap());
    let entry = |number: usize| AuditEntry {
        at: OffsetDateTime::UNIX_EPOCH,
        actor: None,
        client: None,
        request_id: RequestId::new(),
        action: "test".to_owned(),
        target: number.to_string(),
        outcome: AuditOutcome::Done,
        reason: String::new(),
        before: None,
        after: None,
        count: 1,
    };
    let mut writing = tokio::task::JoinSet::new();
    for number in 0..50 {
        let auth = std::sync::Arc::clone(if number % 2 == 0 { &one } else { &other });
        let request = Entries { entries: vec![entry(number)] };
        writing.spawn(async move { auth.record(by(Role::Service), request).await.map(drop) });
    }
    for outcome in writing.join_all().await {
        outcome.unwrap();
    }
    assert_eq!(faults(&one).await, []);
    let mut targets: Vec<usize> = entries(&one, Role::Admin)
        .await
        .iter()
        .filter(|sealed| sealed.entry.action == "test")
        .map(|sealed| sealed.entry.target.parse().unwrap())
        .collect();
    targets.sort_unstable();
    assert!(targets.into_iter().eq(0..50));
}

#[tokio::test]
async fn analysts_see_what_was_done_to_models_and_nobody_else_sees_anything() {
    let place = Place::new();
    let auth = place.started().await;
    let mut entry = entries(&auth, Role::Admin).await.remove(0).entry;
    entry.target = "model:iris".to_owned();
    auth.record(by(Role::Service), Entries { entries: vec![entry.clone()] }).await.unwrap();
    let seen = entries(&auth, Role::Analyst).await;
    assert_eq!(seen.iter().map(|one| &*one.entry.target).collect::<Vec<_>>(), ["model:iris"]);
    let query = || AuditQuery { limit: 1, ..AuditQuery::default() };
    for role in [Role::Client, Role::Service] {
        let error = auth.audit(by(role), query()).await.err().unwrap();
        assert_eq!(error.code, ErrorCode::Forbidden);
    }
    assert_eq!(
        auth.audit(anonymous(), query()).await.err().unwrap().code,
        ErrorCode::Unauthenticated
    );
    for role in [Role::Client, Role::Analyst, Role::Engineer, Role::Admin] {
        let request = Entries { entries: vec![entry.clone()] };
        let outcome = auth.record(by(role), request).await;
        // Nobody but a service writes; an admin may all that a service may.
        assert_eq!(outcome.is_ok(), role == Role::Admin, "{role:?}");
    }
    for role in [Role::Client, Role::Analyst, Role::Engineer] {
        assert_eq!(auth.verify_audit(by(role)).await.err().unwrap().code, ErrorCode::Forbidden);
    }
}
