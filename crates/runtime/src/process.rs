//! A process from start to stop: background tasks, signals, drain, the lock on its data folder.

use std::fs::{DirBuilder, File, TryLockError};
use std::future::Future;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::RuntimeError;

/// How a program ends: a failure is one line for the person at the terminal, with its causes.
#[expect(clippy::print_stderr, reason = "there may be no log yet")]
pub fn exit_code<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Owns a process's background tasks. Whoever composes the services spawns theirs here.
#[derive(Debug, Clone, Default)]
pub struct Process {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Process {
    /// Runs a task until it ends or the process stops.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move { stop.run_until_cancelled(task).await });
    }

    /// Runs a task that is told of the stop and ends by itself, to finish what it holds.
    pub fn spawn_until_stop<F>(&self, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(task(self.stop.clone()));
    }

    /// Tells all tasks to stop and waits for them, up to `limit`. True if all ended in time.
    pub async fn stop(&self, limit: Duration) -> bool {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(limit, self.tasks.wait()).await.is_ok()
    }
}

/// SIGINT and SIGTERM, from the moment it is made: a process that is told to stop while it starts
/// stops in order, too.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens.
    ///
    /// # Errors
    /// If the signals cannot be listened for.
    pub fn listen() -> Result<Self, RuntimeError> {
        let listen = |kind| {
            signal(kind).map_err(|source| RuntimeError::File { path: "signals".to_owned(), source })
        };
        let terminate = listen(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for one of them.
    pub async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Keeps a folder for this process alone, for as long as it is held.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Creates the folder if need be and locks it.
    ///
    /// # Errors
    /// [`RuntimeError::InUse`] if another process holds it.
    pub fn take(folder: &Path) -> Result<Self, RuntimeError> {
        let failed = |path: PathBuf| {
            move |source| RuntimeError::File { path: path.display().to_string(), source }
        };
        // Inputs, keys and hashes lie in it: nobody else's business.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(failed(folder.to_owned()))?;
        let path = folder.join("engine.lock");
        let file = File::create(&path).map_err(failed(path.clone()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(RuntimeError::InUse(folder.display().to_string())),
            Err(TryLockError::Error(source)) => Err(failed(path)(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_once() {
        let folder = tempfile::tempdir().unwrap();
        let held = FolderLock::take(folder.path()).unwrap();
        let refused = FolderLock::take(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("in use by another engine"), "{refused}");
        drop(held);
        assert!(FolderLock::take(folder.path()).is_ok());
    }
}
