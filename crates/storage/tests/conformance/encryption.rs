//! Artefacts encrypted at rest, in the folder and on an S3 server.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::Bytes;
use storage::conformance as suite;
use storage::{Keys, Reencrypted, StoreError, reencrypt};
use testkit::stores::{PrivateServer, shared_s3};

use crate::Outcome;

// 32 times the byte 1, 2, 3.
const FIRST: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const SECOND: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
const THIRD: &str = "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=";

fn keys(encryption: &'static str, old_encryption: &'static str) -> Keys<'static> {
    Keys { encryption, old_encryption, ..Keys::default() }
}

fn on_s3(keys: Keys<'static>) -> Keys<'static> {
    Keys { access: PrivateServer::S3_KEY, secret: PrivateServer::S3_SECRET, ..keys }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, mut all): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    all.extend(folders.iter().flat_map(|folder| files(folder)));
    all
}

#[tokio::test]
async fn an_encrypted_folder_and_bucket_do_what_the_port_promises() -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("file://{}", folder.path().display());
    let s3 = shared_s3().await.replacen('?', "/sealed?", 1);
    for (url, keys) in [(file, keys(FIRST, "")), (s3, on_s3(keys(FIRST, "")))] {
        let (first, second) =
            (storage::artifacts(&url, keys).await?, storage::artifacts(&url, keys).await?);
        suite::artifacts(&*first).await?;
        suite::artifacts(&*second).await?;
        suite::artifacts_by_two(&*first, &*second).await?;
    }
    Ok(())
}

#[tokio::test]
async fn no_plain_byte_is_in_the_store_and_a_changed_one_is_noticed() -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let store = storage::artifacts(&url, keys(FIRST, "")).await?;
    let model = Bytes::from("the weights of a model, ".repeat(1000));
    let sha256 = store.put(model.clone()).await?;
    let [file] = files(folder.path()).try_into().unwrap();
    let stored = fs::read(&file).unwrap();
    assert!(!stored.windows(11).any(|window| window == b"the weights"));

    for index in [0, 11, 12, 20, 32, stored.len() / 2, stored.len() - 1] {
        let mut changed = stored.clone();
        if let Some(byte) = changed.get_mut(index) {
            *byte ^= 1;
        }
        fs::write(&file, changed).unwrap();
        let error = store.get(&sha256).await.unwrap_err();
        // A changed key id is one that nobody knows.
        let noticed = matches!(error, StoreError::Tampered { .. } | StoreError::Setting { .. });
        assert!(noticed, "byte {index}: {error}");
    }
    store.put(model.clone()).await?;
    assert_eq!(store.get(&sha256).await?, model, "the same upload mends it");

    // Another file's encrypted bytes, in this one's place.
    let other = store.put(Bytes::from_static(b"another model")).await?;
    let (begin, end) = other.split_at(2);
    fs::copy(folder.path().join(begin).join(end), &file).unwrap();
    let error = store.get(&sha256).await.unwrap_err();
    assert!(matches!(error, StoreError::Tampered { .. }), "{error}");
    Ok(())
}

#[tokio::test]
async fn keys_are_rotated_and_files_of_before_stay_readable() -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("file://{}", folder.path().display());
    let s3 = shared_s3().await.replacen('?', "/rotated?", 1);
    for (url, here) in [(file, keys as fn(_, _) -> _), (s3, |new, old| on_s3(keys(new, old)))] {
        let open = |new, old| storage::artifacts(&url, here(new, old));
        let old = open("", "").await?.put(Bytes::from_static(b"before there was a key")).await?;
        let first = open(FIRST, "").await?.put(Bytes::from_static(b"the first key's")).await?;
        let rotated = open(SECOND, FIRST).await?;
        let second = rotated.put(Bytes::from_static(b"the second key's")).await?;
        for sha256 in [&old, &first, &second] {
            rotated.get(sha256).await?;
        }
        // Who lacks a key is told which setting lacks it.
        for lacking in [open(SECOND, "").await?, open(SECOND, THIRD).await?, open("", "").await?] {
            let told = lacking.get(&first).await.unwrap_err().to_string();
            assert!(told.contains("storage.artifacts_encryption_key"), "{told}");
            assert!(told.contains("storage.artifacts_old_encryption_keys"), "{told}");
            assert!(!told.contains(FIRST), "{told}");
        }
        assert!(
            reencrypt(&url, here(SECOND, "")).await.is_err(),
            "nothing is lost for want of a key"
        );

        let done = reencrypt(&url, here(SECOND, FIRST)).await?;
        assert_eq!(done, Reencrypted { written: 2, kept: 1 });
        let done = reencrypt(&url, here(SECOND, "")).await?;
        assert_eq!(done, Reencrypted { written: 0, kept: 3 });
        assert_eq!(open(SECOND, "").await?.get(&old).await?, "before there was a key");
        // And back to no encryption.
        let done = reencrypt(&url, here("", SECOND)).await?;
        assert_eq!(done, Reencrypted { written: 3, kept: 0 });
        assert_eq!(open("", "").await?.get(&first).await?, "the first key's");
    }
    Ok(())
}

#[tokio::test]
async fn a_plain_file_that_looks_encrypted_is_what_it_is() -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let odd = [b"\0de-sealed\0\x01".to_vec(), vec![7; 100]].concat();
    let plain = storage::artifacts(&url, keys("", "")).await?;
    let sha256 = plain.put(odd.clone().into()).await?;
    assert_eq!(plain.get(&sha256).await?, odd);
    assert_eq!(storage::artifacts(&url, keys(FIRST, "")).await?.get(&sha256).await?, odd);
    Ok(())
}

#[tokio::test]
async fn a_load_costs_little_more() -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..32_u32 << 20).map(|number| (number % 251) as u8).collect();
    let bytes = Bytes::from(bytes);
    let mut times = Vec::new();
    for key in ["", FIRST] {
        let url = format!("file://{}", folder.path().join(format!("a{}", key.len())).display());
        let store = storage::artifacts(&url, keys(key, "")).await?;
        let sha256 = store.put(bytes.clone()).await?;
        store.get(&sha256).await?;
        let began = Instant::now();
        for _ in 0..5 {
            store.get(&sha256).await?;
        }
        times.push(began.elapsed() / 5);
    }
    let [plain, encrypted] = times.try_into().unwrap();
    println!("32 MiB: {plain:?} plain, {encrypted:?} encrypted");
    assert!(encrypted < plain * 10, "{encrypted:?} encrypted, {plain:?} plain");
    Ok(())
}
