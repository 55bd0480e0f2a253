//! A server program with its folder and its port.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::Server;
use crate::watch::Watch;

/// Generous: the machine may be busy with other things.
const LIMIT: Duration = Duration::from_secs(60);

/// How a server is run.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) name: &'static str,
    /// Fills its new folder, once.
    pub(super) prepare: fn(&Path),
    /// The command for a folder and a port.
    pub(super) command: fn(&Path, u16) -> Command,
    /// The signal for a stop in good order.
    pub(super) stop: &'static str,
    /// The signal that ends it at once and leaves nothing behind.
    pub(super) end: &'static str,
    /// What a client says first.
    pub(super) hello: &'static [u8],
    /// Whether this is the answer of a server that is ready.
    pub(super) is_ready: fn(&[u8]) -> bool,
}

/// A server, running or stopped.
#[derive(Debug)]
pub(super) struct Program {
    recipe: &'static Recipe,
    port: u16,
    state: State,
    // Last, so that nothing writes to what is being removed.
    folder: TempDir,
}

#[derive(Debug)]
enum State {
    Running(Server),
    Stopped { _watch: Watch },
}

impl Program {
    /// Starts one on a free port, in a new folder.
    pub(super) async fn start(recipe: &'static Recipe) -> Self {
        // Another process may take a port between looking for it and listening on it.
        for _ in 0..3 {
            let folder = new_folder(recipe.name);
            let state = State::Stopped { _watch: Watch::over_folder(folder.path()) };
            (recipe.prepare)(folder.path());
            let mut program = Self { recipe, port: free_port(), state, folder };
            if program.launch().await {
                return program;
            }
        }
        panic!("`{}` found no free port three times", recipe.name);
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) async fn stop(&mut self) {
        let State::Running(server) = &mut self.state else { return };
        server.signal_all("CONT");
        server.signal(self.recipe.stop);
        server.wait(LIMIT).await;
        self.state = State::Stopped { _watch: Watch::over_folder(self.folder.path()) };
    }

    pub(super) async fn start_again(&mut self) {
        if matches!(self.state, State::Stopped { .. }) {
            assert!(self.launch().await, "port {} of `{}` is taken", self.port, self.recipe.name);
        }
    }

    /// Sends a signal to all its processes.
    pub(super) fn signal(&self, signal: &str) {
        let State::Running(server) = &self.state else {
            panic!("`{}` is stopped: it gets no signal `{signal}`", self.recipe.name)
        };
        server.signal_all(signal);
    }

    /// Its folder and its processes.
    #[cfg(test)]
    pub(super) fn traces(&self) -> (std::path::PathBuf, Vec<u32>) {
        let State::Running(server) = &self.state else { panic!("it is stopped") };
        (self.folder.path().to_owned(), server.processes())
    }

    /// Starts it and waits until it answers. False if its port is taken.
    async fn launch(&mut self) -> bool {
        let Recipe { name, end, .. } = *self.recipe;
        let folder = self.folder.path();
        let command = (self.recipe.command)(folder, self.port);
        let mut server = Server::spawn(name, command, end, folder, String::new());
        let deadline = Instant::now() + LIMIT;
        while !self.answers().await {
            if let Some(status) = server.ended() {
                if server.log().contains("ddress already in use") {
                    return false;
                }
                server.show();
                panic!("`{name}` ended at its start with {status}");
            }
            if Instant::now() > deadline {
                server.show();
                panic!("`{name}` does not answer within {LIMIT:?}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.state = State::Running(server);
        true
    }

    async fn answers(&self) -> bool {
        let ask = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
            stream.write_all(self.recipe.hello).await.ok()?;
            let mut answer = [0; 64];
            let length = stream.read(&mut answer).await.ok()?;
            Some((self.recipe.is_ready)(&answer[..length]))
        };
        let answer = tokio::time::timeout(Duration::from_secs(1), ask).await;
        answer.ok().flatten().unwrap_or(false)
    }
}

/// A temporary folder.
pub(super) fn new_folder(name: &str) -> TempDir {
    tempfile::Builder::new().prefix(&format!("engine-{name}-")).tempdir().unwrap()
}

/// Makes the folder where most servers keep their data.
pub(super) fn make_data_folder(folder: &Path) {
    fs::create_dir(folder.join("data")).unwrap();
}

/// A port that was free a moment ago, below those that systems give to outgoing connections and to
/// listeners that ask for any: so it is still free after a stop.
pub(super) fn free_port() -> u16 {
    let taken = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_err();
    let random =
        || 15_000 + u16::try_from(RandomState::new().build_hasher().finish() % 17_000).unwrap();
    let port = std::iter::repeat_with(random).take(100).find(|port| !taken(port));
    port.unwrap_or_else(|| panic!("100 ports between 15000 and 32000 are taken"))
}
