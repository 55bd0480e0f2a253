//! MongoDB, as `tests/servers/install.sh` puts it into `target/mongodb`.

use std::path::Path;
use std::process::Command;

use super::program::{Recipe, make_data_folder};
use crate::server::target;

pub(super) static RECIPE: Recipe = Recipe {
    name: "mongod",
    prepare: make_data_folder,
    command,
    stop: "TERM",
    end: "KILL",
    // OP_MSG, `{hello: 1, $db: "admin"}`.
    hello: b"\x34\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\
        \x1f\0\0\0\x10hello\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0\0",
    is_ready: |answer| answer.get(12..16) == Some(b"\xdd\x07\0\0"),
};

fn command(folder: &Path, port: u16) -> Command {
    let program = target("mongodb/mongod");
    let shown = program.display();
    assert!(program.exists(), "`{shown}` is not there: run `tests/servers/install.sh` first");
    let mut command = Command::new(program);
    command.args(["--bind_ip", "127.0.0.1", "--port", &port.to_string(), "--nounixsocket"]);
    command.args(["--wiredTigerCacheSizeGB", "0.25"]);
    command.args(["--setParameter", "diagnosticDataCollectionEnabled=false"]);
    command.arg("--dbpath").arg(folder.join("data"));
    command
}

pub(super) fn url(port: u16, database: &str) -> String {
    format!("mongodb://127.0.0.1:{port}/{database}")
}
