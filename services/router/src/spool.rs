//! The spool: answered predictions wait in local files until the prediction log has them.
//!
//! A record is appended before its answer leaves, with one write to the page cache, so it survives
//! a kill of the process (not a loss of power). A shipper reads behind, in batches, at least once;
//! the log passes over ids it knows. A file is a run of records, each `length, CRC-32, JSON`
//! (numbers 4 bytes, little-endian). `cursor` holds how far the shipper got.

mod reader;
mod shipper;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::sync::{Notify, watch};

pub(crate) use shipper::ship;

use crate::settings::SpoolSettings;

/// Why a record was not kept.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The size limit is reached.
    #[error(
        "the spool is full (`router.spool.max_bytes` = {0}): the prediction log does not take records"
    )]
    Full(u64),
    /// The disk failed.
    #[error("failed to use the spool in `{path}`")]
    Disk {
        /// Which folder.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Where a record begins: the file's number and the offset in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Position {
    segment: u64,
    offset: u64,
}

/// A folder of waiting records. One process at a time.
pub struct Spool {
    dir: PathBuf,
    settings: SpoolSettings,
    _lock: File,
    /// Written in place, so that a full disk does not stop it.
    cursor: File,
    writer: Mutex<Writer>,
    /// Records appended, and shipped, since this process began, those it found waiting included.
    appended: AtomicU64,
    shipped: watch::Sender<u64>,
    wake: Notify,
    /// When the oldest record that waits was answered, as far as the shipper saw it: seconds since
    /// 1970; 0 if none does.
    oldest: AtomicI64,
}

struct Writer {
    file: File,
    segment: u64,
    length: u64,
    /// Size of all files.
    total: u64,
    /// Whether the disk did not take the last record.
    starved: bool,
}

impl Spool {
    /// Opens the folder, finds what waits in it and begins a new file.
    ///
    /// # Errors
    /// [`SpoolError::Disk`] if the folder cannot be used, or another process uses it.
    pub fn open(settings: SpoolSettings) -> Result<Self, SpoolError> {
        let dir = settings.dir.clone();
        Self::open_in(&dir, settings)
            .map_err(|source| SpoolError::Disk { path: dir.display().to_string(), source })
    }

    fn open_in(dir: &Path, settings: SpoolSettings) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let lock = File::create(dir.join("lock"))?;
        lock.try_lock().map_err(|_cause| io::Error::other("it is in use by another router"))?;
        let mut kept = OpenOptions::new();
        kept.write(true).create(true).truncate(false).mode(0o600);
        let cursor = kept.open(dir.join("cursor"))?;
        let segments = segments(dir)?;
        let next = segments.last().map_or(0, |last| last + 1);
        let file = begin(dir, next)?;
        let mut total = 0;
        for segment in segments {
            total += fs::metadata(path(dir, segment))?.len();
        }
        let spool = Self {
            dir: dir.to_owned(),
            settings,
            _lock: lock,
            cursor,
            writer: Mutex::new(Writer { file, segment: next, length: 0, total, starved: false }),
            appended: AtomicU64::new(0),
            shipped: watch::Sender::new(0),
            wake: Notify::new(),
            oldest: AtomicI64::new(0),
        };
        let mut waiting = 0;
        let mut position = spool.cursor()?;
        // So that the file has its size from now on. It goes without where the disk is full.
        spool.keep_cursor(position).ok();
        loop {
            let batch = spool.read(position, 1000)?;
            if batch.records.is_empty() {
                break;
            }
            waiting += batch.taken;
            position = batch.end;
        }
        spool.appended.store(waiting, Ordering::Relaxed);
        Ok(spool)
    }

    /// Appends a record. Takes microseconds: one write to the page cache.
    ///
    /// # Errors
    /// If it could not be kept; nothing of it is left then.
    pub fn append(&self, record: &[u8]) -> Result<(), SpoolError> {
        let failed = |source| SpoolError::Disk { path: self.dir.display().to_string(), source };
        let length =
            u32::try_from(record.len()).map_err(|error| failed(io::Error::other(error)))?;
        let mut frame = Vec::with_capacity(record.len() + 8);
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&crc32fast::hash(record).to_le_bytes());
        frame.extend_from_slice(record);
        let size = frame.len() as u64;

        let mut writer = self.writer();
        if writer.total + size > self.settings.max_bytes {
            return Err(SpoolError::Full(self.settings.max_bytes));
        }
        // Until it has taken this one.
        writer.starved = true;
        // Space is freed file by file: one must not be most of it.
        if writer.length >= self.settings.segment_bytes.min(self.settings.max_bytes / 4) {
            writer.file = begin(&self.dir, writer.segment + 1).map_err(failed)?;
            writer.segment += 1;
            writer.length = 0;
        }
        if let Err(error) = writer.file.write_all(&frame) {
            // Take back what may be half written, so that the next record can be read.
            let length = writer.length;
            writer.file.set_len(length).map_err(failed)?;
            return Err(failed(error));
        }
        writer.length += size;
        writer.total += size;
        writer.starved = false;
        // Counted before the shipper can read it.
        self.appended.fetch_add(1, Ordering::Relaxed);
        drop(writer);
        if self.pending() >= self.settings.batch.get() as u64 {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Records that the log has not got yet.
    pub fn pending(&self) -> u64 {
        self.appended.load(Ordering::Relaxed).saturating_sub(*self.shipped.borrow())
    }

    /// Size of all its files.
    pub fn bytes(&self) -> u64 {
        self.writer().total
    }

    /// How long the oldest record has waited, as of `now`. What came since the shipper last looked,
    /// a moment ago, is not counted.
    pub fn age(&self, now: OffsetDateTime) -> Duration {
        match self.oldest.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            oldest => {
                let seconds = now.unix_timestamp().saturating_sub(oldest);
                Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
            }
        }
    }

    /// Notes which record waits longest.
    fn note_oldest(&self, at: Option<OffsetDateTime>) {
        self.oldest.store(at.map_or(0, OffsetDateTime::unix_timestamp), Ordering::Relaxed);
    }

    /// Waits until all that is appended now is shipped. False if `limit` passes first.
    pub async fn flush(&self, limit: Duration) -> bool {
        let target = self.appended.load(Ordering::Relaxed);
        let mut shipped = self.shipped.subscribe();
        self.wake.notify_one();
        let done = shipped.wait_for(|shipped| *shipped >= target);
        matches!(tokio::time::timeout(limit, done).await, Ok(Ok(_)))
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Numbers of the files in a folder, in order.
fn segments(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".spool"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:012}.spool"))
}

fn begin(dir: &Path, segment: u64) -> io::Result<File> {
    // Only we may read it: it holds what people asked.
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path(dir, segment))
}

#[cfg(test)]
mod tests;
