//! What the pages of `docs/` tell people to type works: all of a page's commands are run in one shell,
//! from top to bottom, and where an answer is printed below one, it is compared.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use testkit::{Engine, Setup, Topology, compare, models, run};

use super::walkthrough::blocks;

/// Ends what a block said.
const END: &str = "--- end of a block ---";

macro_rules! pages {
    ($($name:ident: $versions:literal),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                run(Topology::Embedded, typed(concat!(stringify!($name), ".md"), $versions));
            }
        )+
    };
}

// A page, and how many versions of `iris` it takes for granted.
pages!(events: 2, experiments: 2, feedback: 2, policies: 2, rollback: 3, rollouts: 2, routing: 2, shadows: 2);

async fn typed(page: &str, versions: usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
    let text = fs::read_to_string(root.join("docs").join(page)).unwrap();
    // Names of others are not asked for by a test.
    let text = text.replace("https://example.com/", "http://127.0.0.1:9/");
    let mut setup = Setup::new(Topology::Embedded);
    setup.set("ENGINE__ROUTER__OUTBOUND__ALLOW", "127.0.0.1");
    setup.set("ENGINE__ROUTER__STABLE_AFTER_S", "0");
    let engine = Engine::start(setup).await;
    let client = super::routing::two_versions(&engine, "iris").await;
    for _ in 2..versions {
        let upload = models::committed("iris-logreg").upload();
        client.upload_version("iris", &upload).await.expect_status(201);
    }
    if versions > 2 {
        // What is rolled back has served before.
        client.put_route("iris", &[(2, 1.0)]).await.expect_status(200);
        client.put_route("iris", &[(3, 1.0)]).await.expect_status(200);
    }

    let (mut script, mut wanted) = (prelude(), Vec::new());
    let mut command = false;
    for (kind, block) in blocks(&text) {
        match kind.as_str() {
            "sh" | "bash" => {
                script.push_str(&format!("\n{block}\necho; echo '{END}'\n"));
                wanted.push(None);
                command = kind == "bash";
            }
            "json" if command => {
                *wanted.last_mut().unwrap() = Some(block);
                command = false;
            }
            _ => {}
        }
    }
    assert!(!wanted.is_empty(), "{page} has no commands");
    let folder = tempfile::tempdir().unwrap();
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &script])
        .current_dir(folder.path())
        .env("ENGINE_URL", &engine.base_url)
        .env("ENGINE_TOKEN", client.token());
    let done = tokio::task::spawn_blocking(move || bash.output()).await.unwrap().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{page}: {}\n{said}\n{errors}", done.status);
    for (said, wanted) in said.split(END).zip(wanted) {
        let Some(wanted) = wanted else { continue };
        let want: Value = serde_json::from_str(&wanted).unwrap();
        let got: Value = serde_json::from_str(said).unwrap();
        if let Err(place) = compare(&want, &got) {
            panic!("{page} differs at {place}: got {got:#}, but the page says {want:#}");
        }
    }
}

/// Our program is on the path, and `curl` fails where the engine refuses.
fn prelude() -> String {
    let program = testkit::server::program("decision-engine");
    let folder = program.parent().unwrap().display();
    format!("PATH={folder}:$PATH\ncurl() {{ command curl -sS --fail-with-body \"$@\"; }}\n")
}
