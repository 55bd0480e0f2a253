//! `docs/walkthrough.md` is true: each command there is run, and its answer compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testkit::{Engine, PASSWORD, Setup, Topology, compare, run};

#[test]
fn the_walkthrough_is_true() {
    run(Topology::Embedded, walk());
}

async fn walk() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
    let text = fs::read_to_string(root.join("docs/walkthrough.md")).unwrap();
    let steps = steps(&text);
    assert!(steps.len() > 5, "the page has commands with answers");
    let mut setup = Setup::new(Topology::Embedded);
    setup.demo = true;
    let engine = Engine::start(setup).await;
    let limit = std::time::Duration::from_secs(120);
    engine.server("engine").wait_for_log("Try it in another terminal", limit).await;
    let token = engine.admin().await.token().to_owned();
    for (command, expected) in steps {
        let said = bash(&root, &engine.base_url, &token, command.clone()).await;
        let got: Value = serde_json::from_str(&said)
            .unwrap_or_else(|error| panic!("{error}\n{command}\nanswered: {said}"));
        let want: Value = serde_json::from_str(&expected).unwrap();
        if let Err(place) = compare(&want, &got) {
            panic!("{command}\ndiffers at {place}\nanswered: {got:#}\nthe page says: {want:#}");
        }
    }
}

/// Each command with the answer printed below it. Blocks of other kinds are for people.
fn steps(text: &str) -> Vec<(String, String)> {
    let mut steps = Vec::new();
    let mut command = None;
    for (kind, block) in blocks(text) {
        match kind.as_str() {
            "bash" => {
                let earlier = command.replace(block);
                assert_eq!(earlier, None, "a command without its answer");
            }
            "json" => steps.push((command.take().expect("an answer without a command"), block)),
            _ => {}
        }
    }
    assert_eq!(command, None, "a command without its answer");
    steps
}

/// The code blocks of a page, each with its kind.
pub(super) fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((kind.to_owned(), block.join("\n")));
        }
    }
    blocks
}

async fn bash(root: &PathBuf, engine: &str, token: &str, command: String) -> String {
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &command])
        .current_dir(root)
        .env("ENGINE_URL", engine)
        .env("ENGINE_TOKEN", token)
        .env("PASSWORD", PASSWORD);
    let done = tokio::task::spawn_blocking(move || bash.output()).await.unwrap().unwrap();
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command}\n{}\n{errors}", done.status);
    String::from_utf8(done.stdout).unwrap()
}
