//! The reading side of the spool.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use domain::PredictionRecord;

use super::{Position, Spool, path, segments};

/// Length of the cursor's file: room for two numbers of any size.
const CURSOR_BYTES: usize = 80;

/// Records read from the spool.
pub(super) struct Batch {
    pub(super) records: Vec<PredictionRecord>,
    /// How many the files held, unreadable ones included.
    pub(super) taken: u64,
    /// Where the next one begins.
    pub(super) end: Position,
}

impl Spool {
    /// How far the shipper got.
    pub(super) fn cursor(&self) -> io::Result<Position> {
        let text = fs::read(self.dir.join("cursor"))?;
        if text.is_empty() {
            return Ok(Position::default());
        }
        Ok(serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::warn!(%error, "the spool's cursor cannot be read: all waiting records are sent again");
            Position::default()
        }))
    }

    /// Reads up to `limit` records from `position` on.
    pub(super) fn read(&self, mut position: Position, limit: usize) -> io::Result<Batch> {
        // Before the writer is asked where it is: so all but its own file are whole. A file begun in
        // between is for the next read.
        let segments = segments(&self.dir)?;
        let (active, active_length) = {
            let writer = self.writer();
            (writer.segment, writer.length)
        };
        let mut batch = Batch { records: Vec::new(), taken: 0, end: position };
        let mut last = None;
        for segment in segments {
            if segment < position.segment {
                continue;
            }
            // A folder is not listed in one step: of two files begun meanwhile it may name the later one
            // alone. What is behind a gap is for the next read, or the gap's records would be passed over.
            if last.is_some_and(|last| segment > last + 1) {
                break;
            }
            last = Some(segment);
            if segment > position.segment {
                position = Position { segment, offset: 0 };
            }
            let file = File::open(path(&self.dir, segment))?;
            // Of the file being written, only what is whole.
            let length = if segment == active { active_length } else { file.metadata()?.len() };
            read_segment(file, length, &mut position, limit, &mut batch)?;
            batch.end = position;
            if batch.records.len() >= limit {
                break;
            }
        }
        Ok(batch)
    }

    /// Writes the cursor, always as long, over the one before.
    pub(super) fn keep_cursor(&self, position: Position) -> io::Result<()> {
        let text = serde_json::to_string(&position).map_err(io::Error::other)?;
        self.cursor.write_all_at(format!("{text:<CURSOR_BYTES$}").as_bytes(), 0)
    }

    /// Notes that all before `position` is in the log, and removes files that are done with.
    pub(super) fn advance(&self, mut position: Position, taken: u64) -> io::Result<()> {
        let active = {
            let mut writer = self.writer();
            let end = Position { segment: writer.segment, offset: writer.length };
            if writer.starved && position == end {
                // The disk takes no more, and this file holds nothing that is still needed.
                writer.file.set_len(0)?;
                writer.total = writer.total.saturating_sub(writer.length);
                (writer.length, position.offset) = (0, 0);
            }
            self.keep_cursor(position)?;
            writer.segment
        };
        for segment in segments(&self.dir)? {
            if segment < position.segment && segment < active {
                let done = path(&self.dir, segment);
                let size = fs::metadata(&done)?.len();
                fs::remove_file(done)?;
                let mut writer = self.writer();
                writer.total = writer.total.saturating_sub(size);
            }
        }
        let appended = self.appended.load(Ordering::Relaxed);
        self.shipped.send_modify(|shipped| *shipped = (*shipped + taken).min(appended));
        Ok(())
    }
}

fn read_segment(
    mut file: File,
    length: u64,
    position: &mut Position,
    limit: usize,
    batch: &mut Batch,
) -> io::Result<()> {
    file.seek(SeekFrom::Start(position.offset))?;
    let mut file = io::BufReader::new(file);
    while batch.records.len() < limit && position.offset + 8 <= length {
        let (mut size, mut sum) = ([0; 4], [0; 4]);
        file.read_exact(&mut size)?;
        file.read_exact(&mut sum)?;
        let size = u64::from(u32::from_le_bytes(size));
        if position.offset + 8 + size > length {
            // Cut off by a kill in mid-write: it was never answered.
            break;
        }
        let mut record = Vec::new();
        file.by_ref().take(size).read_to_end(&mut record)?;
        position.offset += 8 + size;
        batch.taken += 1;
        let whole = crc32fast::hash(&record) == u32::from_le_bytes(sum);
        match serde_json::from_slice(&record) {
            Ok(record) if whole => batch.records.push(record),
            _ => tracing::error!(
                segment = position.segment,
                offset = position.offset,
                "a spooled record is damaged and is passed over"
            ),
        }
    }
    Ok(())
}
