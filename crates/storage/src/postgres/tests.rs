//! What only this adapter can get wrong, and needs no server to show.

use super::*;

#[tokio::test]
async fn a_url_that_cannot_be_understood_names_the_setting_and_no_secret() {
    for url in [
        "postgres://",
        "postgres://engine:hush@h",
        "postgres://engine:hush@h/?sslmode=require",
        "postgres://engine:hush@h:port/db",
        "postgres://engine:hu/sh@h/db",
        "postgres://engine:hush@h/db?sslmode=never",
        "postgres://engine@h/db?password=hush&port=hush",
    ] {
        let Err(error) = RelationalServer::open(url).await else {
            panic!("{url} was opened");
        };
        let text = format!("{error} {error:?}");
        assert!(matches!(error, StoreError::Setting { .. }), "{url}: {text}");
        assert!(text.starts_with("setting `storage.relational` "), "{text}");
        assert!(text.contains("postgres://<user>:<password>@") && !text.contains("hush"), "{text}");
    }
}

#[test]
fn a_place_has_neither_password_nor_parameters() {
    let place = |url: &str| place_of(&url.parse().unwrap());
    let url = "postgres://anna:hush@db.example/engine?password=hush&sslmode=require";
    assert_eq!(place(url), "postgres://anna@db.example:5432/engine");
    assert_eq!(place("postgresql://anna@%2Frun%2Fpg/x"), "postgres://anna@/run/pg/x");
}

#[test]
fn what_passes_is_told_from_what_does_not() {
    let io = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    for cause in [sqlx::Error::Io(io), sqlx::Error::PoolTimedOut, sqlx::Error::WorkerCrashed] {
        assert!(matches!(failure("s", "a", cause), StoreError::Unavailable { .. }));
    }
    assert!(matches!(failure("s", "a", sqlx::Error::RowNotFound), StoreError::Failed { .. }));
}
