//! No log ever holds a secret: what tests use as one is remembered, and every log is searched for it.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Shorter texts are in logs by chance.
const SHORTEST: usize = 12;
/// A secret may be used a little before it is remembered, and a line may be half written.
const OVERLAP: u64 = 32 * 1024;

static REMEMBERED: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// The logs of processes that run, each with how far it was searched.
static LOGS: Mutex<Vec<(PathBuf, u64)>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on no log may hold this text: a password, a token, a key. Of a signed token its last
/// part alone is looked for too. Texts of fewer than 12 characters are not remembered.
pub fn remember(text: &str) {
    let mut remembered = lock(&REMEMBERED);
    let signature = text.rsplit('.').next().unwrap_or_default();
    for secret in [text.trim(), signature] {
        if secret.len() >= SHORTEST && !remembered.iter().any(|known| known == secret) {
            remembered.push(secret.to_owned());
        }
    }
}

/// Searches this log as well, from now on.
pub(crate) fn watch(log: &Path) {
    lock(&LOGS).push((log.to_owned(), 0));
}

/// Searches the whole log for the last time. Panics with the place of what it finds.
pub(crate) fn search_whole(log: &Path) {
    lock(&LOGS).retain(|(watched, _)| watched != log);
    fail_on(search(log, 0).0);
}

/// Searches what processes that still run have said since the last time.
pub(crate) fn search_all() {
    let logs = lock(&LOGS).clone();
    for (log, from) in logs {
        let (found, end) = search(&log, from);
        if let Some((_, from)) = lock(&LOGS).iter_mut().find(|(watched, _)| *watched == log) {
            *from = end.saturating_sub(OVERLAP);
        }
        fail_on(found);
    }
}

/// While a test fails for another reason, that one is to be seen.
fn fail_on(found: Option<String>) {
    if let Some(found) = found
        && !std::thread::panicking()
    {
        panic!("{found}");
    }
}

/// Where a secret is, without telling it; and the end of what was searched.
fn search(log: &Path, from: u64) -> (Option<String>, u64) {
    let mut bytes = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut bytes)
    });
    let end = from + read.unwrap_or_default() as u64;
    let text = String::from_utf8_lossy(&bytes);
    for secret in lock(&REMEMBERED).iter() {
        if let Some(place) = text.find(secret.as_str()) {
            let line = text.get(..place).unwrap_or_default().lines().count().max(1);
            let whole: &str = text.lines().nth(line - 1).unwrap_or_default();
            let shown: String =
                whole.replace(secret.as_str(), "[SECRET]").chars().take(300).collect();
            let name = log.file_name().unwrap_or_default().to_string_lossy();
            let begin = if from == 0 { String::new() } else { format!(" after byte {from}") };
            return (Some(format!("a secret is in `{name}`, line {line}{begin}: {shown}")), end);
        }
    }
    (None, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_a_log_is_found_by_its_line_and_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("fake.log");
        remember("eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJlLW9mLWEtdG9rZW4");
        remember("short");
        let good = "one line\na short one\n";
        std::fs::write(&log, good).unwrap();
        assert_eq!(search(&log, 0), (None, good.len() as u64));
        search_whole(&log);

        let bad = format!("{good}Authorization: x.y.c2lnbmF0dXJlLW9mLWEtdG9rZW4 end\n");
        std::fs::write(&log, bad).unwrap();
        let found = search(&log, 0).0.unwrap();
        assert!(found.contains("`fake.log`, line 3") && found.contains("[SECRET]"), "{found}");
        assert!(!found.contains("c2lnbmF0dXJl"), "{found}");
        // As it is when a server with this log is stopped.
        let failed = std::panic::catch_unwind(|| search_whole(&log));
        assert!(failed.is_err());
        // And when a scenario ends while it runs.
        watch(&log);
        assert!(std::panic::catch_unwind(search_all).is_err());
        lock(&LOGS).retain(|(watched, _)| *watched != log);
    }
}
