//! What the command line takes, and what it refuses before anything is done.

use std::process::{Command, Output};

fn decision_engine(arguments: &[&str]) -> std::io::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_decision-engine"));
    // Nothing listens there.
    command.env("ENGINE_URL", "http://127.0.0.1:1").env("ENGINE_TOKEN", "none");
    command.args(arguments).output()
}

#[test]
fn only_serving_takes_the_options_that_look_at_the_settings() {
    let commands: [&[&str]; 11] = [
        &["rollback", "iris", "--reason", "x"],
        &["route", "show", "iris"],
        &["route", "put", "iris", "--arm", "1=1"],
        &["experiment", "list"],
        &["rollout", "list"],
        &["user", "list"],
        &["key", "list"],
        &["audit", "verify"],
        &["migrate"],
        &["artifacts", "reencrypt"],
        &["model", "inspect", "model.onnx"],
    ];
    for command in commands {
        for option in ["--check", "--print-defaults"] {
            for place in 1..=command.len() {
                let mut arguments = command.to_vec();
                arguments.insert(place, option);
                let done = decision_engine(&arguments).unwrap();
                assert_eq!(done.status.code(), Some(2), "{arguments:?}");
                let told = String::from_utf8(done.stderr).unwrap();
                assert!(told.contains(&format!("unexpected argument '{option}'")), "{told}");
            }
        }
        let help = [command, &["--help"]].concat();
        let help = String::from_utf8(decision_engine(&help).unwrap().stdout).unwrap();
        assert!(help.contains("Usage") && !help.contains("--check"), "{help}");
    }
    for serving in ["serve", "demo"] {
        let done = decision_engine(&[serving, "--print-defaults"]).unwrap();
        assert!(done.status.success() && !done.stdout.is_empty(), "{serving}");
    }
}
