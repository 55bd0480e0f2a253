//! PostgreSQL, as the package `postgresql` installs it: the newest version there is.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use super::program::{Recipe, new_folder};
use crate::watch::Watch;

pub(super) static RECIPE: Recipe = Recipe {
    name: "postgres",
    prepare,
    command,
    stop: "INT",
    // Killed, it would leave a segment of shared memory.
    end: "QUIT",
    // A startup message of protocol 3.0; the answer of a server that lets in is of type `R`.
    hello: b"\0\0\0\x25\0\x03\0\0user\0engine\0database\0engine\0\0",
    is_ready: |answer| answer.first() == Some(&b'R'),
};

/// Settings for tests: the data need not survive the machine.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=300",
    "shared_buffers=32MB",
    "dynamic_shared_memory_type=mmap",
    "fsync=off",
    "full_page_writes=off",
    "autovacuum=off",
];

/// Text in UTF-8; order by ICU's rules, as a distribution's or an image's server has it, so that a
/// test sees when the engine relies on the order of bytes.
const INITDB: &[&str] = &[
    "--username=engine",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C.UTF-8",
    "--locale-provider=icu",
    "--icu-locale=en-US",
    "--wal-segsize=1",
    "--no-sync",
    "--no-instructions",
];

pub(super) fn url(port: u16, database: &str) -> String {
    format!("postgres://engine@127.0.0.1:{port}/{database}")
}

/// Makes an empty database.
pub(super) fn create_database(port: u16, name: &str) {
    let mut command = Command::new(program("createdb"));
    command.args(["--host=127.0.0.1", "--username=engine", "--maintenance-db=engine"]);
    run(command.arg(format!("--port={port}")).arg(name), "");
}

/// Copies a folder that is made once: to make one takes a second.
fn prepare(folder: &Path) {
    static TEMPLATE: OnceLock<(TempDir, Watch)> = OnceLock::new();
    let (template, _) = TEMPLATE.get_or_init(|| {
        let folder = new_folder("template");
        let watch = Watch::over_folder(folder.path());
        make_template(folder.path());
        (folder, watch)
    });
    own(folder);
    run(Command::new("cp").arg("-a").arg(template.path().join("data")).arg(folder), "");
}

fn make_template(folder: &Path) {
    own(folder);
    let data = folder.join("data");
    run(as_owner("initdb", folder).args(INITDB).arg("--pgdata").arg(&data), "");
    let mut single = as_owner("postgres", folder);
    single.args(["--single", "-c", "fsync=off", "-D"]).arg(&data).arg("postgres");
    run(&mut single, "CREATE DATABASE engine\n");
}

fn command(folder: &Path, port: u16) -> Command {
    let mut command = as_owner("postgres", folder);
    command.args(["-p", &port.to_string(), "-D"]).arg(folder.join("data"));
    command.args(SETTINGS.iter().flat_map(|setting| ["-c", *setting]));
    command
}

/// A program of PostgreSQL, to be run in `folder` as the user who owns it.
fn as_owner(name: &str, folder: &Path) -> Command {
    let owner = fs::metadata(folder).unwrap();
    let mut command = Command::new(program(name));
    if is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    command.current_dir(folder);
    command
}

/// PostgreSQL refuses to run as root: there, the folder becomes that of the package's user.
fn own(folder: &Path) {
    if !is_root() {
        return;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let user = users.lines().find_map(|line| line.strip_prefix("postgres:"));
    let mut ids = user.unwrap_or_else(|| panic!("there is no user `postgres`")).split(':').skip(1);
    let mut next = || ids.next()?.parse().ok();
    chown(folder, next(), next()).unwrap();
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// The path of one of its programs: Debian keeps them apart by version and off the path.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .map(|version| version.path())
        .filter(|version| version.join("bin/postgres").exists())
        .max_by_key(|version| version.file_name()?.to_str()?.parse::<u32>().ok());
    newest.map_or_else(|| name.into(), |version| version.join("bin").join(name))
}

/// Runs a command to its end, with this input.
fn run(command: &mut Command, input: &str) {
    let name = Path::new(command.get_program()).file_name().map(OsStr::to_owned);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| {
        panic!("{name:?} does not start: {error}; run `tests/servers/install.sh` first")
    });
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{name:?}: {}", String::from_utf8_lossy(&done.stderr));
}
