//! Redis, as the package `redis-server` installs it.

use std::path::Path;
use std::process::Command;

use super::program::{Recipe, make_data_folder};

pub(super) static RECIPE: Recipe = Recipe {
    name: "redis-server",
    prepare: make_data_folder,
    command,
    stop: "TERM",
    end: "KILL",
    hello: b"PING\r\n",
    is_ready: |answer| answer.starts_with(b"+PONG"),
};

fn command(folder: &Path, port: u16) -> Command {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no"]);
    command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(folder.join("data"));
    command
}
