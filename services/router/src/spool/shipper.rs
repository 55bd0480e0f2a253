//! The shipper: takes records from the spool to the prediction log.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use domain::PredictionRecord;
use runtime::telemetry::metrics;
use storage::StoreError;
use storage::ports::PredictionLog;
use tokio_util::sync::CancellationToken;

use super::{Spool, SpoolError};
use crate::error::RouterError;

/// Waits this long after the log refused a batch.
const PAUSE: Duration = Duration::from_secs(1);

/// Ships until told to stop; then ships what waits, unless the log refuses.
pub(crate) async fn ship(spool: Arc<Spool>, log: Arc<dyn PredictionLog>, stop: CancellationToken) {
    let interval = Duration::from_millis(spool.settings.interval_ms.max(1));
    let full = spool.settings.batch.get() as u64;
    let mut failing = false;
    loop {
        let stopping = stop.is_cancelled();
        match ship_batch(&spool, &log).await {
            Ok(0) if stopping => return,
            // Records are let gather: a batch costs the log little more than one record does.
            Ok(shipped) if shipped < full && !stopping => {
                failing = false;
                tokio::select! {
                    () = tokio::time::sleep(interval) => {}
                    () = spool.wake.notified() => {}
                    () = stop.cancelled() => {}
                }
            }
            Ok(_) => failing = false,
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "the prediction log takes no records: they wait in the spool");
                }
                if stopping {
                    return;
                }
                failing = true;
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }
}

/// Ships one batch; returns how many records it held.
async fn ship_batch(spool: &Arc<Spool>, log: &Arc<dyn PredictionLog>) -> Result<u64, RouterError> {
    let batch =
        blocking(spool, |spool| spool.read(spool.cursor()?, spool.settings.batch.get())).await?;
    spool.note_oldest(batch.records.first().map(|record| record.at));
    if batch.taken == 0 {
        return Ok(0);
    }
    match log.append(&batch.records).await {
        // One record that no store keeps must not hold up the others.
        Err(StoreError::Invalid { .. }) => ship_singly(log, &batch.records).await?,
        result => result?,
    }
    let (end, taken) = (batch.end, batch.taken);
    blocking(spool, move |spool| spool.advance(end, taken)).await?;
    metrics().spool_shipped.add(taken, &[]);
    if spool.pending() == 0 {
        spool.note_oldest(None);
    }
    Ok(taken)
}

async fn ship_singly(
    log: &Arc<dyn PredictionLog>,
    records: &[PredictionRecord],
) -> Result<(), StoreError> {
    for record in records {
        match log.append(std::slice::from_ref(record)).await {
            Err(error @ StoreError::Invalid { .. }) => {
                metrics().spool_dropped.add(1, &[]);
                tracing::error!(prediction.id = %record.prediction_id, %error, "a record cannot be logged");
            }
            result => result?,
        }
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    spool: &Arc<Spool>,
    work: impl FnOnce(&Spool) -> io::Result<T> + Send + 'static,
) -> Result<T, SpoolError> {
    let worker = Arc::clone(spool);
    let result = tokio::task::spawn_blocking(move || work(&worker)).await;
    result
        .unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(|source| SpoolError::Disk { path: spool.dir.display().to_string(), source })
}
