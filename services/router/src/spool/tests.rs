use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use domain::prediction::{Decision, Payload, Reason};
use domain::{ModelName, PredictionId, PredictionRecord, RequestId, VersionId};
use storage::StoreError;
use storage::ports::PredictionLog;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::*;

fn settings(dir: &Path) -> SpoolSettings {
    SpoolSettings {
        dir: dir.to_owned(),
        max_bytes: 1 << 20,
        segment_bytes: 1000,
        batch: 7.try_into().unwrap(),
        interval_ms: 1,
        max_logged_body_bytes: 100,
    }
}

fn record() -> PredictionRecord {
    let payload = || Payload { content_type: "application/json".to_owned(), bytes: 2, json: None };
    PredictionRecord {
        prediction_id: PredictionId::new(),
        request_id: RequestId::new(),
        at: OffsetDateTime::UNIX_EPOCH,
        principal: "someone".to_owned(),
        model: "iris".parse::<ModelName>().unwrap(),
        version: VersionId::new(1).unwrap(),
        decision: Decision::new(1, Reason::Request, 1.0, None),
        input: payload(),
        output: payload(),
        rows: 1,
        label: None,
        confidence: None,
        value: None,
        latency_us: 1,
        compute_us: 1,
        cached: false,
        degraded: None,
        error: None,
    }
}

fn append(spool: &Spool) -> PredictionId {
    let record = record();
    spool.append(&serde_json::to_vec(&record).unwrap()).unwrap();
    record.prediction_id
}

/// Keeps records, or refuses them while `down`.
#[derive(Default)]
struct Log {
    down: AtomicBool,
    records: Mutex<Vec<PredictionId>>,
}

#[async_trait]
impl PredictionLog for Log {
    async fn append(&self, records: &[PredictionRecord]) -> Result<(), StoreError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(StoreError::NotFound { what: "log", id: String::new() });
        }
        let ids = records.iter().map(|record| record.prediction_id);
        self.records.lock().unwrap().extend(ids);
        Ok(())
    }

    async fn get(&self, _: PredictionId) -> Result<Option<PredictionRecord>, StoreError> {
        Ok(None)
    }

    async fn since(
        &self,
        _: &ModelName,
        _: OffsetDateTime,
        _: u32,
    ) -> Result<Vec<PredictionRecord>, StoreError> {
        Ok(Vec::new())
    }

    async fn exposures(
        &self,
        _: &domain::PlanId,
        _: Option<PredictionId>,
        _: u32,
    ) -> Result<Vec<domain::prediction::Exposure>, StoreError> {
        Ok(Vec::new())
    }

    async fn known(
        &self,
        _: &[PredictionId],
    ) -> Result<std::collections::HashMap<PredictionId, ModelName>, StoreError> {
        Ok(std::collections::HashMap::new())
    }
}

async fn ship_all(spool: &Arc<Spool>, log: &Arc<Log>) -> Vec<PredictionId> {
    let stop = CancellationToken::new();
    stop.cancel();
    ship(Arc::clone(spool), Arc::clone(log) as _, stop).await;
    log.records.lock().unwrap().clone()
}

#[tokio::test]
async fn what_is_appended_is_shipped_in_order_and_files_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Arc::new(Spool::open(settings(folder.path())).unwrap());
    let ids: Vec<_> = (0..50).map(|_| append(&spool)).collect();
    assert_eq!(spool.pending(), 50);
    assert_eq!(ship_all(&spool, &Arc::default()).await, ids);
    assert_eq!(spool.pending(), 0);
    assert!(segments(folder.path()).unwrap().len() <= 2);
}

#[tokio::test]
async fn what_was_not_shipped_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(settings(folder.path())).unwrap();
    let ids: Vec<_> = (0..20).map(|_| append(&spool)).collect();
    drop(spool);
    let spool = Arc::new(Spool::open(settings(folder.path())).unwrap());
    assert_eq!(spool.pending(), 20);
    let late = append(&spool);
    let shipped = ship_all(&spool, &Arc::default()).await;
    assert_eq!(shipped, [ids, vec![late]].concat());
}

#[tokio::test]
async fn a_record_cut_off_by_a_kill_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(settings(folder.path())).unwrap();
    let whole = append(&spool);
    append(&spool);
    let segment = spool.writer().segment;
    drop(spool);
    let file = OpenOptions::new().write(true).open(path(folder.path(), segment)).unwrap();
    file.set_len(file.metadata().unwrap().len() - 3).unwrap();
    let spool = Arc::new(Spool::open(settings(folder.path())).unwrap());
    let late = append(&spool);
    assert_eq!(ship_all(&spool, &Arc::default()).await, [whole, late]);
}

#[tokio::test]
async fn a_log_that_is_down_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Arc::new(Spool::open(settings(folder.path())).unwrap());
    let log = Arc::new(Log::default());
    log.down.store(true, Ordering::Relaxed);
    let id = append(&spool);
    assert_eq!(ship_all(&spool, &log).await, []);
    assert!(!spool.flush(Duration::from_millis(1)).await);
    log.down.store(false, Ordering::Relaxed);
    assert_eq!(ship_all(&spool, &log).await, [id]);
    assert!(spool.flush(Duration::from_secs(1)).await);
}

#[test]
fn a_full_spool_refuses_and_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let small = SpoolSettings { max_bytes: 1500, ..settings(folder.path()) };
    let spool = Spool::open(small).unwrap();
    let body = serde_json::to_vec(&record()).unwrap();
    let kept = (0..10).filter(|_| spool.append(&body).is_ok()).count();
    assert!((1..10).contains(&kept), "{kept}");
    assert!(matches!(spool.append(&body), Err(SpoolError::Full(1500))));
    assert_eq!(spool.pending(), kept as u64);
}

#[test]
fn a_folder_has_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let _spool = Spool::open(settings(folder.path())).unwrap();
    assert!(Spool::open(settings(folder.path())).is_err());
}

#[test]
fn what_is_appended_while_another_reads_is_read_once() {
    const RECORDS: u64 = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let spool =
        Spool::open(SpoolSettings { max_bytes: 1 << 30, ..settings(folder.path()) }).unwrap();
    let body = serde_json::to_vec(&record()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| (0..RECORDS).for_each(|_| spool.append(&body).unwrap()));
        let mut taken = 0;
        loop {
            let all = spool.appended.load(Ordering::Relaxed) == RECORDS;
            let batch = spool.read(spool.cursor().unwrap(), usize::MAX).unwrap();
            spool.advance(batch.end, batch.taken).unwrap();
            taken += batch.taken;
            if all && batch.taken == 0 {
                break;
            }
        }
        assert_eq!(taken, RECORDS);
    });
}

#[tokio::test]
async fn on_a_full_disk_space_is_freed_without_a_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let large = SpoolSettings { segment_bytes: 1 << 18, ..settings(folder.path()) };
    let spool = Arc::new(Spool::open(large.clone()).unwrap());
    let log = Arc::new(Log::default());
    let first = append(&spool);
    // As when the disk took no other.
    spool.writer().starved = true;
    assert_eq!(ship_all(&spool, &log).await, [first]);
    assert_eq!(spool.writer().total, 0);
    let second = append(&spool);
    let third = append(&spool);
    assert_eq!(ship_all(&spool, &log).await, [first, second, third]);
    drop(spool);
    let spool = Arc::new(Spool::open(large).unwrap());
    assert_eq!(spool.pending(), 0);
    let fourth = append(&spool);
    assert_eq!(ship_all(&spool, &log).await, [first, second, third, fourth]);
}
