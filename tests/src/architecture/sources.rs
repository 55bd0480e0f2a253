//! How sources look.

use std::fs;
use std::path::{Path, PathBuf};

use super::root;

/// The most lines of a source file.
const MOST_LINES: usize = 500;

/// A source file: its path from the repository's root, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Whether it is compiled for tests and benchmarks only.
    fn is_test(&self) -> bool {
        let parts: Vec<&str> = self.path.split('/').collect();
        let of_tests = |part: &&str| matches!(*part, "tests" | "benches" | "testkit");
        parts.iter().any(of_tests) || self.path.ends_with("tests.rs")
    }

    /// The text without comments and without the tests at its foot.
    fn product(&self) -> String {
        if self.is_test() {
            return String::new();
        }
        let body = self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code = body.lines().filter(|line| !line.trim_start().starts_with("//"));
        code.collect::<Vec<_>>().join("\n")
    }

    fn is_in(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }
}

fn sources() -> Vec<Source> {
    let root = root();
    let mut files = Vec::new();
    for folder in ["crates", "proto-free-contracts", "services", "tests"] {
        collect(&root.join(folder), &mut files);
    }
    let source = |path: PathBuf| Source {
        text: fs::read_to_string(&path).unwrap(),
        path: path.strip_prefix(&root).unwrap().display().to_string(),
    };
    files.into_iter().map(source).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Fails with one line per source that breaks the rule.
fn check(rule: &str, broken: impl Fn(&Source) -> Option<String>) {
    let faults: Vec<_> = sources()
        .iter()
        .filter_map(|source| broken(source).map(|what| format!("{}: {what}", source.path)))
        .collect();
    assert!(faults.is_empty(), "{rule}:\n{}", faults.join("\n"));
}

fn mentions(text: &str, words: &[&str]) -> Option<String> {
    let word = words.iter().find(|word| text.contains(**word))?;
    Some(format!("mentions `{word}`"))
}

#[test]
fn only_the_edge_knows_the_web_framework() {
    check("only `http.rs`, files under `http/`, `main.rs` and `runtime` name actix", |source| {
        let name = source.path.rsplit('/').next().unwrap_or_default();
        let edge = matches!(name, "http.rs" | "main.rs") || source.path.contains("/http/");
        if edge || source.is_in("crates/runtime/") {
            return None;
        }
        mentions(&source.product(), &["actix"])
    });
}

#[test]
fn only_storage_knows_the_databases() {
    check("only `storage` names a database's driver", |source| {
        if source.is_in("crates/storage/") {
            return None;
        }
        mentions(&source.product(), &["sqlx::", "mongodb::", "redis::"])
    });
}

#[test]
fn only_runtime_reads_the_environment_and_sets_up_logs() {
    check("settings and logs are the business of `runtime`", |source| {
        if source.is_in("crates/runtime/") || source.path.ends_with("build.rs") {
            return None;
        }
        let words = ["env::var(", "env::vars", "env::var_os(", "tracing_subscriber"];
        mentions(&source.product(), &words)
    });
}

#[test]
fn only_runtime_sets_up_telemetry() {
    check("others know OpenTelemetry's API alone, and only libraries need it", |source| {
        if source.is_in("crates/runtime/") {
            return None;
        }
        let library = source.is_in("crates/clients/") || source.is_in("crates/storage/");
        let words: &[&str] = if library {
            &["opentelemetry_sdk", "opentelemetry_otlp", "opentelemetry_prometheus", "set_meter_"]
        } else {
            &["opentelemetry"]
        };
        mentions(&source.product(), words)
    });
}

#[test]
fn names_of_metrics_are_in_one_place() {
    check("a metric's name is a constant of `domain::metrics`", |source| {
        if source.path == "crates/domain/src/metrics.rs" {
            return None;
        }
        mentions(&source.product(), &["\"engine_", "\"http.", "\"process_", "\"model_req"])
    });
}

#[test]
fn only_main_chooses_a_transport() {
    check("a service names `clients` in its `main.rs` only", |source| {
        // The command line asks a running engine (ADR 0015), the engine posts to webhooks (ADR 0017).
        let may = ["services/all-in-one/src/commands/door.rs", "services/all-in-one/src/engine.rs"];
        let of_service = source.is_in("services/")
            && !source.path.ends_with("/src/main.rs")
            && !may.contains(&source.path.as_str());
        if of_service { mentions(&source.product(), &["clients::"]) } else { None }
    });
}

#[test]
fn no_source_is_too_long() {
    check("a file of more than 500 lines is two files", |source| {
        let lines = source.text.lines().count();
        (lines > MOST_LINES).then(|| format!("{lines} lines"))
    });
}

#[test]
fn modules_are_named_for_things() {
    check("name a module for what it is about", |source| {
        let parts = source.path.trim_end_matches(".rs").split('/');
        let vague = |part: &&str| {
            matches!(*part, "utils" | "util" | "common" | "helpers" | "helper" | "misc" | "mod")
        };
        parts.into_iter().find(vague).map(|part| format!("`{part}` says nothing"))
    });
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let words = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["todo", "!("],
        ["unimplemented", "!("],
        ["#[ig", "nore"],
        ["#[should", "_panic"],
    ];
    let words: Vec<String> = words.iter().map(|parts| parts.concat()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    check("finish it, or open an issue", |source| mentions(&source.text, &words));
}
