//! An S3 server on a folder, in a thread of the test run.

use std::net::TcpListener;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};

use super::PrivateServer;
use super::program::{free_port, new_folder};
use crate::watch::Watch;

/// The bucket that is there from the start.
pub(super) const BUCKET: &str = "engine";

/// The server, running or stopped.
#[derive(Debug)]
pub(super) struct S3 {
    port: u16,
    running: Option<Running>,
    paused: watch::Sender<bool>,
    _watch: Watch,
    // Last, so that nothing writes to what is being removed.
    folder: TempDir,
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl S3 {
    pub(super) fn start() -> Self {
        let folder = new_folder("s3");
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let watch = Watch::over_folder(folder.path());
        let (paused, _) = watch::channel(false);
        let mut s3 = Self { port: free_port(), running: None, paused, _watch: watch, folder };
        s3.start_again();
        s3
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    #[cfg(test)]
    pub(super) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(super) fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// Cuts all connections.
    pub(super) fn stop(&mut self) {
        let Some(Running { stop, thread }) = self.running.take() else { return };
        self.pause(false);
        stop.send(()).ok();
        thread.join().unwrap();
    }

    pub(super) fn start_again(&mut self) {
        if self.running.is_some() {
            return;
        }
        let listener = TcpListener::bind(("127.0.0.1", self.port)).unwrap();
        let mut builder = S3ServiceBuilder::new(FileSystem::new(self.folder.path()).unwrap());
        let auth = SimpleAuth::from_single(PrivateServer::S3_KEY, PrivateServer::S3_SECRET);
        builder.set_auth(auth);
        let (service, paused) = (builder.build(), self.paused.subscribe());
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
            let runtime = runtime.unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, service, paused) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_timeout(Duration::from_secs(5));
        });
        self.running = Some(Running { stop, thread });
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve(listener: TcpListener, service: S3Service, paused: watch::Receiver<bool>) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (service, paused) = (service.clone(), paused.clone());
        let answer = service_fn(move |request: hyper::Request<Incoming>| {
            let (service, mut paused) = (service.clone(), paused.clone());
            async move {
                paused.wait_for(|paused| !paused).await.ok();
                let answer = service.call(request.map(s3s::Body::from)).await;
                paused.wait_for(|paused| !paused).await.ok();
                answer
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}
