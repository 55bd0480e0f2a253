//! Other people's programs in Python: `tritonclient`, used as anyone would, and `schemathesis`, which
//! tries to catch the API at something that its description does not say.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use testkit::server::target;
use testkit::{Engine, Setup, Topology, models, scenarios, shared};

use super::golden::registered;

scenarios!(tritonclient_gets_the_golden_numbers, schemathesis_finds_nothing);

async fn tritonclient_gets_the_golden_numbers(topology: Topology) {
    let Some(python) = python() else { return };
    let (client, _) = registered(topology).await;
    let address = shared(topology).await.base_url.trim_start_matches("http://").to_owned();
    for place in models::places() {
        let mut command = Command::new(&python);
        command
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/python/tritonclient_check.py"))
            .args(["--url", &address, "--token-env", "E2E_TOKEN", "--models"])
            .arg(&place)
            .env("E2E_TOKEN", client.token());
        let checked = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&checked.stdout);
        let errors = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{}:\n{said}\n{errors}", place.display());
    }
}

async fn schemathesis_finds_nothing(topology: Topology) {
    let Some(python) = python() else { return };
    // Its own: whatever an admin may do is done to it.
    let engine = Engine::start(Setup::new(topology)).await;
    let client = engine.admin().await;
    client.create_model_with("iris", &models::demo("iris").upload()).await;
    let mut command = Command::new(python.with_file_name("schemathesis"));
    command
        .args(["--config-file", concat!(env!("CARGO_MANIFEST_DIR"), "/python/schemathesis.toml")])
        .args(["run", &format!("{}/openapi.json", engine.base_url)])
        .args(["--header", &format!("Authorization: Bearer {}", client.token())])
        .args(["--max-examples", "8", "--seed", "1", "--continue-on-failure"])
        .args(["--suppress-health-check", "all", "--generation-database", "none", "--no-color"])
        // It would end the session of the token that all of this is done with.
        .args(["--exclude-path", "/api/v1/auth/logout"])
        .current_dir(engine.folder());
    if topology == Topology::Distributed {
        // nginx lets nobody outside see it.
        command.args(["--exclude-path", "/metrics"]);
    }
    let run = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}\n{errors}");
    // To the end it was an admin who asked.
    client.get("/api/v1/users").await.expect_status(200);
}

/// The interpreter with what `tests/python/requirements.txt` lists. `make test` makes it; without
/// that it is made here. Where it cannot be made, the check is left out, but never in CI.
fn python() -> Option<PathBuf> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = MAKING.lock().unwrap();
    let folder = target("venv-tests");
    let python = folder.join("bin/python");
    let has_package = || {
        let mut import = Command::new(&python);
        import.args(["-c", "import tritonclient.http, schemathesis"]);
        import.output().is_ok_and(|output| output.status.success())
    };
    if has_package() {
        return Some(python);
    }
    let requirements = concat!(env!("CARGO_MANIFEST_DIR"), "/python/requirements.txt");
    let made = Command::new("python3").args(["-m", "venv"]).arg(&folder).output();
    let mut install = Command::new(folder.join("bin/pip"));
    install.args(["install", "--quiet", "--disable-pip-version-check", "-r", requirements]);
    let installed = install.output();
    if has_package() {
        return Some(python);
    }
    let why = format!("no Python with `tritonclient` and `schemathesis`: {made:?} {installed:?}");
    assert!(std::env::var_os("CI").is_none(), "{why}");
    eprintln!("LEFT OUT: {why}");
    None
}
