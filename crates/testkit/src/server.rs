//! One process of an engine, with its log.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::wait::until;
use crate::watch::{self, Watch};

/// Lines of a log that are shown when a test fails.
const TAIL: usize = 40;

/// A binary of the target folder, without the settings of whoever runs the tests: they are not the
/// tests' business.
pub fn command(binary: &str) -> Command {
    let path = target_folder().join(binary);
    assert!(
        path.exists(),
        "`{}` is not there: run `cargo build --workspace --bins` first",
        path.display()
    );
    let mut command = Command::new(path);
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("ENGINE__") {
            command.env_remove(key);
        }
    }
    command
}

/// A running process. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    /// Which, such as `router`.
    pub name: String,
    /// Where it answers.
    pub url: String,
    // Ends first, so that it never meets another process of the same id.
    watch: Option<Watch>,
    child: Child,
    /// The signal that ends it at once.
    end: &'static str,
    log: PathBuf,
}

impl Server {
    /// Starts a binary of the target folder. `folder` is the engine's, where its log goes.
    pub fn start(
        name: &str,
        binary: &str,
        arguments: &[&str],
        environment: &[(String, String)],
        folder: &Path,
        url: String,
    ) -> Self {
        let mut command = command(binary);
        command.args(arguments).envs(environment.iter().map(|(key, value)| (key, value)));
        Self::spawn(name, command, "KILL", folder, url)
    }

    /// Starts a command in `folder`, where its log goes. `end` is the signal that ends it at once.
    pub fn spawn(
        name: &str,
        mut command: Command,
        end: &'static str,
        folder: &Path,
        url: String,
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        let out = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        command.current_dir(folder).stdin(Stdio::null());
        command.stdout(out.try_clone().unwrap()).stderr(out);
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("{command:?}: {error}; `make test` installs what tests need")
        });
        crate::secrets::watch(&log);
        let watch = Some(Watch::over(&child, folder, end));
        Self { name: name.to_owned(), url, watch, child, end, log }
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, signal: &str) {
        let sent = watch::signal(signal, &[self.child.id()]);
        assert!(sent, "`{}` got no signal `{signal}`: it is gone", self.name);
    }

    /// Sends a signal to it and then to its children, which may end meanwhile.
    pub(crate) fn signal_all(&self, signal: &str) {
        let children = watch::children(self.child.id());
        self.signal(signal);
        watch::signal(signal, &children);
    }

    /// It and its children.
    #[cfg(test)]
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mut processes = watch::children(self.child.id());
        processes.push(self.child.id());
        processes
    }

    /// Kills it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().unwrap();
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    pub async fn wait(&mut self, limit: Duration) -> ExitStatus {
        let name = self.name.clone();
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(Instant::now() < deadline, "`{name}` did not end within {limit:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the log holds this text.
    pub async fn wait_for_log(&self, text: &str, limit: Duration) {
        let what = format!("`{text}` in the log of `{}`", self.name);
        until(&what, limit, || async { self.log().contains(text).then_some(()) }).await;
    }

    /// All that it said.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Resident memory, bytes.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().unwrap();
        kib * 1024
    }

    /// Shows the end of its log.
    pub fn show(&self) {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default();
        eprintln!("---- last lines of `{}`\n{}", self.name, tail.join("\n"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.watch.take();
        self.end_all();
        crate::secrets::search_whole(&self.log);
    }
}

impl Server {
    /// Ends it and its children, if they run.
    fn end_all(&mut self) {
        let process = self.child.id();
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let children = watch::children(process);
        if self.end != "KILL" {
            watch::signal("CONT", &children);
            watch::signal("CONT", &[process]);
            watch::signal(self.end, &[process]);
            wait_blocking(|| matches!(self.child.try_wait(), Ok(Some(_))));
        }
        self.child.kill().ok();
        self.child.wait().ok();
        if !children.is_empty() {
            watch::signal("KILL", &children);
            // A folder can be removed only when nobody writes to it.
            wait_blocking(|| !children.iter().any(|child| watch::runs(*child)));
        }
    }
}

/// Waits five seconds at most.
fn wait_blocking(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !done() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// `target/debug` or the like: where the running test was built.
fn target_folder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().unwrap();
    if folder.ends_with("deps") { folder.parent().unwrap().to_owned() } else { folder.to_owned() }
}

/// One of our programs, as it was built with the test.
pub fn program(name: &str) -> PathBuf {
    target_folder().join(name)
}

/// A path in the folder `target`.
pub fn target(path: &str) -> PathBuf {
    target_folder().parent().unwrap().join(path)
}

/// Where `make onnxruntime` puts the library.
pub fn onnxruntime() -> PathBuf {
    target("onnxruntime/libonnxruntime.so")
}
