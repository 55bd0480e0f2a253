//! Documents that are made from the code, committed for whoever generates clients from them, and
//! compared here. `make openapi` writes them anew.

mod gateway;
mod internal;
mod manifest;
mod rights;

use std::fs;
use std::path::Path;

use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto-free-contracts");

/// That the committed file says what the code says now.
fn compare(file: &str, real: &Value) {
    let path = Path::new(FOLDER).join(file);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, serde_json::to_string_pretty(real).unwrap() + "\n").unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let same = serde_json::from_str::<Value>(&committed).is_ok_and(|committed| committed == *real);
    assert!(same, "{file} is not what the code says: run `make openapi`, then read the diff");
}
