use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

const DEFAULTS: &str = "[door]\nlisten = \"127.0.0.1:1\"\nlimit = 5\nkey = \"\"\n";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Root {
    door: Door,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Door {
    listen: String,
    limit: u32,
    key: Secret,
}

fn read(pairs: &[(&str, &str)], file: Option<&Path>) -> Result<Root, RuntimeError> {
    let environment = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    load(&[DEFAULTS], file, environment)
}

#[test]
fn the_environment_wins_over_the_file_and_that_over_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("engine.toml");
    fs::write(&file, "[door]\nlimit = 6\nlisten = \"a\"\n").unwrap();
    let root = read(&[("ENGINE__DOOR__LIMIT", "7")], Some(&file)).unwrap();
    assert_eq!((root.door.limit, root.door.listen.as_str()), (7, "a"));
}

#[test]
fn a_password_of_digits_stays_text() {
    let root = read(&[("ENGINE__DOOR__KEY", "00123")], None).unwrap();
    assert_eq!(root.door.key.reveal(), "00123");
    assert_eq!(format!("{:?}", root.door.key), "[redacted]");
}

#[test]
fn a_secret_may_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    fs::write(&file, "s3cret\n").unwrap();
    let root = read(&[("ENGINE__DOOR__KEY_FILE", &file.display().to_string())], None).unwrap();
    assert_eq!(root.door.key.reveal(), "s3cret");
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let error = read(&[("ENGINE__DOOR__LIMITT", "7")], None).unwrap_err().to_string();
    assert!(error.contains("limitt"), "{error}");
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_by_name() {
    let error = read(&[("ENGINE__DOOR__LIMIT", "many")], None).unwrap_err().to_string();
    assert!(error.contains("limit"), "{error}");
}

#[test]
fn a_file_that_is_asked_for_must_exist() {
    assert!(read(&[], Some(Path::new("/nowhere/engine.toml"))).is_err());
}

#[test]
fn the_shipped_defaults_can_be_read() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct All {
        data_dir: String,
        telemetry: crate::telemetry::Telemetry,
        storage: Storage,
        http: Http,
        server: Server,
        services: Services,
    }
    load::<All>(&[PROCESS, STORAGE, HTTP, DISTRIBUTED], None, BTreeMap::new()).unwrap();
}
