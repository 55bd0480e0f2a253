//! Model files that are encrypted at rest serve as others do.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use testkit::server::Server;
use testkit::{Engine, Setup, Topology, models, scenarios};

scenarios!(encrypted_models_serve_and_move_to_another_key);

const KEY: &str = "ENGINE__STORAGE__ARTIFACTS_ENCRYPTION_KEY";
const OLD_KEYS: &str = "ENGINE__STORAGE__ARTIFACTS_OLD_ENCRYPTION_KEYS";
// 32 times the byte 1, 2.
const FIRST: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const SECOND: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, mut all): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    all.extend(folders.iter().flat_map(|folder| files(folder)));
    all
}

async fn encrypted_models_serve_and_move_to_another_key(topology: Topology) {
    testkit::secrets::remember(FIRST);
    testkit::secrets::remember(SECOND);
    let mut setup = Setup::new(topology);
    let usual = setup.settings.clone();
    setup.set(KEY, FIRST);
    let mut engine = Engine::start(setup).await;
    let client = engine.admin().await;
    client.create_model_with("sealed", &models::committed("iris-logreg").upload()).await;
    let body = json!({"features": [5.1, 3.5, 1.4, 0.2]});
    let before = client.predict("sealed", &body).await.expect_status(200).json();
    let graph = models::bytes("iris-logreg/model.onnx");
    let stored = files(&engine.artifacts());
    assert!(!stored.is_empty());
    let plain = |file: &PathBuf| {
        let bytes = fs::read(file).unwrap();
        bytes.windows(16).any(|window| graph.windows(16).step_by(16).any(|part| part == window))
    };
    assert!(!stored.iter().any(plain), "a piece of the model lies open");

    // The second key, while the first is still known: all as before, then all written anew.
    engine.stop().await;
    engine.setup.settings = usual.clone();
    engine.setup.set(KEY, SECOND);
    engine.setup.set(OLD_KEYS, FIRST);
    engine.launch().await;
    let client = engine.admin().await;
    let answer = client.predict("sealed", &body).await.expect_status(200).json();
    assert_eq!(answer["label"], before["label"]);
    let said = reencrypt(&engine, &[(KEY, SECOND), (OLD_KEYS, FIRST)]).await;
    assert!(said.contains(&format!("{} files written anew", stored.len())), "{said}");

    // The first key is gone.
    engine.stop().await;
    engine.setup.settings = usual.clone();
    engine.setup.set(KEY, SECOND);
    engine.launch().await;
    engine.admin().await.predict("sealed", &body).await.expect_status(200);

    // Without any key it says what it lacks.
    engine.stop().await;
    engine.setup.settings = usual;
    engine.launch_not_ready().await;
    let limit = Duration::from_secs(60);
    let lacks = || async { engine.logs().contains("artifacts_encryption_key").then_some(()) };
    testkit::until("the log names the setting", limit, lacks).await;
    let answer = engine.admin().await.predict("sealed", &body).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
}

/// Runs the command on the engine's files.
async fn reencrypt(engine: &Engine, keys: &[(&str, &str)]) -> String {
    let mut environment: Vec<(String, String)> =
        keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let place = format!("file://{}", engine.artifacts().display());
    environment.push(("ENGINE__STORAGE__ARTIFACTS".to_owned(), place));
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["artifacts", "reencrypt"];
    let program = "decision-engine";
    let mut run =
        Server::start("reencrypt", program, &arguments, &environment, folder.path(), String::new());
    let status = run.wait(Duration::from_secs(60)).await;
    assert!(status.success(), "{}", run.log());
    run.log()
}
