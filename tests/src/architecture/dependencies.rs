//! Who may use whom.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use toml::{Table, Value};

use super::root;

/// What each of our packages may use of ours in its product code. Services get `clients` as well,
/// which only their `main.rs` may name (see `sources`).
const OURS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("models", &["domain"]),
    ("contracts", &["domain"]),
    ("storage", &["domain"]),
    ("clients", &["contracts", "domain"]),
    ("runtime", &["contracts", "domain"]),
    ("testkit", &["domain"]),
    ("e2e", &[]),
    ("gateway", SERVICE),
    ("auth", SERVICE),
    ("router", SERVICE),
    ("inference", SERVICE),
    ("feedback", SERVICE),
    ("drift", SERVICE),
    (
        "all-in-one",
        &[
            "domain",
            "contracts",
            "storage",
            "models",
            "runtime",
            "clients",
            "gateway",
            "auth",
            "router",
            "inference",
            "feedback",
            "drift",
        ],
    ),
];

const SERVICE: &[&str] = &["domain", "contracts", "storage", "models", "runtime", "clients"];

/// What other people's crates a package may use at all; a package not listed is bound only by
/// [`NEVER`].
const ONLY: &[(&str, &[&str])] = &[
    ("domain", &["serde", "serde_json", "thiserror", "uuid", "time", "semver", "utoipa"]),
    ("contracts", &["serde", "serde_json", "thiserror", "async-trait", "bytes", "time", "utoipa"]),
    (
        "models",
        &[
            "ort",
            "linfa",
            "linfa-trees",
            "linfa-logistic",
            "ndarray",
            "image",
            "fast_image_resize",
            "tokenizers",
            "half",
            // What a policy forbids, or hides, in texts.
            "regex",
            "bytes",
            "prost",
            "serde",
            "serde_json",
            "serde_path_to_error",
            "thiserror",
            "semver",
            "utoipa",
        ],
    ),
];

const WEB: &[&str] = &["actix-web", "actix-multipart", "actix-http", "axum", "hyper"];
const SQL: &[&str] = &["sqlx", "rusqlite", "mongodb", "redis", "deadpool-redis"];
const HTTP_CLIENTS: &[&str] = &["reqwest", "ureq"];

/// What a package must never use.
const NEVER: &[(&str, &[&[&str]])] = &[
    ("domain", &[WEB, SQL, HTTP_CLIENTS, &["tokio"]]),
    ("models", &[WEB, SQL, HTTP_CLIENTS, &["tokio"]]),
    ("contracts", &[WEB, SQL, HTTP_CLIENTS, &["tokio"]]),
    ("storage", &[WEB, HTTP_CLIENTS]),
    ("clients", &[WEB, SQL]),
    ("runtime", &[SQL, HTTP_CLIENTS]),
    ("gateway", &[SQL, HTTP_CLIENTS]),
    ("auth", &[SQL, HTTP_CLIENTS]),
    ("router", &[SQL, HTTP_CLIENTS]),
    ("inference", &[SQL, HTTP_CLIENTS]),
    ("feedback", &[SQL, HTTP_CLIENTS]),
    ("drift", &[SQL, HTTP_CLIENTS]),
    ("all-in-one", &[WEB, SQL, HTTP_CLIENTS]),
];

fn metadata() -> Metadata {
    let manifest = root().join("Cargo.toml");
    MetadataCommand::new()
        .manifest_path(manifest)
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .unwrap()
}

/// What the product code of a package uses; tests and build scripts may use what they like.
fn uses(package: &Package) -> BTreeSet<&str> {
    let product = |kind| kind == DependencyKind::Normal;
    let normal = package.dependencies.iter().filter(|dependency| product(dependency.kind));
    normal.map(|dependency| dependency.name.as_str()).collect()
}

#[test]
fn packages_use_only_those_below_them() {
    let metadata = metadata();
    let packages = metadata.workspace_packages();
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut wrong = Vec::new();
    for package in &packages {
        let name = package.name.as_str();
        let Some((_, allowed)) = OURS.iter().find(|(known, _)| *known == name) else {
            wrong.push(format!("package `{name}` is in no row of the table: add it, with an ADR"));
            continue;
        };
        for used in uses(package) {
            if ours.contains(used) && !allowed.contains(&used) {
                wrong.push(format!("`{name}` must not use `{used}`"));
            }
            let rule = ONLY.iter().find(|(known, _)| *known == name);
            if rule.is_some_and(|(_, only)| !ours.contains(used) && !only.contains(&used)) {
                wrong.push(format!("`{name}` must not use the crate `{used}` without an ADR"));
            }
            let never = NEVER.iter().find(|(known, _)| *known == name);
            if never.is_some_and(|(_, groups)| groups.iter().any(|group| group.contains(&used))) {
                wrong.push(format!("`{name}` must never use the crate `{used}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn packages_inherit_what_is_declared_once() {
    let mut wrong = Vec::new();
    for package in metadata().workspace_packages() {
        let path = package.manifest_path.as_std_path();
        let manifest: Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
        let name = package.name.as_str();
        let inherits = |value: Option<&Value>| {
            value.and_then(|value| value.get("workspace")).and_then(Value::as_bool) == Some(true)
        };
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            if !inherits(manifest["package"].get(key)) {
                wrong.push(format!("{name}: write `{key}.workspace = true`"));
            }
        }
        if !inherits(manifest.get("lints")) {
            wrong.push(format!("{name}: write `[lints]` with `workspace = true`"));
        }
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(Value::Table(dependencies)) = manifest.get(section) else { continue };
            for (dependency, value) in dependencies {
                // A package's own tests may turn on its own features; there is no other way.
                let itself = section == "dev-dependencies" && dependency == name;
                if !inherits(Some(value)) && !itself {
                    wrong.push(format!("{name}: write `{dependency}.workspace = true`"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
