//! Nothing outlives the test run.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Waits for the end of the test run, which closes the pipe; then ends the process in the way that
/// suits it, kills what is left, and removes the folder. Who is being killed may still write to it.
const WATCH: &str = r#"
exec 2>/dev/null
read -r _
if [ -n "$1" ]; then
    all="$1 $(cat "/proc/$1/task/$1/children")"
    kill -CONT $all
    kill -s "$3" "$1"
    for _ in $(seq 50); do grep -q '^State:.[^XZ]' "/proc/$1/status" || break; sleep 0.1; done
    kill -9 $all
fi
for _ in $(seq 50); do rm -rf "$2" && break; sleep 0.1; done
"#;

/// A shell that cleans up when the test run is gone, even a killed one. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Watch(Child);

impl Watch {
    /// Over a process and its folder. `end` is the signal that ends the process at once.
    pub(crate) fn over(process: &Child, folder: &Path, end: &str) -> Self {
        Self::start(&process.id().to_string(), folder, end)
    }

    /// Over a folder alone.
    pub(crate) fn over_folder(folder: &Path) -> Self {
        Self::start("", folder, "")
    }

    fn start(process: &str, folder: &Path, end: &str) -> Self {
        let child = Command::new("sh")
            .args(["-c", WATCH, "watch", process])
            .arg(folder)
            .arg(end)
            .stdin(Stdio::piped())
            // A Ctrl-C at the terminal is for the tests; whoever cleans up must survive it.
            .process_group(0)
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The children that a process has now.
pub(crate) fn children(process: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    list.unwrap_or_default().split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// Whether a process runs: one that waits to be reaped does not.
pub(crate) fn runs(process: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else { return false };
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    !state.starts_with(['Z', 'X'])
}

/// Sends a signal to processes. Whether all of them were there.
pub(crate) fn signal(signal: &str, processes: &[u32]) -> bool {
    let mut command = Command::new("sh");
    // Built into every shell, where a program of this name may be missing.
    command.args(["-c", r#"kill -s "$0" "$@""#, signal]);
    command.args(processes.iter().map(u32::to_string)).stderr(Stdio::null());
    command.status().unwrap().success()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn nothing_outlives_the_test_run() {
        for end in ["KILL", "TERM"] {
            let folder = tempfile::tempdir().unwrap().keep();
            let mut command = Command::new("sh");
            let mut child = command.args(["-c", "sleep 1000 & wait"]).spawn().unwrap();
            let mut watch = Watch::over(&child, &folder, end);
            let limit = Duration::from_secs(10);
            let started = || async { children(child.id()).first().copied() };
            let grandchild = crate::until("a child", limit, started).await;
            assert!(signal("STOP", &[child.id(), grandchild]));
            // As when the test run dies.
            drop(watch.0.stdin.take());
            let gone = || async {
                let left = runs(child.id()) || runs(grandchild) || folder.exists();
                (!left).then_some(())
            };
            crate::until("the end", limit, gone).await;
            child.wait().unwrap();
        }
    }
}
