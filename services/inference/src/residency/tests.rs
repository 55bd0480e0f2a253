use std::fs;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll, Waker};

use contracts::inference::Protocol;
use contracts::{ErrorCode, InferenceApi};
use serde_json::json;

use super::*;
use crate::stage::{Shelf, Stage, call, files, register, target};

const IRIS: &str = "tests/models/iris-logreg";
const FOREST: &str = "tests/models/iris-rf100";
const MIB: u64 = 1 << 20;

fn residency(shelf: Arc<dyn Artifacts>, memory_bytes: u64, idle: Duration) -> Residency {
    let library = Some(crate::settings::tests::defaults().onnxruntime);
    let run = Duration::from_secs(20);
    let limits = Limits { memory_bytes, sessions: 1, idle, run, library, candidates: Vec::new() };
    Residency::new(shelf, limits)
}

fn names(residency: &Residency) -> Vec<u32> {
    residency.list().versions.iter().map(|loaded| loaded.target.version.number()).collect()
}

#[tokio::test]
async fn a_version_is_loaded_warmed_and_measured_once() {
    let shelf = Arc::new(Shelf::default());
    let version = register(shelf.as_ref(), target("iris", 1), None, files(IRIS)).await;
    let residency = residency(shelf, 100 * MIB, Duration::ZERO);
    let loaded = residency.load(version.clone()).await.unwrap();
    assert!(loaded.row_us >= 1 && loaded.memory_bytes > MIB);
    drop(residency.get(&target("iris", 1)).unwrap());
    let again = residency.load(version).await.unwrap();
    assert_eq!((again.row_us, again.requests), (loaded.row_us, 1));
    assert!(matches!(residency.get(&target("iris", 2)), Err(InferenceError::NotLoaded(_))));
}

#[tokio::test]
async fn a_check_leaves_nothing_behind() {
    let shelf = Arc::new(Shelf::default());
    let version = register(shelf.as_ref(), target("iris", 1), None, files(IRIS)).await;
    let residency = residency(shelf, 100 * MIB, Duration::ZERO);
    residency.check(version).await.unwrap();
    assert!(names(&residency).is_empty());
}

#[tokio::test]
async fn a_tampered_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let store = storage::artifacts(&url, storage::Keys::default()).await.unwrap();
    let version = register(store.as_ref(), target("iris", 1), None, files(IRIS)).await;
    let mut places = vec![folder.path().to_owned()];
    while let Some(place) = places.pop() {
        for entry in fs::read_dir(place).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                places.push(entry.path());
                continue;
            }
            let mut bytes = fs::read(entry.path()).unwrap();
            bytes[0] ^= 1;
            let mut writable = entry.metadata().unwrap().permissions();
            #[expect(clippy::permissions_set_readonly_false, reason = "a file of this test")]
            writable.set_readonly(false);
            fs::set_permissions(entry.path(), writable).unwrap();
            fs::write(entry.path(), bytes).unwrap();
        }
    }
    let residency = residency(store, 100 * MIB, Duration::ZERO);
    let error = contracts::ApiError::from(residency.load(version).await.unwrap_err());
    assert_eq!(error.code, ErrorCode::Unprocessable);
    assert!(error.message.contains("tampered"), "{error}");
    assert!(names(&residency).is_empty());
}

#[tokio::test]
async fn a_missing_or_wrong_file_is_refused() {
    let shelf = Arc::new(Shelf::default());
    let version = register(shelf.as_ref(), target("iris", 1), None, files(IRIS)).await;
    let residency = residency(shelf, 100 * MIB, Duration::ZERO);
    let mut missing = version.clone();
    missing.files[0].sha256 = "nowhere".to_owned();
    assert!(matches!(residency.load(missing).await, Err(InferenceError::Store(_))));
    let mut short = version;
    short.files[0].bytes += 1;
    assert!(matches!(residency.load(short).await, Err(InferenceError::Size { .. })));
}

#[tokio::test]
async fn a_model_that_does_not_run_never_serves() {
    let shelf = Arc::new(Shelf::default());
    let mut files = files(IRIS);
    let mut bytes = files["model.onnx"].to_vec();
    let at = bytes.windows(6).rposition(|window| window == b"Scaler").unwrap();
    bytes[at] = b'Z';
    files.insert("model.onnx".to_owned(), bytes.into());
    let version = register(shelf.as_ref(), target("iris", 1), None, files).await;
    let residency = residency(shelf, 100 * MIB, Duration::ZERO);
    let error = contracts::ApiError::from(residency.load(version).await.unwrap_err());
    assert_eq!(error.code, ErrorCode::Unprocessable);
    assert!(error.message.contains("`Zcaler`"), "{error}");
}

#[tokio::test]
async fn the_least_recently_used_idle_version_makes_room() {
    let shelf = Arc::new(Shelf::default());
    // Each needs a little more than 1 MiB: two fit.
    let residency = residency(Arc::clone(&shelf) as _, 3 * MIB, Duration::ZERO);
    let mut versions = Vec::new();
    for number in 1..=3 {
        versions.push(register(shelf.as_ref(), target("iris", number), None, files(IRIS)).await);
    }
    residency.load(versions[0].clone()).await.unwrap();
    residency.load(versions[1].clone()).await.unwrap();
    let busy = residency.get(&target("iris", 1)).unwrap();
    residency.load(versions[2].clone()).await.unwrap();
    assert_eq!(names(&residency), [1, 3], "the busy one stays");
    let also_busy = residency.get(&target("iris", 3)).unwrap();
    let error = residency.load(versions[1].clone()).await.unwrap_err();
    assert!(matches!(error, InferenceError::NoRoom { .. }), "{error}");
    drop((busy, also_busy));
    residency.load(versions[1].clone()).await.unwrap();
    assert_eq!(names(&residency).len(), 2);
}

#[tokio::test]
async fn a_version_that_can_never_fit_is_told_the_setting() {
    let shelf = Arc::new(Shelf::default());
    let version = register(shelf.as_ref(), target("iris", 1), None, files(IRIS)).await;
    let error = residency(shelf, MIB, Duration::ZERO).load(version).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the version needs 2 MiB, the limit is 1: raise `inference.memory_limit_mb`"
    );
}

#[tokio::test]
async fn an_idle_version_is_unloaded_and_a_used_one_is_not() {
    let shelf = Arc::new(Shelf::default());
    let version = register(shelf.as_ref(), target("iris", 1), None, files(IRIS)).await;
    let residency = residency(shelf, 100 * MIB, Duration::from_secs(60));
    residency.load(version).await.unwrap();
    assert!(residency.unload_idle(Instant::now()).await.is_empty());
    let later = Instant::now() + Duration::from_secs(61);
    let used = residency.get(&target("iris", 1)).unwrap();
    assert!(residency.unload_idle(later).await.is_empty(), "it is in use");
    drop(used);
    assert_eq!(residency.unload_idle(later).await, [target("iris", 1)]);
    assert!(names(&residency).is_empty());
}

#[tokio::test]
async fn an_unload_waits_for_the_last_request() {
    let shelf = Arc::new(Shelf::default());
    let version = register(shelf.as_ref(), target("iris", 1), None, files(IRIS)).await;
    let residency = residency(shelf, 100 * MIB, Duration::ZERO);
    residency.load(version).await.unwrap();
    let target = target("iris", 1);
    let used = residency.get(&target).unwrap();
    let mut unloading = pin!(residency.unload(&target));
    let poll = unloading.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(poll, Poll::Pending));
    assert!(residency.get(&target).is_err(), "it takes no new requests");
    drop(used);
    unloading.await;
    residency.unload(&target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_under_load_fails_no_request() {
    let stage = Arc::new(Stage::of("iris", IRIS, None).await);
    let shelf = stage.shelf.as_ref();
    let one = register(shelf, target("iris", 1), None, files(IRIS)).await;
    let two = register(shelf, target("iris", 1), None, files(FOREST)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let (stage, stop) = (Arc::clone(&stage), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut answered = 0;
                let body = json!({"features": [5.1, 3.5, 1.4, 0.2]}).to_string();
                while !stop.load(Ordering::Relaxed) || answered == 0 {
                    let kind = "application/json";
                    stage.send("iris", Protocol::Natural, kind, body.clone()).await.unwrap();
                    answered += 1;
                    tokio::task::yield_now().await;
                }
                answered
            })
        })
        .collect();
    for swap in 0..40 {
        let version = if swap % 2 == 0 { &two } else { &one };
        stage.service.load(call(), version.clone()).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.await.unwrap() > 0);
    }
}

#[test]
fn a_name_that_stands_twice_goes_with_its_number() {
    let labels = ["crane", "heron", "crane"].map(str::to_owned);
    assert_eq!(unique(&labels), ["crane (0)", "heron", "crane (2)"]);
}
